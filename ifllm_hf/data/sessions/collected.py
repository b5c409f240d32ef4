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

import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ifllm_hf.data.ledger import Ledger, LedgersAsJson, PackedLedgers, total
from ifllm_hf.data.recordings import ConversationRows, Recordings, TablesToWrite
from ifllm_hf.data.schema import SCHEMAS, TURNS
from ifllm_hf.data.sessions.event_schema import PAGES
from ifllm_hf.data.sessions.events.session_table import SessionTurn
from ifllm_hf.data.sessions.events.session_ticks import session_ticks
from ifllm_hf.data.sessions.origin import (
    NO_CONSENT,
    READER_PREFIX,
    WITHDRAWN,
    KnownSession,
    SessionsOrigin,
    folder_of_sessions,
    is_sessions_folder,
    list_sessions,
    read_tombstones,
    reader_of,
)
from ifllm_hf.data.sessions.pages.page_session import PageSession, read_page_session
from ifllm_hf.data.sessions.review import Key, Question, question_of, read_decisions
from ifllm_hf.data.sessions.session_file import Session, read_session, tombstone
from ifllm_hf.data.sessions.session_rows import (
    TASK_OF,
    UNREVIEWED,
    Row,
    SessionRows,
    query_id_of,
    session_rows,
)
from ifllm_hf.data.sessions.sessions_card import SessionTally, sessions_card
from ifllm_hf.data.tables.folds import add_fold, fold_of_unknown
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS, withhold_rare
from ifllm_hf.data.ticks.turn_agreement import Agreement
from ifllm_hf.errors import SourceError, WithdrawnMeanwhileError
from ifllm_hf.remote_path import RemotePath, hint, place_of

__all__ = [
    "READER_PREFIX",
    "CollectedSessions",
    "is_sessions_folder",
    "open_sessions",
    "query_id_of",
    "read_tombstones",
    "reader_of",
]

_KIND_OF = {task: kind for kind, task in TASK_OF.items()}
_PAIRS = "pairwise"
_PLACES = 3  # to look for a session that is moved while it is read


class CollectedSessions(Recordings):
    """Sessions that were opened; see `Recordings`.

    `turns`, `preferences`, `tasks` and `waiting` go through all files and hold what they find; what
    `prepare` writes comes with `conversations` instead.

    Attributes:
        sessions: Those that are read, in their order.
        decisions: Of the reviewers.
        public: Whether only reviewed questions are in it.
    """

    source: SessionsOrigin
    file_ledgers: PackedLedgers

    def __init__(
        self,
        source: SessionsOrigin,
        sessions: list[KnownSession],
        decisions: dict[Key, str],
        *,
        withdrawn: frozenset[str],
        public: bool,
    ) -> None:
        """Take what opening a folder found.

        Args:
            source: The files.
            sessions: In their order.
            decisions: Of the reviewers.
            withdrawn: The tombstones by then.
            public: Leave out what nobody has reviewed.
        """
        self.source = source
        self.sessions = sessions
        self.public = public
        # In the order of the files, which which answers are withheld may depend on.
        by_file = sorted(sessions, key=lambda known: known.session_id)
        self._told = {known.user_id: known.told for known in by_file}
        self.folds = {user_id: fold_of_unknown(user_id) for user_id in self._told}
        self.decisions = decisions
        self._withdrawn = withdrawn
        self._left_out: dict[str, str] = {}
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
            with _no_search_for_cycles():
                conversations = self._conversations_of(known)
            yield from conversations

    def _conversations_of(self, known: KnownSession) -> list[ConversationRows]:
        session = self._read(known)
        if session is None:
            return []
        if session.version == PAGES:
            return self._chats_of(known, session)
        made = session_rows(session, known.user_id, self.decisions, public=self.public)
        turns = _turns_on_page(session, made)
        first = min(turns.values(), key=lambda t: t.query_id or 0, default=None)
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

    def _chats_of(self, known: KnownSession, session: Session) -> list[ConversationRows]:
        """Return the conversations of a session of a chat page."""
        page = self._page(known, session)
        ledgers = {"lines": session.lines, **page.ticks.ledgers}
        self.file_ledgers.add(page.home, ledgers)
        for name, ledger in ({"turns": page.rows.ledger} | page.ledgers).items():
            self.table_ledgers.setdefault(name, Ledger(name))
            self.table_ledgers[name] += ledger
        n = {"messages": len(page.messages), "actions": len(page.actions)}
        self._tally.add(session, page.rows, **n)
        return page.conversations(known.user_id)

    def _page(self, known: KnownSession, session: Session) -> PageSession:
        return read_page_session(session, known.user_id, self.decisions, public=self.public)

    def _read(self, known: KnownSession, *, events: bool = True) -> Session | None:
        """Read a session; None, and nothing is left of it, if it may not be used any more."""
        if known.session_id in self._left_out:
            return None
        session, reason = None, WITHDRAWN
        for _ in range(_PLACES):
            path = self.source.path_of(known.session_id)
            try:
                session, reason = read_session(path, events=events), NO_CONSENT
                break
            except SourceError:
                if path.exists():
                    raise
                self.source.stored.refresh()  # it may have been packed since, or packed anew
        if session is not None:
            self.source.contents[known.session_id] = bytes.fromhex(session.content)
        else:
            self.leave_out(known, reason)
        return session

    def leave_out(self, known: KnownSession, reason: str) -> None:
        """Count a session that was to be read as dropped; nothing is left of it."""
        if self._told.pop(known.user_id, None) is not None:
            self._left_out[known.session_id] = reason
            self.source.ledger.kept -= 1
            self.source.ledger.dropped[reason] += 1
            del self.source.contents[known.session_id], self.folds[known.user_id]

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
            session = self._read(known, events=False)
            if session is not None and session.version == PAGES:
                session = self._read(known)  # which answers were side by side, events say
                if session is not None:
                    yield known.user_id, self._page(known, session).rows
            elif session is not None:
                rows = session_rows(session, known.user_id, self.decisions, public=self.public)
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

    def counts(self) -> dict[str, Any]:
        """Return for JSON what was counted while the sessions were read; `add_counts` takes it."""
        contents = self.source.contents.items()
        return {
            "tables": {name: ledger.packed() for name, ledger in self.table_ledgers.items()},
            "files": {name: of.decode() for name, of in self.file_ledgers.groups().items()},
            "tally": self._tally.to_json(),
            "contents": {session_id: of.hex() for session_id, of in contents if of},
            "left_out": self._left_out,
        }

    def add_counts(self, counts: Mapping[str, Any]) -> None:
        """Add the `counts` of another process, which read some of these sessions."""
        for name, packed in counts["tables"].items():
            self.table_ledgers.setdefault(name, Ledger(name))
            self.table_ledgers[name] += Ledger.of_packed(packed)
        self.file_ledgers.take(counts["files"])
        self._tally += SessionTally.of_json(counts["tally"])
        for session_id, content in counts["contents"].items():
            self.source.contents[session_id] = bytes.fromhex(content)
        if left_out := counts["left_out"]:
            for known in self.sessions:
                if known.session_id in left_out:
                    self.leave_out(known, left_out[known.session_id])

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


def open_sessions(
    path: str | os.PathLike[str] | RemotePath, *, public: bool = False
) -> CollectedSessions:
    """Open a folder of collected sessions; the first line of each is read.

    Args:
        path: The folder of an app, or the Hub repository it pushes to or a copy of that: its path
            or URL.
        public: Leave out every turn whose question nobody has reviewed, and every free text.

    Raises:
        SourceError: There is no session in it.
        RemoteError: A URL cannot be read.
        DataError: `reviews.csv` is damaged.
    """
    place = place_of(path)
    folder = folder_of_sessions(place)
    if folder is None:
        raise SourceError(
            f"{path}: no session file in it. Expected s_<22 characters>.jsonl, as the collecting "
            f"app writes them, or their shards; give its sessions folder{hint(place)}."
        )
    withdrawn = read_tombstones(folder)
    origin, sessions = list_sessions(folder, withdrawn)
    decisions = read_decisions(folder)
    return CollectedSessions(origin, sessions, decisions, withdrawn=withdrawn, public=public)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Keep Python from looking for cycles while a session is in memory.

    Its events are thousands of lists, none of which holds itself; they are looked through again and
    again, and all else in memory with them: a seventh of the time. What is let go goes as ever.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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
