"""From a release to the prepared folder: complete or not at all, with a report that balances."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ifllm_hf import files
from ifllm_hf.data import release as release_module
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared import folder
from ifllm_hf.data.prepared import prepare as prepare_module
from ifllm_hf.data.prepared.prepare import PrepareReport, find_release, prepare, prepare_synthetic
from ifllm_hf.data.schema import CONFIGS, SCHEMAS
from ifllm_hf.errors import IFLLMError, OutputError, SourceError, TableError


@pytest.fixture
def small(small_release: Path) -> Path:
    return small_release


@pytest.fixture
def old(tmp_path: Path, prepared_small: Path) -> Path:
    """A good folder that stood there before."""
    out = tmp_path / "ifllm"
    shutil.copytree(prepared_small, out)
    return out


def content(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_the_folder_has_every_config_with_its_columns(synthetic_report: PrepareReport) -> None:
    place = synthetic_report.folder.path
    assert is_prepared(place)
    for config in CONFIGS:
        (file,) = (place / config).glob("*.parquet")
        table = pq.read_table(file)
        assert table.schema.remove_metadata() == SCHEMAS[config]
        assert table.num_rows == synthetic_report.folder.rows[config]
    facts = synthetic_report.facts
    assert synthetic_report.folder.rows["pairwise"] == facts["pairwise"]
    assert synthetic_report.folder.rows["pointwise"] == facts["pointwise"]
    assert synthetic_report.folder.rows["ticks"] == facts["conversations_with_behavior"]


def test_the_report_is_json_and_balances(synthetic_report: PrepareReport) -> None:
    text = json.dumps(synthetic_report.to_dict(), allow_nan=False)
    report = json.loads(text)
    assert set(report) == {
        "out", "source", "digest", "synthetic", "rows", "bytes", "facts", "quality", "ledgers",
    }  # fmt: skip
    total = report["ledgers"]["total"]
    assert total["seen"] == total["kept"] + sum(total["dropped"].values())
    size = sum(p.stat().st_size for p in synthetic_report.folder.path.rglob("*") if p.is_file())
    assert report["bytes"] == size
    assert len(report["digest"]) == 64
    ends = report["quality"]["reading_end"]
    assert set(ends) == {"rating_zone", "fallback"}


def test_made_up_numbers_are_called_made_up(synthetic_report: PrepareReport) -> None:
    assert synthetic_report.synthetic
    assert "made up" in (synthetic_report.folder.path / "README.md").read_text()


def test_the_card_writer_gets_the_folder_and_what_is_known(small: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def card(place: Path, known: dict[str, Any]) -> str:
        assert (place / "pairwise").is_dir() and (place / "ticks").is_dir()
        given.update(known)
        return "# A card\n"

    report = prepare(small, tmp_path / "ifllm", progress=False, card=card)
    assert given["synthetic"] is True
    assert given["ledgers"] == report.ledgers
    assert given["quality"] == report.quality
    text = (tmp_path / "ifllm" / "README.md").read_text()
    assert text.endswith("# A card\n") and "configs:" in text


def test_the_same_release_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    first, second = (prepare(small, tmp_path / name, progress=False) for name in ("one", "two"))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert first.digest == second.digest


def test_preparing_again_replaces_the_old_folder(small: Path, old: Path) -> None:
    assert "The old one" in (old / "README.md").read_text()
    prepare(small, old, progress=False)
    assert "The old one" not in (old / "README.md").read_text()
    assert [p.name for p in old.parent.iterdir()] == ["ifllm"]


def test_a_foreign_folder_is_refused_before_any_work(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "open_release", lambda *_: pytest.fail("work was done"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for run in (
        lambda: prepare(small, tmp_path / "mine"),
        lambda: prepare_synthetic(2, tmp_path / "mine"),
    ):
        with pytest.raises(OutputError, match="not a prepared folder"):
            run()
    assert content(tmp_path / "mine") == {"thesis.tex": b"years of work"}


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect of ours")


def third(action: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """Do the real thing twice, then something goes wrong."""
    calls = iter(range(100))

    def call(*args: Any, **kwargs: Any) -> Any:
        return action() if next(calls) == 2 else real(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("fault", "error"),
    [(full_disk, OutputError), (interrupted, KeyboardInterrupt), (broken, RuntimeError)],
)
@pytest.mark.parametrize(
    ("where", "before"),
    [("reading", True), ("writing", True), ("writing", False), ("card", True), ("swap", True)],
)
def test_what_goes_wrong_in_the_middle_leaves_all_as_it_was(
    where: str,
    fault: Callable[..., Any],
    error: type[BaseException],
    before: bool,
    small: Path,
    old: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not before:
        shutil.rmtree(old)
    stood = content(old.parent)
    card = None
    if where == "reading":
        monkeypatch.setattr(release_module, "read_ticks", third(fault, release_module.read_ticks))
    elif where == "writing":
        monkeypatch.setattr(folder, "write_parts", third(fault, folder.write_parts))
    elif where == "card":
        card = fault
    else:
        monkeypatch.setattr(files, "_swap", fault)
    with pytest.raises(error) as caught:
        prepare(small, old, progress=False, card=card)
    if fault is full_disk:
        assert "No space left on device" in str(caught.value)
        assert str(old) in str(caught.value)
    assert content(old.parent) == stood
    assert [p.name for p in old.parent.iterdir()] == (["ifllm"] if before else [])


def test_a_broken_file_in_the_release_leaves_the_old_folder(
    small: Path, old: Path, tmp_path: Path
) -> None:
    stood = content(old)
    bad = tmp_path / "bad"
    shutil.copytree(small, bad)
    victim = sorted((bad / "dataset" / "user_behavior").glob("*/*/abs_mouse.csv"))[-1]
    victim.write_bytes(b"\xff\x00\x01" * 999)
    with pytest.raises(TableError, match=r"abs_mouse\.csv: line 1 is"):
        prepare(bad, old, progress=False)
    assert content(old) == stood
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "ifllm"]


def test_a_made_up_release_is_prepared_and_its_files_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    report = prepare_synthetic(2, tmp_path / "ifllm", seed=3, progress=False)
    assert report.synthetic
    assert report.facts["conversations"] == 2
    assert list((tmp_path / "tmp").iterdir()) == []
    again = prepare_synthetic(2, tmp_path / "again", seed=3, progress=False)
    assert again.digest == report.digest
    other = prepare_synthetic(2, tmp_path / "other", seed=4, progress=False)
    assert other.digest != report.digest


def test_the_release_is_found_by_argument_variable_and_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.data.raw import download

    asked: list[Any] = []

    def fetch(*args: Any, progress: bool) -> Path:
        asked.append((args, progress))
        return tmp_path / "fetched"

    monkeypatch.setattr(download, "fetch_release", fetch)
    monkeypatch.setenv("IFLLM_RELEASE", str(tmp_path))
    assert find_release("given") == Path("given")
    assert find_release(None) == tmp_path
    assert find_release("https://example.org/x.tar.gz", progress=False) == tmp_path / "fetched"
    monkeypatch.setenv("IFLLM_RELEASE", str(tmp_path / "gone"))
    with pytest.raises(SourceError, match=r"\$IFLLM_RELEASE is .*gone.* does not exist.*unset it"):
        find_release(None)
    monkeypatch.setenv("IFLLM_RELEASE", "")
    assert find_release(None) == tmp_path / "fetched"
    assert asked == [(("https://example.org/x.tar.gz",), False), ((), True)]


@pytest.mark.parametrize("place", ["nowhere", "empty", "file.txt"])
def test_what_is_no_release_is_one_error_and_nothing_is_written(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    with pytest.raises(IFLLMError, match=place):
        prepare(tmp_path / place, tmp_path / "out" / "ifllm", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file.txt"]
