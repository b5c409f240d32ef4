"""The sessions of a folder: which there are, in which order, and who is in them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.release_source import Origin
from ifllm_hf.data.sessions.session_file import (
    TOMBSTONES,
    SessionPlace,
    session_files,
    tombstone,
)
from ifllm_hf.data.sessions.shard import shard_names
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS
from ifllm_hf.files import digest
from ifllm_hf.remote_path import Place, RemotePath, place_of

READER_PREFIX = "reader_"
WITHDRAWN, NO_CONSENT = "withdrawn", "no consent on its first line"

Told = tuple[str | None, ...]
"""What a reader said of themselves, in the order of `QUASI_IDENTIFIERS`."""


def is_sessions_folder(path: str | os.PathLike[str] | RemotePath) -> bool:
    """Tell whether a folder holds collected sessions, or is a copy of their Hub repository."""
    return folder_of_sessions(place_of(path)) is not None


def folder_of_sessions(path: Place) -> Place | None:
    """Return the folder with the sessions: `path`, or `sessions` in it; None: neither."""
    for folder in (path, path / "sessions"):
        if session_files(folder) or shard_names(folder):
            return folder
    return None


def reader_of(session_id: str, *, made_up: bool = False) -> str:
    """Return the pseudonym of a session's reader: the beginning of what a tombstone would keep."""
    prefix = SYNTHETIC_PREFIX if made_up else READER_PREFIX
    return prefix + tombstone(session_id)[:16]


def read_tombstones(folder: Place) -> frozenset[str]:
    """Return the hashes of the sessions that were withdrawn from a folder."""
    path = folder / TOMBSTONES
    return frozenset(path.read_text(encoding="ascii").split()) if path.exists() else frozenset()


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What is known of a session from its first line.

    Attributes:
        session_id: Names its file, if it has one of its own.
        user_id: The pseudonym of its reader.
        created_ms: When it began: sessions come in this order.
        told: What its reader said of themselves.
        n_bytes: Of its file when it was listed; sessions only grow.
    """

    session_id: str
    user_id: str
    created_ms: float
    told: Told
    n_bytes: int = 0


@dataclass
class SessionsOrigin(Origin):
    """The files of a folder of sessions, which may be packed.

    Attributes:
        folder: Where they lie.
        ledger: Of the sessions.
        contents: By session id, the sha256 of its file as it was read; None: not read yet.
    """

    folder: Place
    ledger: Ledger = field(default_factory=lambda: Ledger("files"))
    contents: dict[str, bytes | None] = field(default_factory=dict)
    name: str = "sessions"

    @cached_property
    def stored(self) -> StoredSessions:
        """Where the sessions lie; a rank looks for itself."""
        return StoredSessions(self.folder)

    def path_of(self, session_id: str) -> SessionPlace:
        """Return where a session lies."""
        return self.stored.place(session_id)

    def fingerprint(self) -> str:
        """Return the digest of names and contents; free once the sessions were read."""
        names = sorted((f"{session_id}.jsonl", of) for session_id, of in self._read())
        return digest("".join(f"{name}\0{of}\n" for name, of in names))

    def _read(self) -> Iterator[tuple[str, str]]:
        for session_id, content in self.contents.items():
            known = content.hex() if content else digest(self.path_of(session_id).read_bytes())
            yield session_id, known

    def close(self) -> None:
        """Nothing is kept open."""


def list_sessions(
    folder: Place, withdrawn: Collection[str], known: Mapping[str, KnownSession] | None = None
) -> tuple[SessionsOrigin, list[KnownSession]]:
    """Read the first line of every session of a folder.

    Args:
        folder: It holds the files, or shards of them.
        withdrawn: Tombstones; their sessions are counted as dropped.
        known: By id, sessions that were listed before; of those that have not grown since, nothing
            is read.

    Returns:
        The files, and the sessions that may be read, in the order in which they began.

    Raises:
        SourceError: A session, or a shard, cannot be read.
    """
    origin = SessionsOrigin(folder, name=str(folder))
    sessions: list[KnownSession] = []
    same: dict[Told, Told] = {}  # few answers, many readers
    sizes = origin.stored.sizes()
    gone = {session_id for session_id in sizes if tombstone(session_id) in withdrawn}
    origin.ledger.drop(WITHDRAWN, len(gone))
    for session_id, of in (known or {}).items():
        if session_id not in gone and sizes.get(session_id) == of.n_bytes:
            sessions.append(of)
    origin.ledger.keep(len(sessions))
    done = gone | {of.session_id for of in sessions}
    for session_id, first in origin.stored.first_lines(but=done):
        if first is None:
            origin.ledger.drop(NO_CONSENT)
            continue
        origin.ledger.keep()
        user_id = reader_of(session_id, made_up="made_up" in first.get("versions", {}))
        answers = first.get("demographics") or {}
        told = tuple(answers.get(name) for name in QUASI_IDENTIFIERS)
        created_ms = first.get("created_epoch_ms", 0)
        told = same.setdefault(told, told)
        n_bytes = sizes.get(session_id, 0)
        sessions.append(KnownSession(session_id, user_id, created_ms, told, n_bytes))
    sessions.sort(key=lambda s: (s.created_ms, s.session_id))
    origin.contents = dict.fromkeys((known.session_id for known in sessions), None)
    return origin, sessions
