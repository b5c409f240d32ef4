"""`import ifllm_hf` is cheap, lazy, and needs nothing beyond the base install."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ifllm_hf

ROOT = Path(__file__).parents[1]
HEAVY = ("datasets", "torch", "transformers", "polars", "pyarrow", "numpy", "huggingface_hub")


def modules_after(script: str) -> set[str]:
    """Return the top-level modules that a fresh process has loaded after `script`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_loads_no_heavy_library() -> None:
    assert modules_after("import ifllm_hf").isdisjoint(HEAVY)


def test_data_room_needs_no_torch_and_no_transformers() -> None:
    loaded = modules_after(
        "import ifllm_hf.data.prepared.ifllm, ifllm_hf.data.prepared.prepare\n"
        "import ifllm_hf.data.synthetic\n"
        "import ifllm_hf.data.ticks.tick_arrays, ifllm_hf.hub.publish.dataset"
    )
    assert loaded.isdisjoint(("torch", "transformers", "trl", "sklearn", "matplotlib"))


def test_what_records_people_needs_neither_the_app_nor_torch() -> None:
    loaded = modules_after(
        "import importlib, pkgutil\n"
        "import ifllm_hf.capture, ifllm_hf.hub.collecting\n"
        "for found in pkgutil.walk_packages(ifllm_hf.capture.__path__, 'ifllm_hf.capture.'):\n"
        "    importlib.import_module(found.name)"
    )
    assert "fastapi" in loaded
    assert loaded.isdisjoint(("gradio", "torch", "transformers", "sklearn", "matplotlib"))


def test_version_is_the_one_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ifllm_hf.__version__ == project["version"]


def test_every_public_name_resolves_and_stays() -> None:
    assert set(ifllm_hf._EXPORTS) < set(dir(ifllm_hf))
    for name in ifllm_hf._EXPORTS:
        value = getattr(ifllm_hf, name)
        assert value.__name__ == name
        assert vars(ifllm_hf)[name] is value


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ifllm_hf.nonsense
