"""The hooks that make `datasets` know us: whoever is imported first, in whatever thread, once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.helpers.fresh_process import python


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An empty folder to run in."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


GUARD = """
import json
from pathlib import Path
import datasets.load
del datasets.load.dataset_module_factory
import ifllm_hf
def attempt(function):
    try:
        return function("ifllm")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
answers = [attempt(datasets.load_dataset), attempt(datasets.load_dataset_builder)]
from tests.helpers.prepared_folder import write
write(Path("ifllm"))
try:
    datasets.load_dataset("ifllm")
except NameError as error:  # passed on to datasets, which we broke
    answers.append(str(error))
print(json.dumps([datasets.__version__, *answers]))
"""


def test_moved_internals_are_said_with_the_way_out(elsewhere: Path, tmp_path: Path) -> None:
    version, *refused, passed_on = python(GUARD, elsewhere, tmp_path)
    for answer in refused:
        assert answer.startswith("ConfigError: ")
        assert 'load_dataset("./ifllm")' in answer and version in answer
    assert "dataset_module_factory" in passed_on


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [
        ("dataset_module_factory", None),
        ("dataset_module_factory", lambda name: None),
        ("DatasetModule", None),
        ("DatasetModule", lambda path: None),
    ],
)
def test_every_moved_internal_is_noticed(
    name: str, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf import _registration

    places = [datasets.load, datasets.inspect]
    assert _registration._internals_fit(places)
    if stand_in is None:
        monkeypatch.delattr(datasets.load, name)
    else:
        monkeypatch.setattr(datasets.load, name, stand_in)
    assert not _registration._internals_fit(places)
    assert not _registration._internals_fit([None, datasets.inspect])


def test_concurrent_first_imports_register_once(elsewhere: Path, tmp_path: Path) -> None:
    script = """
import json, threading
start = threading.Barrier(4)
def work(name):
    start.wait()
    __import__(name)
threads = [threading.Thread(target=work, args=(n,)) for n in ["datasets", "ifllm_hf"] * 2]
[t.start() for t in threads]; [t.join() for t in threads]
import datasets, ifllm_hf
from ifllm_hf import _registration
before = datasets.load.dataset_module_factory
_registration.register(); _registration.register()
print(json.dumps([hasattr(before, "_ifllm_original"),
                  hasattr(before._ifllm_original, "_ifllm_original"),
                  datasets.load.dataset_module_factory is before,
                  datasets.inspect.dataset_module_factory._ifllm_original
                  is before._ifllm_original]))
"""
    assert python(script, elsewhere, tmp_path) == [True, False, True, True]


def test_hook_runs_when_another_thread_is_past_our_finder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The import was begun before the hook was known, and the module is not in sys.modules yet."""
    from ifllm_hf import _registration

    finding, calls = threading.Event(), []

    class SlowFinder:
        def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
            if fullname == "some_slow_module":
                finding.set()
                while fullname not in _registration._HOOKS:
                    time.sleep(0.001)
                time.sleep(0.05)

    (tmp_path / "some_slow_module.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    behind_ours = sys.meta_path.index(_registration._FINDER) + 1
    monkeypatch.setattr(
        sys, "meta_path", [*sys.meta_path[:behind_ours], SlowFinder(), *sys.meta_path[behind_ours:]]
    )
    importing = threading.Thread(target=__import__, args=("some_slow_module",))
    importing.start()
    finding.wait()
    _registration.when_loaded(
        "some_slow_module", lambda: calls.append(sys.modules["some_slow_module"].x)
    )
    importing.join()
    assert calls == [1]
    monkeypatch.delitem(sys.modules, "some_slow_module")


def test_import_hook_leaves_the_module_as_it_was(elsewhere: Path, tmp_path: Path) -> None:
    script = """
import json
import ifllm_hf, datasets, importlib.resources, inspect
print(json.dumps([type(datasets.__loader__).__name__, "exec_module" in vars(datasets.__loader__),
                  importlib.resources.files("datasets").joinpath("config.py").is_file(),
                  "load_dataset" in inspect.getsource(datasets)]))
"""
    assert python(script, elsewhere, tmp_path) == ["SourceFileLoader", False, True, True]


def test_when_loaded_runs_the_hook_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ifllm_hf import _registration

    (tmp_path / "some_late_module.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    calls: list[int] = []
    hook: Callable[[], None] = lambda: calls.append(sys.modules["some_late_module"].x)  # noqa: E731
    _registration.when_loaded("some_late_module", hook)
    assert calls == []
    __import__("some_late_module")
    assert calls == [1]
    _registration.when_loaded("some_late_module", hook)
    assert calls == [1, 1]
    del sys.modules["some_late_module"]
