"""Deletes sessions whose time is over: those that nothing was added to for so many days.

How many is promised in the consent and written into it, so that a number that an operator raises
later, or takes away, holds for new sessions alone; a lower one holds for all. What is deleted is
deleted as if its reader had withdrawn: on this disk, in shards, in exports and on the Hub.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from ifllm_hf.capture.server.append_log import QUARANTINE
from ifllm_hf.capture.server.pushing import SessionPush
from ifllm_hf.capture.server.session_folder import SessionFolder
from ifllm_hf.capture.server.withdrawal import finish
from ifllm_hf.capture.settings import KEEP_DAYS_MAX
from ifllm_hf.data.sessions.session_file import SessionPlace, session_files
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import IFLLMError

DAY_S = 86_400.0
_SERVERS_TIMES = ("received_epoch_ms", "at_epoch_ms", "shown_epoch_ms", "created_epoch_ms")
"""Of a line, as the server's clock had it; what a browser says of the time decides nothing."""


class Retention:
    """Deletes what is too old, at the start and once a day."""

    def __init__(
        self,
        sessions: SessionFolder,
        keep_days: int | None,
        now_ms: Callable[[], int],
        hub: SessionPush | None,
        exports: Path | None,
    ) -> None:
        """Do nothing yet.

        Args:
            sessions: Where they lie.
            keep_days: Of the operator; None: what a consent promised holds alone.
            now_ms: Gives the epoch in ms.
            hub: Where they are pushed to; it has what this machine lost.
            exports: The prepared folder that was made of them.
        """
        self._sessions = sessions
        self._keep_days = keep_days
        self._now_ms = now_ms
        self._hub = hub
        self._exports = exports
        self._elsewhere: dict[str, tuple[int, float]] = {}
        """What this machine lost, and keeps no more: its days, and the time of its last event."""
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Delete from now on, in the background."""
        self._loop.start()

    def close(self) -> None:
        """Stop, after the session that is being deleted."""
        self._stop.set()
        if self._loop.is_alive():
            self._loop.join()

    def sweep(self) -> int:
        """Delete every session whose time is over; return how many that were.

        Raises:
            OSError: The disk takes no change.
        """
        sessions, deleted = self._sessions, 0
        with sessions.moving:
            for session_id, place, first_line in self._stored():
                if self._stop.is_set():
                    break
                days = self._days(first_line)
                if days is None or not self._is_over(place, first_line, days):
                    continue
                with sessions.lock:  # nobody writes now: it may have grown since
                    own = sessions.path(session_id)
                    if own.exists() and not self._is_over(own, first_line, days):
                        continue
                    sessions.take_out(session_id)
                deleted += 1
            for session_id in self._over_elsewhere():
                sessions.take_out(session_id)
                deleted += 1
            if deleted:
                sessions.watch.expired(deleted)
                finish(sessions, self._hub, self._exports)
        return deleted

    def _over_elsewhere(self) -> list[str]:
        """Return which sessions that only the Hub has are over; each is fetched once."""
        try:
            for session_id, data in self._hub.elsewhere(self._elsewhere) if self._hub else ():
                days = self._days(data.partition(b"\n")[0])
                last_ms = _last_time(data) or float("inf")
                self._elsewhere[session_id] = days or KEEP_DAYS_MAX, last_ms
        except IFLLMError as error:
            self._sessions.watch.trouble("retention", f"what the Hub has stays: {error}")
        now_ms = self._now_ms()
        return [
            session_id
            for session_id, (days, last_ms) in self._elsewhere.items()
            if last_ms < now_ms - 1000 * DAY_S * days
            and not self._sessions.is_here(session_id)
            and not self._sessions.is_withdrawn(session_id)
        ]

    def _stored(self) -> Iterator[tuple[str, SessionPlace, bytes]]:
        """Yield every session of this disk, where all of it lies, and its first line."""
        folder = self._sessions.folder
        stored = StoredSessions(folder, damaged=lambda _: None)  # the folder itself says which
        for shard in stored.shards.values():
            try:
                for packed, line in shard.first_lines():
                    if stored.place(packed.session_id) is packed:
                        yield packed.session_id, packed, line
            except (IFLLMError, FileNotFoundError) as error:
                self._stays(shard.path, error)
        loose = session_files(folder)
        known = {file.stem for file in loose} | {
            packed.session_id for shard in stored.shards.values() for packed in shard.sessions
        }
        halves = [h for h in sorted(folder.glob(f"{QUARANTINE}/s_*")) if _id_of(h) not in known]
        for file in [*loose, *halves]:
            try:
                if not file.is_file():
                    continue  # a pipe would be waited for; the start has said it
                with file.open("rb") as content:
                    line = content.readline()
            except OSError as error:
                self._stays(file, error)
            else:
                yield _id_of(file), file, line

    def _days(self, first_line: bytes) -> int | None:
        """Return how many days a session is kept: the operator's, or what was promised if less."""
        consent = _object(first_line).get("consent")
        promised = consent.get("keep_days") if isinstance(consent, dict) else None
        days = [d for d in (self._keep_days, promised) if isinstance(d, int)]
        return min(days, default=None)

    def _is_over(self, place: SessionPlace, first_line: bytes, days: int) -> bool:
        """Tell whether nothing was added for so long; what began since is not read."""
        before_ms = self._now_ms() - 1000 * DAY_S * days
        began_ms = _time_of(_object(first_line))
        if began_ms is not None and began_ms >= before_ms:
            return False
        try:
            return last_event_ms(place) < before_ms
        except (IFLLMError, OSError) as error:
            self._stays(place, error)
            return False

    def _stays(self, place: object, error: Exception) -> None:
        if not isinstance(error, FileNotFoundError):  # packed, or withdrawn: the next sweep sees it
            self._sessions.watch.trouble("retention", f"{place} stays: {error}")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.sweep()
            except Exception as error:  # whatever it met, it is tried again
                self._sessions.watch.trouble("retention", f"tried again tomorrow: {error}")
            self._stop.wait(DAY_S)


def last_event_ms(place: SessionPlace) -> float:
    """Return when the server last stored something of a session, as epoch in ms.

    A file none of whose lines says so is as old as the disk says.

    Raises:
        IFLLMError: Its shard cannot be read.
        OSError: It cannot be read.
    """
    last_ms = _last_time(place.read_bytes())
    if last_ms is not None:
        return last_ms
    return 1000 * place.stat().st_mtime if isinstance(place, Path) else 0.0


def _last_time(data: bytes) -> float | None:
    times = (_time_of(_object(line)) for line in reversed(data.splitlines()))
    return next((at_ms for at_ms in times if at_ms is not None), None)


def _id_of(file: Path) -> str:
    """Return the session of a file, or of the half line that a crash left of one."""
    return file.name.partition(".")[0]


def _object(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _time_of(record: dict[str, Any]) -> float | None:
    times = (record.get(name) for name in _SERVERS_TIMES)
    return next((float(t) for t in times if isinstance(t, (int, float))), None)
