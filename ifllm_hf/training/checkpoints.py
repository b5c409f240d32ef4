"""The output folder of a training run: whether it is free, and where an earlier run goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ifllm_hf.errors import OutputError
from ifllm_hf.files import PART
from ifllm_hf.training.run_record import RUN_FILE, read_run, resolved_settings
from ifllm_hf.training.tiny_models import TINY_PREFIX

AUTO = "auto"
"""As `resume_from_checkpoint`: go on from the newest whole checkpoint if there is one."""


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end; a full disk or a kill leaves others."""
    try:
        # The last file of a checkpoint.
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of an output folder, None without any."""
    whole = [place for place in folder.glob("checkpoint-*") if is_whole(place)]
    return max(whole, key=lambda place: int(place.name.rsplit("-", 1)[1]), default=None)


def is_free(folder: Path) -> bool:
    """Tell whether a new run may be put there: nothing is, or a run that ended before any weights.

    A folder `tiny_model` is a random model that a dry run makes anew; a checkpoint of a run that
    was not written to its end is none.
    """
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    begun = (folder / RUN_FILE).exists()
    return all(
        path.name in (RUN_FILE, "tiny_model")
        or (path.name.startswith(f".{RUN_FILE}.") and path.name.endswith(PART))
        or (begun and path.is_dir() and path.match("checkpoint-*") and not is_whole(path))
        for path in folder.iterdir()
    )


def checkpoint_to_resume(output_dir: str, resume_from_checkpoint: str | bool | None) -> str | None:
    """Return the checkpoint to continue from, and refuse a place that is taken.

    Of several processes the first one looks, before anything is written there.

    Args:
        output_dir: Where the run's results go.
        resume_from_checkpoint: A checkpoint; or `true`: the newest one that was written to its end
            (a full disk or a kill can leave a half-written one, which is passed over); or `auto`:
            that one if there is one, else from the beginning.

    Raises:
        OutputError: The output folder exists and is not resumed, cannot be written to, or has
            nothing to resume from.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    found: list[str | None] = [None]
    if PartialState().is_main_process:
        found = [_find(Path(output_dir), str(resume_from_checkpoint or "false"))]
    broadcast_object_list(found, from_process=0)
    return found[0]


def finished_run(training: Any, *parts: Any) -> str | None:
    """Return the output folder where `auto` finds that the run is done, None where it is not.

    Args:
        training: transformers' `TrainingArguments`.
        *parts: The other dataclasses of the recipe.

    Raises:
        OutputError: A run with other settings is done there.
    """
    folder = Path(str(training.output_dir))
    if training.resume_from_checkpoint != AUTO:
        return None
    record = read_run(folder)
    if record is None or "result" not in record:
        return None
    now = json.loads(json.dumps(resolved_settings(training, *parts), default=str))
    then = record["settings"]
    changed = sorted(
        f"{name} {then[name]} -> {now[name]}"
        for name in now.keys() & then.keys()
        if now[name] != then[name]
        # A tiny random model is made in the output folder, and recorded by its place.
        and not str(now[name]).startswith(TINY_PREFIX)
    )
    if changed:
        raise OutputError(
            f"output_dir {folder}: a finished run with other settings is there "
            f"({', '.join(changed)}); name another with --output_dir, or remove it"
        )
    return str(folder)


def _find(folder: Path, wanted: str) -> str | None:
    if wanted.lower() == AUTO:
        newest = newest_checkpoint(folder)
        return str(newest) if newest is not None else _find(folder, "false")
    if wanted.lower() == "false":
        _check_writable(folder)
        if not is_free(folder):
            raise OutputError(
                f"output_dir {folder} exists and is not empty; choose another, or continue that "
                f"run with --resume_from_checkpoint {AUTO}"
            )
        return None
    if wanted.lower() != "true":
        if not is_whole(Path(wanted)):
            raise OutputError(
                f"resume_from_checkpoint {wanted}: no finished checkpoint there; name a "
                "checkpoint-N folder, or use 'true' for the newest"
            )
        return wanted
    newest = newest_checkpoint(folder)
    if newest is None:
        raise OutputError(
            f"output_dir {folder}: no finished checkpoint to resume from; remove "
            "resume_from_checkpoint and choose an empty output_dir"
        )
    return str(newest)


def _check_writable(folder: Path) -> None:
    """Refuse a place where no folder can be made, before anything is downloaded."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OutputError(
            f"output_dir {folder}: {there} is no folder that can be written to; choose another"
        )


@contextmanager
def says_when_the_disk_is_full(folder: Path) -> Iterator[None]:
    """Around training and saving into `folder`: say what to do when the disk is full.

    Raises:
        OutputError: It is.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError, OutputError) as error:
        if not _disk_is_full(error, folder):
            raise
        raise OutputError(
            f"{folder}: the disk is full; finished checkpoints are whole: free some space, "
            f"then run the same command with --resume_from_checkpoint {AUTO}"
        ) from error


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether a failed write is one: only `open` says ENOSPC, the writers of weights do not."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
        return True
    return "inline_container" in str(error) and shutil.disk_usage(folder).free < 2**20
