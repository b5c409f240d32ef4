"""Which output folders a run may take, where it goes on, and what a full disk is called."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.errors import OutputError
from ifllm_hf.files import PART
from ifllm_hf.training.checkpoints import (
    AUTO,
    checkpoint_to_resume,
    finished_run,
    is_free,
    says_when_the_disk_is_full,
)
from ifllm_hf.training.run_record import RUN_FILE, write_run


def checkpoint(folder: Path, state: str = "{}") -> str:
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(state)
    return str(folder)


@pytest.mark.parametrize("left", ["checkpoint-1", "model.safetensors", "notes.txt"])
def test_a_folder_is_free_until_something_would_be_lost(left: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert is_free(folder)
    write_run(folder, {})
    (folder / "tiny_model").mkdir()
    (folder / f".{RUN_FILE}.0{PART}").touch()  # it was killed while it wrote
    assert is_free(folder)  # it failed before its first checkpoint
    (folder / left).touch()
    assert not is_free(folder)


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    second = checkpoint(tmp_path / "checkpoint-2")
    newest = checkpoint(tmp_path / "checkpoint-10")
    half = checkpoint(tmp_path / "checkpoint-20", '{"log_history": [')
    for said in (True, "true", "True"):
        assert checkpoint_to_resume(str(tmp_path), said) == newest
    assert checkpoint_to_resume(str(tmp_path), second) == second
    with pytest.raises(OutputError, match="no finished checkpoint"):
        checkpoint_to_resume(str(tmp_path), half)
    with pytest.raises(OutputError, match="no finished checkpoint"):
        checkpoint_to_resume(str(tmp_path / "new"), "true")


def test_auto_goes_on_where_it_can_and_begins_where_nothing_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert checkpoint_to_resume(str(run), AUTO) is None
    write_run(run, {})
    checkpoint(run / "checkpoint-1", "{")  # killed while it was written
    assert checkpoint_to_resume(str(run), AUTO) is None and is_free(run)
    whole = checkpoint(run / "checkpoint-2")
    assert checkpoint_to_resume(str(run), AUTO) == whole and not is_free(run)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        checkpoint_to_resume(str(tmp_path), AUTO)


@dataclass
class Settings:
    """Of a run that is made up."""

    output_dir: str
    resume_from_checkpoint: str | None = AUTO
    beta: float = 0.1
    model_name_or_path: str = "tiny-random/llama"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def test_a_finished_run_is_found_by_auto_alone_and_only_with_the_same_settings(
    tmp_path: Path,
) -> None:
    same = Settings(str(tmp_path))
    assert finished_run(same, same) is None
    # A tiny model is recorded by where it was made.
    record = {"settings": {"beta": 0.1, "model_name_or_path": "run-backbone"}}
    write_run(tmp_path, record)
    assert finished_run(same, same) is None  # begun, not done
    write_run(tmp_path, {**record, "result": {}})
    assert finished_run(same, same) == str(tmp_path)
    assert finished_run(replace(same, resume_from_checkpoint=None), same) is None
    other = replace(same, beta=0.2)
    with pytest.raises(OutputError, match="beta 0.1 -> 0.2"):
        finished_run(other, other)


@pytest.mark.parametrize("said", [None, False, "false"])
def test_a_new_run_takes_a_new_folder_only(said: bool | str | None, tmp_path: Path) -> None:
    assert checkpoint_to_resume(str(tmp_path / "new"), said) is None
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        checkpoint_to_resume(str(tmp_path), said)
    with pytest.raises(OutputError, match="written to"):
        checkpoint_to_resume(str(tmp_path / "mine.txt" / "deeper"), said)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("write failed: No space left on device"),
        OutputError("run.json: cannot be written ([Errno 28] No space left on device)"),
    ],
)
def test_a_full_disk_is_said_in_words(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=f"--resume_from_checkpoint {AUTO}"),
        says_when_the_disk_is_full(tmp_path),
    ):
        raise error


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), says_when_the_disk_is_full(tmp_path):
        raise RuntimeError("shapes differ")
