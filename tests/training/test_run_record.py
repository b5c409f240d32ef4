"""The record beside weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ifllm_hf.training.run_record import (
    RUN_FILE,
    keep_changed_settings,
    read_run,
    resolved_settings,
    write_run,
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    write_run(tmp_path / "run", {"seed": 1})
    assert read_run(tmp_path / "run") == {"seed": 1}
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RUN_FILE]


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


def test_settings_name_no_place_of_this_machine(tmp_path: Path) -> None:
    class Training:
        def to_dict(self) -> dict[str, object]:
            return {"seed": 1, "output_dir": "out", "hub_token": "hf_x", "run_name": None}

    @dataclass
    class Policy:
        model_name_or_path: str
        dataset: str = "org/pairs"
        _inner: int = 1

    settings = resolved_settings(Training(), Policy(str(tmp_path)))
    assert settings == {"seed": 1, "model_name_or_path": tmp_path.name, "dataset": "org/pairs"}
