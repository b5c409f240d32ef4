"""A folder of collected sessions as the same tables that a release has.

A session is one reader. Its pairwise turns are a conversation of their own (task 1), its pointwise
turns another (task 2), as in the release, where odd tasks are pairwise. Nobody signs in, so a
person who takes part twice is two readers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.release_source import Origin
from ifllm_hf.data.recordings import ConversationRows, Recordings
from ifllm_hf.data.schema import SCHEMAS, TURNS
from ifllm_hf.data.sessions.event_ticks import SessionTurn, session_ticks
from ifllm_hf.data.sessions.past import failed, past_messages, past_turns
from ifllm_hf.data.sessions.review import (
    PUBLISH,
    Question,
    is_public_already,
    question_of,
    read_decisions,
)
from ifllm_hf.data.sessions.session_file import (
    SESSION_NAME,
    TOMBSTONES,
    Record,
    Session,
    read_session,
    session_files,
    tombstone,
)
from ifllm_hf.data.sessions.sessions_card import sessions_card
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.data.tables.folds import add_fold, fold_of_unknown
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.data.tables.tasks import EMAIL_MASK, EMAIL_PATTERN
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS, withhold_rare
from ifllm_hf.errors import SourceError
from ifllm_hf.files import digest

READER_PREFIX = "reader_"

_TASK_OF = {"pairwise": 1, "pointwise": 2}
_ID_BITS = 52  # a double holds it, so JavaScript does
_UNREVIEWED = "question not reviewed for publication"
_WITHOUT_PAST = "a question before it is not published"


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


def query_id_of(session_id: str, turn: int) -> int:
    """Return the key of a turn, the same in every export."""
    return int(digest(f"{session_id} {turn}", 16), 16) >> (64 - _ID_BITS)


@dataclass
class SessionsOrigin(Origin):
    """The files of a folder of sessions."""

    folder: Path
    ledger: Ledger = field(default_factory=lambda: Ledger("files"))
    contents: dict[str, str] = field(default_factory=dict)
    name: str = "sessions"

    def fingerprint(self) -> str:
        """Return the digest of names and contents."""
        return digest("".join(f"{name}\0{of}\n" for name, of in sorted(self.contents.items())))

    def close(self) -> None:
        """Nothing is kept open."""


@dataclass
class CollectedSessions(Recordings):
    """Sessions that were opened; see `Recordings`.

    Attributes:
        sessions: The sessions without their events.
        public: Whether only reviewed questions are in it.
        waiting: Questions that nobody has reviewed yet.
    """

    source: SessionsOrigin
    sessions: list[Session] = field(default_factory=list)
    public: bool = False
    waiting: list[Question] = field(default_factory=list)

    # All three are made from lines, which are counted with the behaviour they came with.
    MADE_FROM_OTHERS = frozenset({"turns", "tasks", "workers", "preferences"})

    def conversations(self) -> Iterator[ConversationRows]:
        """Yield the tick table of every conversation; memory holds one session."""
        for known in self.sessions:
            session = read_session(self.source.folder / f"{known.session_id}.jsonl")
            if session is None:  # withdrawn since the folder was opened
                continue
            user_id = _user_id(session)
            turns = self._turns_by_reader.get(user_id, {})
            first = min(turns.values(), key=lambda t: t.query_id, default=None)
            home = first.conversation_id if first else f"{user_id}/{_TASK_OF['pairwise']}"
            withheld = frozenset(session.turns) - set(turns) if self.public else frozenset()
            ticks = session_ticks(session, turns, home, withheld=withheld, reason=_UNREVIEWED)
            self.file_ledgers[f"{home}/lines"] = session.lines
            for name, ledger in ticks.ledgers.items():
                self.file_ledgers[f"{home}/{name}"] = ledger
            for conversation_id, table in ticks.tables.items():
                task_id = int(conversation_id.rsplit("/", 1)[1])
                yield ConversationRows(
                    conversation_id=conversation_id,
                    user_id=user_id,
                    task_id=task_id,
                    kind=next(kind for kind, task in _TASK_OF.items() if task == task_id),
                    fold=self.fold_of(user_id),
                    ticks=table,
                    reading_end_source=ticks.reading_end_source,
                )

    def card(self, known: dict[str, Any]) -> str:
        """Return the card of these sessions; `known` of `prepare` may say that they are made up."""
        return sessions_card(
            self.turns,
            self.sessions,
            self.ledgers()["total"],
            waiting=len(self.waiting),
            public=self.public,
            made_up=bool(known.get("synthetic")),
        )

    @cached_property
    def _turns_by_reader(self) -> dict[str, dict[int, SessionTurn]]:
        """Return the turns that are in the export by reader and number."""
        exported = set(self.turns["query_id"].to_list())
        found: dict[str, dict[int, SessionTurn]] = {}
        for session in self.sessions:
            user_id = _user_id(session)
            found[user_id] = {
                number: SessionTurn(
                    query_id=query_id_of(session.session_id, number),
                    conversation_id=f"{user_id}/{_TASK_OF[turn['kind']]}",
                    answers={
                        side: answer["source"] for side, answer in enumerate(turn["responses"], 1)
                    },
                    rated=number in session.ratings,
                )
                for number, turn in sorted(session.turns.items())
                if query_id_of(session.session_id, number) in exported
            }
        return found


def open_sessions(path: str | os.PathLike[str], *, public: bool = False) -> CollectedSessions:
    """Open a folder of collected sessions and build their tables.

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
    sessions: list[Session] = []
    for file in session_files(folder):
        session_id = SESSION_NAME.fullmatch(file.name)[1]  # type: ignore[index]
        if tombstone(session_id) in withdrawn:
            origin.ledger.drop("withdrawn")
        elif (session := read_session(file, events=False)) is None:
            origin.ledger.drop("no consent on its first line")
        else:
            origin.ledger.keep()
            origin.contents[file.name] = session.content
            sessions.append(session)
    sessions.sort(key=lambda s: (s.first.get("created_epoch_ms", 0), s.session_id))
    decisions = read_decisions(folder)
    turns, ledger, waiting = _turns(sessions, decisions, public=public)
    preferences, of_preferences = build_preferences(turns)
    tasks, workers = _tasks(sessions, turns, public=public), _workers(sessions)
    return CollectedSessions(
        source=origin,
        turns=turns,
        preferences=preferences,
        tasks=tasks,
        workers=workers,
        folds={user: fold_of_unknown(user) for user in workers["user_id"]},
        table_ledgers={
            "turns": ledger,
            "tasks": _all_kept("tasks", tasks.height),
            "workers": _all_kept("workers", workers.height),
            "preferences": of_preferences,
        },
        sessions=sessions,
        public=public,
        waiting=waiting,
    )


def read_tombstones(folder: Path) -> frozenset[str]:
    """Return the hashes of the sessions that were withdrawn from a folder."""
    path = folder / TOMBSTONES
    return frozenset(path.read_text(encoding="ascii").split()) if path.exists() else frozenset()


def _user_id(session: Session) -> str:
    made_up = "made_up" in session.first.get("versions", {})
    return reader_of(session.session_id, made_up=made_up)


def _turns(
    sessions: list[Session], decisions: dict[tuple[str, int], str], *, public: bool
) -> tuple[pl.DataFrame, Ledger, list[Question]]:
    ledger = Ledger("turns")
    rows: list[dict[str, Any]] = []
    waiting: list[Question] = []
    for session in sessions:
        user_id = _user_id(session)
        numbers: Counter[str] = Counter()
        kept: set[int] = set()
        for turn in (session.turns[number] for number in sorted(session.turns)):
            decision = decisions.get((user_id, turn["turn"]))
            if decision is None and is_public_already(turn):
                decision = PUBLISH
            if decision is None:
                waiting.append(question_of(user_id, turn))
            if public and decision != PUBLISH:
                ledger.drop(_UNREVIEWED if decision is None else "withheld by a reviewer")
                continue
            past = past_turns(
                session, kind=turn["kind"], source=turn.get("source"), before=turn["turn"]
            )
            if not kept.issuperset(earlier["turn"] for earlier in past):
                ledger.drop(_WITHOUT_PAST)  # with less of a past it would be another turn
                continue
            ledger.keep()
            kept.add(turn["turn"])
            numbers[turn["kind"]] += 1
            rows.append(_turn_row(session, user_id, turn, past, numbers[turn["kind"]]))
    for _ in (n for session in sessions for n in set(session.ratings) - set(session.turns)):
        ledger.drop("rating without a turn")
    ledger.check()
    return _frame(rows, TURNS), ledger, waiting


def _turn_row(
    session: Session, user_id: str, turn: Record, past: list[Record], number: int
) -> dict[str, Any]:
    answers = turn["responses"]
    a, b = answers[0], answers[1] if len(answers) == 2 else {}
    rating = session.ratings.get(turn["turn"], {})
    likert = rating.get("likert", {})
    summary = session.summary or {}
    return {
        "query_id": query_id_of(session.session_id, turn["turn"]),
        "conversation_id": f"{user_id}/{_TASK_OF[turn['kind']]}",
        "user_id": user_id,
        "task_id": _TASK_OF[turn["kind"]],
        "turn": number,
        "kind": turn["kind"],
        "domain": turn.get("domain"),
        "prompt": turn["question"],
        "response_a": a["source"],
        "response_b": b.get("source"),
        "model_a": a.get("model"),
        "model_b": b.get("model"),
        "bullet_suffix": bool(turn.get("bullet_suffix")),
        "history_a": past_messages(past, 0),
        "history_b": past_messages(past, 1) if turn["kind"] == "pairwise" else None,
        "likert_a": likert.get("A"),
        "likert_b": likert.get("B"),
        "preference": rating.get("preference") if turn["kind"] == "pairwise" else None,
        "better_than_previous": rating.get("better_than_previous"),
        "asked_at": _instant(turn.get("shown_epoch_ms") or turn["asked_epoch_ms"]),
        "understand_before": summary.get("understand_before"),
        "understand_after": summary.get("understand_after"),
        "calibration_score": _calibration_score(session),
        "has_error_answer": failed(turn),
        "excluded_by_paper": False,
        "fold": fold_of_unknown(user_id),
    }


def _calibration_score(session: Session) -> float | None:
    """Return the release's score from the validation before: 100 (1 - error / half the height)."""
    for record in session.calibrations:
        error, viewport = record.get("mean_px"), record.get("viewport")
        if record["when"] == "before" and error is not None and viewport and viewport[1] > 0:
            return max(0.0, 100.0 * (1.0 - float(error) / (float(viewport[1]) / 2)))
    return None


def _tasks(sessions: list[Session], turns: pl.DataFrame, *, public: bool) -> pl.DataFrame:
    """Make one row per conversation; a summary is the reader's own text and never public."""
    by_user = {_user_id(session): session for session in sessions}
    rows = []
    first = turns.unique("conversation_id", keep="first", maintain_order=True)
    for turn in first.iter_rows(named=True):
        session = by_user[turn["user_id"]]
        text = (session.summary or {}).get("text")
        rows.append(
            {
                **{name: turn[name] for name in SCHEMAS["tasks"].names if name in turn},
                "finished": session.end is not None,
                "finished_at": _instant(session.end["at_epoch_ms"]) if session.end else None,
                "summary": None if public else text,
            }
        )
    masked = pl.col("summary").str.replace_all(EMAIL_PATTERN, EMAIL_MASK)
    return _frame(rows, SCHEMAS["tasks"]).with_columns(masked)


def _workers(sessions: list[Session]) -> pl.DataFrame:
    """Make one row per reader; a combination of answers that fewer than K gave is withheld."""
    told = [
        tuple((session.first.get("demographics") or {}).get(name) for name in QUASI_IDENTIFIERS)
        for session in sessions
    ]
    published = withhold_rare(Counter(told))
    rows = [
        {
            "user_id": _user_id(session),
            "consent": True,
            **dict(zip(QUASI_IDENTIFIERS, published[person], strict=True)),
        }
        for session, person in zip(sessions, told, strict=True)
    ]
    frame = _frame(rows, SCHEMAS["workers"]).drop("fold").sort("user_id")
    return add_fold(frame, {})


def _frame(rows: list[dict[str, Any]], schema: pa.Schema) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_pylist(rows, schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _instant(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _all_kept(name: str, rows: int) -> Ledger:
    ledger = Ledger(name)
    ledger.keep(rows)
    return ledger
