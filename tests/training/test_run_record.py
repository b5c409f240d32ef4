"""The record beside weights, and which folders a new run may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.training.run_file import (
    RUN_FILE,
    is_free,
    keep_changed_settings,
    read_run,
    write_run,
)


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


def test_settings_that_a_resumed_run_changes_are_said_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = {"settings": {"learning_rate": 1e-4, "max_steps": 2, "folder": "out"}}
    second = {"settings": {"learning_rate": 2e-4, "max_steps": 2, "folder": Path("out"), "new": 1}}
    keep_changed_settings(second, None)
    assert set(second) == {"settings"} and not caplog.records
    keep_changed_settings(second, first)
    assert second["settings_before_resume"] == {"learning_rate": 1e-4}
    assert "learning_rate 0.0001 -> 0.0002" in caplog.text and "max_steps" not in caplog.text
    third = {"settings": {"learning_rate": 3e-4, "max_steps": 4}}
    keep_changed_settings(third, second)
    assert third["settings_before_resume"] == {"learning_rate": 1e-4, "max_steps": 2}
    caplog.clear()
    fourth = {"settings": dict(third["settings"])}
    keep_changed_settings(fourth, third)
    assert fourth == third and not caplog.records
