"""One collected session as it lies on disk: JSON lines, read without losing one in silence.

A file is `<session id>.jsonl`; `event_schema` says what its lines may hold. The first line is the
consent and says which version of the schema holds; then come, in any order, turns and ratings
(version 2) or messages (version 3, of a chat page), calibrations and batches of events. The server
checked every line before it wrote it, so what does not fit here was damaged later, or is the last
line of a crash. It is left out and counted.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import PAGES, fits, version_of
from ifllm_hf.data.sessions.shard import PackedSession
from ifllm_hf.errors import SourceError
from ifllm_hf.files import digest
from ifllm_hf.remote_path import Place

try:
    import orjson
except ImportError:  # it comes with the extra `capture`; the base install reads at half the speed
    orjson = None  # type: ignore[assignment]

SESSION_NAME = re.compile(r"(s_[A-Za-z0-9_-]{22})\.jsonl", re.ASCII)
TOMBSTONES = "withdrawn.txt"
"""Beside the session files: one tombstone a line."""
_KINDS = {
    2: ("batch", "turn", "rating", "calibration", "summary", "end"),
    PAGES: ("batch", "message", "calibration", "end"),
}

_BATCH = b'{"type":"batch"'

Record = dict[str, Any]
SessionPlace = Place | PackedSession
"""Where a session lies: a file of its own, or a row of a shard."""


@dataclass
class Session:
    """What one file holds.

    Attributes:
        session_id: Random; whoever knows it knows nothing of the withdrawal code.
        first: The first line: consent, demographics, client.
        turns: By number, each with its question and answers.
        ratings: By number of the turn.
        messages: Of a chat page, as its owner told them, in the order of the file.
        calibrations: In order; `when` is before or after the questions.
        summary: The reader's own words, if given.
        end: Written when the reader came to the end.
        batches: Events as they were sent, each batch once, in the order of the file.
        lines: Every line seen.
        content: sha256 of the file.
    """

    session_id: str
    first: Record
    turns: dict[int, Record] = field(default_factory=dict)
    ratings: dict[int, Record] = field(default_factory=dict)
    messages: list[Record] = field(default_factory=list)
    calibrations: list[Record] = field(default_factory=list)
    summary: Record | None = None
    end: Record | None = None
    batches: list[Record] = field(default_factory=list)
    lines: Ledger = field(default_factory=lambda: Ledger("lines"))
    content: str = ""

    @property
    def version(self) -> int:
        """Of the schema that it was written by."""
        return version_of(self.first)


@overload
def session_files(folder: Path) -> list[Path]: ...
@overload
def session_files(folder: Place) -> list[Any]: ...
def session_files(folder: Place) -> list[Any]:
    """Return the session files of a folder in the order of their names; packed ones have none."""
    return sorted(p for p in folder.glob("s_*.jsonl") if SESSION_NAME.fullmatch(p.name))


def tombstone(session_id: str) -> str:
    """Return what is kept of a withdrawn session: sha256 of its id, 64 hex digits."""
    return digest(session_id)


def read_first_line(path: SessionPlace) -> Record | None:
    """Return the consent of a session file, None if it is not there: nothing may be used then.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        if not isinstance(path, Path):
            return consent_of(path.read_line(), path.stem)
        with path.open("rb") as file:
            return consent_of(file.readline(), path.stem)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_session(path: SessionPlace, *, events: bool = True) -> Session | None:
    """Read a session.

    Args:
        path: Its file, or where it lies in a shard.
        events: Whether to decode the batches; without them `batches` stays empty, and their lines
            are not in the ledger.

    Returns:
        The session; None if its first line, the consent, is not there: nothing may be used then.

    Raises:
        SourceError: It cannot be read.
    """
    if not SESSION_NAME.fullmatch(path.name):
        raise SourceError(f"{path}: expected a file named s_<22 characters>.jsonl.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    lines = data.splitlines(keepends=True)
    first = consent_of(lines[0], path.stem) if lines else None
    if first is None:
        return None
    session = Session(path.stem, first, content=digest(data))
    session.lines.keep()
    seen: set[tuple[str, int]] = set()
    for line in lines[1:]:
        if not events and line.startswith(_BATCH):
            continue
        record = _decode(line)
        reason = record if isinstance(record, str) else _take(session, record, seen)
        if reason is None:
            session.lines.keep()
        else:
            session.lines.drop(reason)
    session.lines.check()
    return session


def consent_of(line: bytes, session_id: str) -> Record | None:
    """Return the consent on the first line of a session; `line` may hold more than one."""
    first = _decode(line.splitlines(keepends=True)[0]) if line else "empty file"
    of_session = not isinstance(first, str) and fits(
        first, "session_line", version=version_of(first)
    )
    return first if of_session and first["session_id"] == session_id else None  # type: ignore[index, return-value]


def _unreadable(path: SessionPlace, error: OSError) -> SourceError:
    return SourceError(f"{path}: cannot be read ({error}). Check its permissions.")


def _decode(line: bytes) -> Record | str:
    """Return the object of a line, or why there is none."""
    if not line.endswith(b"\n"):
        return "torn line"
    try:
        record = _parsed(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError too
        return "not JSON"
    if b"\\u" in line and not line.startswith(_BATCH) and not _is_unicode(record):
        return "half a character"
    return record if isinstance(record, dict) else "not an object"


def _parsed(line: bytes) -> Any:
    """Return what a line says; what orjson refuses, the slower json decides."""
    if orjson is not None:
        with suppress(ValueError):
            return orjson.loads(line)
    return json.loads(line, parse_constant=_refuse)


def _is_unicode(record: Any) -> bool:
    """Tell whether all strings can be written; JSON can hold half of an emoji, UTF-8 cannot."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _take(session: Session, record: Record, seen: set[tuple[str, int]]) -> str | None:
    """Put a line where it belongs; return why not."""
    kind = record.get("type")
    if not isinstance(kind, str) or kind not in _KINDS[2] + _KINDS[PAGES]:
        return "unknown type"
    of_version = kind not in ("batch", "message") or version_of(record) == session.version
    if kind not in _KINDS[session.version] or not of_version:
        return f"{kind} of another version"
    if not _fits(session, record):
        return f"{kind} does not fit the schema"
    if kind == "batch":
        key = (record["tab"], record["seq"])
        if key in seen:
            return "batch came twice"
        seen.add(key)
        session.batches.append(record)
    elif kind in ("turn", "rating"):
        place = session.turns if kind == "turn" else session.ratings
        if record["turn"] in place:
            return f"{kind} came twice"
        place[record["turn"]] = record
    elif kind == "message":
        session.messages.append(record)
    elif kind == "calibration":
        session.calibrations.append(record)
    elif kind == "summary":
        session.summary = record
    else:
        session.end = record
    return None


def _fits(session: Session, record: Record) -> bool:
    kind, version = record["type"], session.version
    if kind == "batch":  # its events are looked at later, and counted one by one
        events = record.get("events")
        head = {**record, "events": [0] * len(events) if isinstance(events, list) else events}
        return fits(head, "batch_line", anything="event", version=version)
    if not fits(record, f"{kind}_line", version=version):
        return False
    boxes = ["A", "B"] if record.get("kind") == "pairwise" else ["A"]
    return kind != "turn" or [answer["box"] for answer in record["responses"]] == boxes
