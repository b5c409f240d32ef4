"""The record beside weights, and which folders a new run may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.data.run_file import RUN_FILE, is_free, read_run, write_run


def test_a_record_comes_back(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    write_run(tmp_path / "run", {"seed": 1})
    assert read_run(tmp_path / "run") == {"seed": 1}
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RUN_FILE]


@pytest.mark.parametrize("left", ["checkpoint-1", "model.safetensors", "notes.txt"])
def test_a_folder_is_free_until_something_would_be_lost(left: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert is_free(folder)
    write_run(folder, {})
    (folder / "tiny_model").mkdir()
    assert is_free(folder)  # it failed before its first checkpoint
    (folder / left).touch()
    assert not is_free(folder)
