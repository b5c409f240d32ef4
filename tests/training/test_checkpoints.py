"""Which output folders a run may take, where it goes on, and what a full disk is called."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ifllm_hf.errors import OutputError
from ifllm_hf.files import PART
from ifllm_hf.training.checkpoints import checkpoint_to_resume, is_free, says_when_the_disk_is_full
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
        pytest.raises(OutputError, match="--resume_from_checkpoint true"),
        says_when_the_disk_is_full(tmp_path),
    ):
        raise error


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), says_when_the_disk_is_full(tmp_path):
        raise RuntimeError("shapes differ")
