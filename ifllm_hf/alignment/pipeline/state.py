"""What became of every run of a pipeline: done, running, failed; kept beside its results."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifllm_hf.files import digest, held, write_json

DONE, RUNNING, FAILED, INTERRUPTED, WAITING = "done", "running", "failed", "interrupted", "waiting"


@dataclass(frozen=True)
class Run:
    """A place for one result, named by what it depends on.

    The result lies in `folder`; `state.json` and the lock lie beside it, since a training run
    refuses a folder that holds anything.

    Attributes:
        place: Folder of the stage.
        name: What it is called.
        inputs: All that the result depends on: settings, fingerprints, versions.
    """

    place: Path
    name: str
    inputs: Mapping[str, Any]

    @property
    def key(self) -> str:
        """12 hex digits of the inputs."""
        return digest(self.inputs, 12)

    @property
    def folder(self) -> Path:
        """Where the result lies."""
        return self.place / f"{self.name}-{self.key}"

    @property
    def state_file(self) -> Path:
        """Where its state lies."""
        return beside(self.folder, ".json")

    def state(self) -> dict[str, Any]:
        """Return what is known of it; `status` is `WAITING` if nothing is."""
        return read_state(self.state_file)

    @contextlib.contextmanager
    def working(self, **known: Any) -> Iterator[dict[str, Any]]:
        """Hold the run's lock while it is worked on, and write down how it ended.

        What the body puts into the dictionary that it gets is kept with the state.

        Raises:
            OutputError: Another process is at it.
        """
        busy = f"{self.folder}: another process is at this run; wait for it, or let it go on"
        state: dict[str, Any] = {**known, "name": self.name, "inputs": dict(self.inputs)}
        with held(self.state_file, busy):
            started = _now()
            write_json(self.state_file, {**state, "status": RUNNING, "started": started})
            try:
                yield state
            except BaseException as error:
                # A kill by hand is no failure: the run goes on next time.
                stopped = not isinstance(error, Exception)
                ended = {
                    "status": INTERRUPTED if stopped else FAILED,
                    "error": f"{type(error).__name__}: {error}",
                }
                self._end(state, started, ended)
                raise
            self._end(state, started, {"status": DONE})

    def _end(self, state: Mapping[str, Any], started: str, ended: Mapping[str, Any]) -> None:
        write_json(self.state_file, {**state, **ended, "started": started, "ended": _now()})


def beside(folder: Path, suffix: str) -> Path:
    """Return the file beside a folder that is called as it is; names of models hold dots."""
    return folder.with_name(folder.name + suffix)


def read_state(file: Path) -> dict[str, Any]:
    """Return a state; one that says `running` while nobody holds its lock was interrupted."""
    from filelock import FileLock, Timeout

    if not file.exists():
        return {"status": WAITING}
    state: dict[str, Any] = json.loads(file.read_text())
    if state["status"] == RUNNING:
        try:
            with FileLock(f"{file}.lock", timeout=0):
                pass
        except Timeout:
            return state
        # It may have ended between reading and locking.
        state = json.loads(file.read_text())
        if state["status"] == RUNNING:
            state["status"] = INTERRUPTED
    return state


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
