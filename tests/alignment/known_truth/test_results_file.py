"""Lines of results: what a kill cut off is left out, what is broken is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.alignment.known_truth.results_file import add_result, read_results
from ifllm_hf.errors import DataError, OutputError


def test_lines_are_added_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "results.jsonl"
    assert read_results(file) == {}
    for key in ("a", "b"):
        add_result(file, {"key": key, "seed": 1}, tmp_path / "out")
    assert list(read_results(file)) == ["a", "b"]


def test_a_line_that_a_kill_cut_off_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text('{"key": "a"}\n{"key": "b", "re')
    assert list(read_results(file)) == ["a"]
    add_result(file, {"key": "c"}, tmp_path)
    assert file.read_text() == '{"key": "a"}\n{"key": "c"}\n'


@pytest.mark.parametrize("line", ["{", "[1]", '{"seed": 1}', "<<<<<<< HEAD"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(f'{{"key": "a"}}\n{line}\n')
    with pytest.raises(DataError, match="results.jsonl: line 2 .* remove the line"):
        read_results(file)


def test_a_file_that_another_process_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr("ifllm_hf.alignment.known_truth.results_file._PATIENCE_S", 0.1)
    held = FileLock(tmp_path / "results.lock")
    with held, pytest.raises(OutputError, match="another process"):
        add_result(tmp_path / "results.jsonl", {"key": "a"}, tmp_path)
    add_result(tmp_path / "results.jsonl", {"key": "a"}, tmp_path)
