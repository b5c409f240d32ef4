"""A folder of collected sessions as the same tables that a release has, one session at a time.

A session is one reader. Its pairwise turns are a conversation of their own (task 1), its pointwise
turns another (task 2), as in the release, where odd tasks are pairwise. Nobody signs in, so a
person who takes part twice is two readers.

A folder is gone through twice. Opening it reads the first line of every file: who is in it, in
which order, and what readers said of themselves, since it takes all of them to know which answers
are rare. Then each file is read whole, once: ticks, turns and the count of its lines come from the
same bytes, although the app goes on writing. What is kept of a session is a kilobyte: its id, its
reader, the digest of its file and its counts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ifllm_hf.data.ledger import Ledger, LedgersAsJson, PackedLedgers, total
from ifllm_hf.data.raw.release_source import Origin
from ifllm_hf.data.recordings import ConversationRows, Recordings, TablesToWrite
from ifllm_hf.data.schema import SCHEMAS, TURNS
from ifllm_hf.data.sessions.event_ticks import SessionTurn, session_ticks
from ifllm_hf.data.sessions.review import Key, Question, question_of, read_decisions
from ifllm_hf.data.sessions.session_file import (
    SESSION_NAME,
    TOMBSTONES,
    Session,
    read_first_line,
    read_session,
    session_files,
    tombstone,
)
from ifllm_hf.data.sessions.session_rows import (
    TASK_OF,
    UNREVIEWED,
    Row,
    SessionRows,
    query_id_of,
    session_rows,
)
from ifllm_hf.data.sessions.sessions_card import SessionTally, sessions_card
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.data.tables.folds import add_fold, fold_of_unknown
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS, withhold_rare
from ifllm_hf.data.ticks.turn_agreement import Agreement
from ifllm_hf.errors import SourceError, WithdrawnMeanwhileError
from ifllm_hf.files import digest

__all__ = [
    "READER_PREFIX",
    "CollectedSessions",
    "is_sessions_folder",
    "open_sessions",
    "query_id_of",
    "read_tombstones",
    "reader_of",
]

READER_PREFIX = "reader_"

_KIND_OF = {task: kind for kind, task in TASK_OF.items()}
_PAIRS = "pairwise"
_WITHDRAWN, _NO_CONSENT = "withdrawn", "no consent on its first line"

_Told = tuple[str | None, ...]


def is_sessions_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds collected sessions, or is a copy of their Hub repository."""
    return _folder_of_sessions(Path(path)) is not None


def _folder_of_sessions(path: Path) -> Path | None:
    for folder in (path, path / "sessions"):
        if folder.is_dir() and session_files(folder):
            return folder
    return None


def reader_of(session_id: str, *, made_up: bool = False) -> str:
    """Return the pseudonym of a session's reader: the beginning of what a tombstone would keep."""
    prefix = SYNTHETIC_PREFIX if made_up else READER_PREFIX
    return prefix + tombstone(session_id)[:16]


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What is known of a session from its first line.

    Attributes:
        session_id: Names its file.
        user_id: The pseudonym of its reader.
        created_ms: When it began: sessions come in this order.
    """

    session_id: str
    user_id: str
    created_ms: float


@dataclass
class SessionsOrigin(Origin):
    """The files of a folder of sessions.

    Attributes:
        folder: Where they lie.
        ledger: Of the files.
        contents: By session id, the sha256 of its file as it was read; None: not read yet.
    """

    folder: Path
    ledger: Ledger = field(default_factory=lambda: Ledger("files"))
    contents: dict[str, bytes | None] = field(default_factory=dict)
    name: str = "sessions"

    def path_of(self, session_id: str) -> Path:
        """Return the file of a session."""
        return self.folder / f"{session_id}.jsonl"

    def fingerprint(self) -> str:
        """Return the digest of names and contents; free once the sessions were read."""
        names = sorted((self.path_of(session_id).name, of) for session_id, of in self._read())
        return digest("".join(f"{name}\0{of}\n" for name, of in names))

    def _read(self) -> Iterator[tuple[str, str]]:
        for session_id, content in self.contents.items():
            known = content.hex() if content else digest(self.path_of(session_id).read_bytes())
            yield session_id, known

    def close(self) -> None:
        """Nothing is kept open."""


class CollectedSessions(Recordings):
    """Sessions that were opened; see `Recordings`.

    `turns`, `preferences`, `tasks` and `waiting` go through all files and hold what they find; what
    `prepare` writes comes with `conversations` instead.

    Attributes:
        sessions: Those that are read, in their order.
        public: Whether only reviewed questions are in it.
    """

    source: SessionsOrigin
    file_ledgers: PackedLedgers

    def __init__(
        self,
        source: SessionsOrigin,
        sessions: list[KnownSession],
        told: dict[str, _Told],
        decisions: dict[Key, str],
        *,
        withdrawn: frozenset[str],
        public: bool,
    ) -> None:
        """Take what opening a folder found.

        Args:
            source: The files.
            sessions: In their order.
            told: By reader, the answers about themselves.
            decisions: Of the reviewers.
            withdrawn: The tombstones by then.
            public: Leave out what nobody has reviewed.
        """
        self.source = source
        self.sessions = sessions
        self.public = public
        self.folds = {user_id: fold_of_unknown(user_id) for user_id in told}
        self._told = told
        self._decisions = decisions
        self._withdrawn = withdrawn
        self.agreement = Agreement()  # what an event says needs no text to compare with
        self._begin()

    def __repr__(self) -> str:
        """Name the folder; the tables would be read for it."""
        return f"CollectedSessions({self.source.name!r}, {len(self.sessions)} sessions)"

    def _begin(self) -> None:
        self.file_ledgers = PackedLedgers()
        self.table_ledgers = {name: Ledger(name) for name in ("turns", "tasks", "preferences")}
        self._tally = SessionTally()

    def conversations(self) -> Iterator[ConversationRows]:
        """Yield ticks, turns and task of every conversation; memory holds one session."""
        self._begin()
        for known in self.sessions:
            # In a function: its local names would keep the session while the next one is read.
            yield from self._conversations_of(known)

    def _conversations_of(self, known: KnownSession) -> list[ConversationRows]:
        session = self._read(known)
        if session is None:
            return []
        made = session_rows(session, known.user_id, self._decisions, public=self.public)
        turns = _turns_on_page(session, made)
        first = min(turns.values(), key=lambda t: t.query_id, default=None)
        home = first.conversation_id if first else f"{known.user_id}/{TASK_OF[_PAIRS]}"
        withheld = frozenset(session.turns) - set(turns) if self.public else frozenset()
        ticks = session_ticks(session, turns, home, withheld=withheld, reason=UNREVIEWED)
        self.file_ledgers.add(home, {"lines": session.lines, **ticks.ledgers})
        self.table_ledgers["turns"] += made.ledger
        self.table_ledgers["tasks"].keep(len(made.tasks))
        self._tally.add(session, made)
        return [
            ConversationRows(
                conversation_id=conversation_id,
                user_id=known.user_id,
                task_id=(task_id := int(conversation_id.rsplit("/", 1)[1])),
                kind=_KIND_OF[task_id],
                fold=self.fold_of(known.user_id),
                ticks=table,
                reading_end_source=ticks.reading_end_source,
                turns=[t for t in made.turns.values() if t["conversation_id"] == conversation_id],
                tasks=made.tasks if conversation_id == home else (),
            )
            for conversation_id, table in ticks.tables.items()
        ]

    def _read(self, known: KnownSession, *, events: bool = True) -> Session | None:
        """Read a session; None, and nothing is left of it, if it may not be used any more."""
        path, reason = self.source.path_of(known.session_id), _NO_CONSENT
        try:
            session = read_session(path, events=events)
        except SourceError:
            if path.exists():
                raise
            session, reason = None, _WITHDRAWN
        if session is not None:
            self.source.contents[known.session_id] = bytes.fromhex(session.content)
        elif self._told.pop(known.user_id, None) is not None:
            self.source.ledger.kept -= 1
            self.source.ledger.dropped[reason] += 1
            del self.source.contents[known.session_id], self.folds[known.user_id]
        return session

    def tables_to_write(self) -> TablesToWrite:
        """Return the tables that take all sessions; turns and tasks come with conversations."""
        return TablesToWrite(None, self._preferences, None, lambda _: [self.workers])

    def _preferences(self, folder: Path) -> Iterator[pl.DataFrame]:
        """Make the pairs of what was written, shard by shard: the turns are not in memory."""
        ledger = Ledger("preferences")
        for file in sorted((folder / _PAIRS).glob("*.parquet")):
            table = pq.ParquetFile(file).read(columns=TURNS.names)
            frame = pl.from_arrow(table)
            assert isinstance(frame, pl.DataFrame)
            pairs, of_pairs = build_preferences(frame)
            ledger += of_pairs
            yield pairs
        ledger.drop("pointwise", self._tally.turns["pointwise"])
        self.table_ledgers["preferences"] = ledger

    @property
    def workers(self) -> pl.DataFrame:  # type: ignore[override]
        """One row per reader; a combination of answers that fewer than K gave is withheld."""
        published = withhold_rare(Counter(self._told.values()))
        rows = [
            {"user_id": user_id, "consent": True}
            | dict(zip(QUASI_IDENTIFIERS, published[person], strict=True))
            for user_id, person in self._told.items()
        ]
        return add_fold(_frame(rows, SCHEMAS["workers"]).drop("fold").sort("user_id"), {})

    @cached_property
    def turns(self) -> pl.DataFrame:  # type: ignore[override]
        """All turns; `prepare` does without."""
        return _frame([row for _, made in self._rows() for row in made.turns.values()], TURNS)

    @cached_property
    def preferences(self) -> pl.DataFrame:  # type: ignore[override]
        """All pairs; `prepare` does without."""
        return build_preferences(self.turns)[0]

    @cached_property
    def tasks(self) -> pl.DataFrame:  # type: ignore[override]
        """All conversations; `prepare` does without."""
        return _frame([row for _, made in self._rows() for row in made.tasks], SCHEMAS["tasks"])

    @cached_property
    def waiting(self) -> list[Question]:
        """Questions that nobody has reviewed yet."""
        return [question_of(user, turn) for user, made in self._rows() for turn in made.waiting]

    def _rows(self) -> Iterator[tuple[str, SessionRows]]:
        for known in self.sessions:
            if (session := self._read(known, events=False)) is not None:
                rows = session_rows(session, known.user_id, self._decisions, public=self.public)
                yield known.user_id, rows

    def ledgers(self) -> dict[str, Any]:
        """Return every ledger as JSON; `files` is a view: five entries a session are many."""
        of_workers = Ledger("workers")
        of_workers.keep(len(self._told))
        tables = {**self.table_ledgers, "workers": of_workers}
        sums = self.file_ledgers.sums
        return {
            "tables": {name: ledger.to_dict() for name, ledger in tables.items()},
            "behavior": {kind: ledger.to_dict() for kind, ledger in sums.items()},
            "source_files": self.source.ledger.to_dict(),
            "files": LedgersAsJson(self.file_ledgers),
            # Rows of tables are made from lines, which are counted with the behaviour.
            "total": total(sums.values()).to_dict(),
        }

    def expected_conversations(self) -> int:
        """Return the number of sessions: few have two kinds of turns."""
        return len(self.sessions)

    def facts(self) -> dict[str, int]:
        """Return the counts of turns, readers and conversations, once everything is read."""
        return self._tally.facts()

    def check_at_the_end(self) -> None:
        """Refuse what somebody withdrew from while it was read.

        Raises:
            WithdrawnMeanwhileError: One of the sessions was withdrawn since the folder was opened.
        """
        withdrawn = read_tombstones(self.source.folder)
        if withdrawn == self._withdrawn:
            return
        gone = [known for known in self.source.contents if tombstone(known) in withdrawn]
        if gone:
            raise WithdrawnMeanwhileError(
                f"{self.source.folder}: {len(gone)} of its sessions were withdrawn while they were "
                "read. Nothing was written; run the command again."
            )

    def card(self, known: dict[str, Any]) -> str:
        """Return the card of these sessions; `known` of `prepare` may say that they are made up."""
        return sessions_card(
            self._tally,
            known["ledgers"]["total"],
            public=self.public,
            made_up=bool(known.get("synthetic")),
        )


def open_sessions(path: str | os.PathLike[str], *, public: bool = False) -> CollectedSessions:
    """Open a folder of collected sessions; the first line of each is read.

    Args:
        path: The folder of an app, or a copy of the Hub repository it pushes to.
        public: Leave out every turn whose question nobody has reviewed, and every free text.

    Raises:
        SourceError: There is no session in it.
        DataError: `reviews.csv` is damaged.
    """
    folder = _folder_of_sessions(Path(path))
    if folder is None:
        raise SourceError(
            f"{path}: no session file in it. Expected s_<22 characters>.jsonl, as the collecting "
            "app writes them; give its sessions folder."
        )
    origin = SessionsOrigin(folder, name=str(folder))
    withdrawn = read_tombstones(folder)
    sessions: list[KnownSession] = []
    told: dict[str, _Told] = {}
    same: dict[_Told, _Told] = {}  # few answers, many readers
    for file in session_files(folder):
        session_id = SESSION_NAME.fullmatch(file.name)[1]  # type: ignore[index]
        if tombstone(session_id) in withdrawn:
            origin.ledger.drop(_WITHDRAWN)
        elif (first := read_first_line(file)) is None:
            origin.ledger.drop(_NO_CONSENT)
        else:
            origin.ledger.keep()
            user_id = reader_of(session_id, made_up="made_up" in first.get("versions", {}))
            sessions.append(KnownSession(session_id, user_id, first.get("created_epoch_ms", 0)))
            answers = first.get("demographics") or {}
            person = tuple(answers.get(name) for name in QUASI_IDENTIFIERS)
            told[user_id] = same.setdefault(person, person)
            origin.contents[session_id] = None
    sessions.sort(key=lambda s: (s.created_ms, s.session_id))
    return CollectedSessions(
        origin, sessions, told, read_decisions(folder), withdrawn=withdrawn, public=public
    )


def read_tombstones(folder: Path) -> frozenset[str]:
    """Return the hashes of the sessions that were withdrawn from a folder."""
    path = folder / TOMBSTONES
    return frozenset(path.read_text(encoding="ascii").split()) if path.exists() else frozenset()


def _turns_on_page(session: Session, made: SessionRows) -> dict[int, SessionTurn]:
    """Return what ticks need of the turns that are in the export, by number."""
    return {
        number: SessionTurn(
            query_id=row["query_id"],
            conversation_id=row["conversation_id"],
            answers={
                side: answer["source"]
                for side, answer in enumerate(session.turns[number]["responses"], 1)
            },
            rated=number in session.ratings,
        )
        for number, row in made.turns.items()
    }


def _frame(rows: Iterable[Row], schema: pa.Schema) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_pylist(list(rows), schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame
