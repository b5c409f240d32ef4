"""All sessions of this server: one writer thread, one write and one sync per group of lines.

Whoever appends gets an answer only after its line is on disk. Lines that arrive while the disk is
busy share the next sync, so sixty readers cost little more than one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from ifllm_hf.capture.server import refusals
from ifllm_hf.capture.server.append_log import AppendLog
from ifllm_hf.capture.server.checks import check
from ifllm_hf.capture.server.durable import Stored
from ifllm_hf.capture.server.identity import (
    SESSION_ID,
    OpenedSession,
    new_identity,
    secret_beside,
    token_is_of,
    token_of,
)
from ifllm_hf.capture.server.limits import RateLimit
from ifllm_hf.capture.server.packing import Packing
from ifllm_hf.capture.server.pushing import PushTo, SessionPush
from ifllm_hf.capture.server.retention import Retention
from ifllm_hf.capture.server.session_folder import SessionFolder
from ifllm_hf.capture.server.withdrawal import WithdrawalReceipt, finish_exports, withdraw
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.sessions.packed import WRITER
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest

WRONG_CODES_PER_MINUTE = 20
ROOM_TO_FINISH = 2**20
"""Bytes that a full session still takes of all but batches: who is told to finish can."""
_GROUP_MAX = 128  # fewer than files stay open


@dataclass
class _Line:
    session_id: str
    data: bytes
    batch: tuple[str, int] | None  # (tab, seq)
    first: bool
    done: Future[Stored]


_Appended = tuple[AppendLog, int, list[tuple[_Line, int, bool]]]
"""The file, its size before, and for each line its end and whether it was there already."""


class SessionStore(SessionFolder):
    """Keeps sessions in a folder; see the module. `start` it before use, `close` it at the end."""

    def __init__(
        self,
        settings: Settings,
        *,
        push: PushTo | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Touch nothing yet.

        Args:
            settings: Of the operator.
            push: Makes what pushes to `settings.hub_dataset`; needed where that is set.
            clock: Gives the epoch in seconds.

        Raises:
            ConfigError: Nothing can push to the dataset that is set.
        """
        super().__init__(Path(settings.sessions))
        self.settings = settings
        self._clock = clock
        self._queue: queue.SimpleQueue[_Line | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_forever, name="sessions", daemon=True)
        self._syncers = ThreadPoolExecutor(8, thread_name_prefix="sync")
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        self._openings = RateLimit(settings.sessions_per_minute)
        self.wrong_codes = RateLimit(WRONG_CODES_PER_MINUTE)
        self.hub: SessionPush | None = None
        if settings.hub_dataset:
            if push is None:
                raise ConfigError(
                    f"$IFLLM_SPACE_HUB_DATASET is {settings.hub_dataset!r}, and this server has "
                    "nothing that pushes. Expected `push=HubPush` of ifllm_hf.hub.collecting."
                )
            self.hub = push(self, settings.hub_dataset, settings.hub_interval_s)
        self.packing = Packing(self, settings.pack_idle_hours)
        ways = (self.hub, settings.exports)
        self.retention = Retention(self, settings.keep_days, self.now_ms, *ways)
        self._started = False

    def start(self) -> None:
        """Take the folder, repair what a crash left, start to write.

        Raises:
            ConfigError: Another process writes there; two would store batches twice.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._only_writer = FileLock(self.folder / f"{WRITER}.lock")
        try:
            self._only_writer.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{self.folder}: another server writes there. Expected one process for a folder: "
                "stop the other, or set $IFLLM_SPACE_SESSIONS."
            ) from None
        self._secret = self.settings.secret or secret_beside(self.folder)
        self.repair()
        finish_exports(self, self.settings.exports)
        self._started = True
        self._writer.start()
        if self.hub:
            self.hub.start()
        self.packing.start()
        self.retention.start()

    def close(self) -> None:
        """Write what is queued, then let the folder go."""
        if not self._started:
            return
        self._started = False
        self._fetcher.shutdown()  # what it fetched for is in the queue now
        self._queue.put(None)
        self._writer.join()
        self.retention.close()
        self.packing.close()
        if self.hub:
            self.hub.close()
        self._syncers.shutdown()
        self.close_files()
        self._only_writer.release()

    # --- sessions

    def open_session(
        self,
        *,
        consent_version: str,
        consent_text: str,
        demographics: Mapping[str, str | None] | None = None,
        client: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        page: Mapping[str, str] | None = None,
        language: str | None = None,
    ) -> OpenedSession:
        """Record that an adult consented, and return the key to a session; `page`: of a chat page.

        Raises:
            Refusal: Collection is off, too many sessions were opened, or a value does not fit.
        """
        if not self.settings.collects:
            raise refusals.off()
        if wait_s := self._openings.take():
            raise refusals.too_many("new sessions", wait_s)
        session_id, code = new_identity()
        now_ms = self.now_ms()
        first: dict[str, Any] = {
            "type": "session",
            "v": 3 if page else 2,
            "session_id": session_id,
            "created_epoch_ms": now_ms,
            "consent": {
                "version": consent_version,
                "text_sha256": digest(consent_text),
                "adult": True,
                "at_epoch_ms": now_ms,
                **({"language": language} if language else {}),
                **({"keep_days": days} if (days := self.settings.keep_days) else {}),
            },
            "demographics": dict(demographics) if demographics is not None else None,
            "client": dict(client or {}),
        }
        if versions:
            first["versions"] = dict(versions)
        if page:
            first["page"] = dict(page)
        check(first, "record")
        self._put(session_id, first, first=True).result()
        self.watch.opened()
        return OpenedSession(session_id, token_of(session_id, self._secret), code)

    def check_token(self, session_id: str, token: str) -> bool:
        """Whether the token was given out with this session. Says nothing about its file."""
        if not self._started:
            raise refusals.off()
        known = SESSION_ID.fullmatch(session_id) is not None
        return known and token_is_of(token, session_id, self._secret)

    @property
    def secret(self) -> str:
        """What tokens and codes of completion are made with; never leaves the server."""
        return self._secret

    def append(self, session_id: str, record: Mapping[str, Any]) -> Stored:
        """Store one line and return once it is on disk; from any thread but the event loop's.

        Raises:
            Refusal: The record does not fit `$defs/record`, the session was withdrawn, is full or
                missing, or the disk failed.
        """
        return self.submit(session_id, record).result()

    def submit(self, session_id: str, record: Mapping[str, Any]) -> Future[Stored]:
        """Do as `append` does, later; the future has its answer or its Refusal."""
        if not SESSION_ID.fullmatch(session_id):
            raise refusals.foreign_token()
        line = dict(record)
        check(line, "record")
        if line["type"] == "session":
            raise refusals.malformed("A session has one first line. Expected any other type.")
        for answer in line["responses"] if line["type"] == "turn" else ():
            if error := answer.get("error"):
                self.watch.trouble("model", f"{answer.get('model') or 'no model'}: {error}")
        return self._put(session_id, line, first=False)

    def durable(self, session_id: str, tab: str, seqs: list[int]) -> tuple[list[int], list[int]]:
        """Return which batches outlive this machine, and which are not even on it."""
        if self._is_lost(session_id):
            self._fetch(session_id)
        with self.lock:
            file = self.open_file(session_id)
            ends = {seq: file.batches.end_of(tab, seq) for seq in seqs}
        done = [s for s, end in ends.items() if end is not None and self._durable(session_id, end)]
        return done, [s for s, end in ends.items() if end is None]

    def now_ms(self) -> int:
        """Return the epoch in ms."""
        return round(self._clock() * 1000)

    # --- withdrawal

    def withdraw(self, code: str) -> WithdrawalReceipt:
        """Take the session of a code out of every place; see `withdrawal`."""
        return withdraw(code, self, self.hub, self.wrong_codes, self.settings.exports)

    # --- the writer

    def _put(self, session_id: str, record: dict[str, Any], *, first: bool) -> Future[Stored]:
        if not self._started:
            raise refusals.disk_failed("the server is stopping")
        batch = (record["tab"], int(record["seq"])) if record["type"] == "batch" else None
        done: Future[Stored] = Future()
        ordered = {"type": record["type"], **record}
        try:
            data = orjson.dumps(ordered, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError as error:
            raise refusals.malformed(f"The line is no JSON: {error}.") from None
        self._queue.put(_Line(session_id, data, batch, first, done))
        return done

    def _write_forever(self) -> None:
        running = True
        while running:
            group = [self._queue.get()]
            while len(group) < _GROUP_MAX:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            running = None not in group
            by_session: dict[str, list[_Line]] = {}
            for line in group:
                if line is not None:
                    by_session.setdefault(line.session_id, []).append(line)
            with self.lock:
                syncing = [
                    self._syncers.submit(self._sync, session_id, *appended)
                    for session_id, lines in by_session.items()
                    if (appended := self._append_or_refuse(session_id, lines))
                ]
                for sync in syncing:
                    sync.result()
                self._drop_empty(by_session)

    def _append_or_refuse(self, session_id: str, lines: list[_Line]) -> _Appended | None:
        """Do as `_append` does; whatever it meets, the writer goes on with other sessions."""
        try:
            return self._append(session_id, lines)
        except Exception as error:
            self._refuse([line for line in lines if not line.done.done()], error)
            return None

    def _append(self, session_id: str, lines: list[_Line]) -> _Appended | None:
        """Put lines into the file; what is left to do is to sync it and to answer."""
        if not lines[0].first and self._is_lost(session_id):
            try:  # the Hub takes its time, and the other sessions are written meanwhile
                self._fetcher.submit(self._fetch, session_id, lines)
            except RuntimeError:
                self._refuse(lines, refusals.disk_failed("the server is stopping"))
            return None
        file = self.create_file(session_id) if lines[0].first else self.open_file(session_id)
        before = file.size
        new: list[_Line] = []
        twice: list[_Line] = []  # of a batch that this very group brings
        answers: list[tuple[_Line, int, bool]] = []
        room = self.settings.session_bytes_max - file.size
        for line in lines:
            known = file.batches.end_of(*line.batch) if line.batch else None
            if known is not None:
                answers.append((line, known, True))
            elif line.batch and any(line.batch == other.batch for other in new):
                twice.append(line)
            elif len(line.data) > room + (0 if line.batch else ROOM_TO_FINISH):
                line.done.set_exception(refusals.session_full(self.settings.session_bytes_max))
            else:
                new.append(line)
                room -= len(line.data)
        try:
            ends = file.append([line.data for line in new])
        except OSError as error:
            self._refuse([*new, *twice, *(line for line, _, _ in answers)], error)
            return None
        for line, end in zip(new, ends, strict=True):
            if line.batch:
                file.batches.add(*line.batch, end)
            answers.append((line, end, False))
        answers += [(line, file.size, True) for line in twice]
        return file, before, answers

    def _sync(
        self,
        session_id: str,
        file: AppendLog,
        before: int,
        answers: list[tuple[_Line, int, bool]],
    ) -> None:
        try:
            if file.size > before:
                file.sync()
        except OSError as error:
            file.cut_to(before)
            self._refuse([line for line, _, _ in answers], error)
            return
        for line, end, duplicate in answers:
            line.done.set_result(Stored(duplicate, self._durable(session_id, end)))

    def _durable(self, session_id: str, end: int) -> bool:
        return not self.settings.hub_dataset or self.pushed.get(session_id, 0) >= end

    def _is_lost(self, session_id: str) -> bool:
        """Whether only the Hub may have a session: after this machine got a new disk."""
        return (
            self.hub is not None
            and not self.is_withdrawn(session_id)
            and not self.is_here(session_id)
        )

    def _fetch(self, session_id: str, lines: Sequence[_Line] = ()) -> None:
        """Bring a lost session back from the Hub, then write the lines that waited for it."""
        try:
            found = self.hub is not None and self.hub.restore(session_id)
        except OSError as error:
            self._refuse(lines, error)
            return
        for line in lines if found else ():
            self._queue.put(line)
        if not found:
            self._refuse(lines, refusals.session_missing())

    def _refuse(self, lines: Sequence[_Line], error: Exception) -> None:
        if not isinstance(error, refusals.Refusal):
            error = refusals.disk_failed(getattr(error, "strerror", None) or repr(error))
            self.watch.trouble("disk", str(error))
        for line in lines:
            line.done.set_exception(error)

    def _drop_empty(self, session_ids: Iterable[str]) -> None:
        """Leave no file behind of a session that could not even begin."""
        for session_id in session_ids:
            file = self._files.get(session_id)
            if file is not None and file.size == 0:
                try:
                    self.delete(session_id)
                except OSError as error:
                    self.watch.trouble("disk", f"an empty session file stays: {error.strerror}")
