"""The rows of `turns` and `tasks` that one session gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import SCHEMAS
from ifllm_hf.data.sessions.event_ticks import SessionTurn
from ifllm_hf.data.sessions.past import failed, past_messages, past_turns
from ifllm_hf.data.sessions.review import PUBLISH, Key, is_public_already
from ifllm_hf.data.sessions.session_file import Record, Session
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.data.tables.tasks import EMAIL_MASK, EMAIL_PATTERN
from ifllm_hf.files import digest

TASK_OF = {"pairwise": 1, "pointwise": 2}
UNREVIEWED = "question not reviewed for publication"

_WITHOUT_PAST = "a question before it is not published"
_ID_BITS = 52  # a double holds it, so JavaScript does

Row = dict[str, Any]


@dataclass
class SessionRows:
    """What a session adds to the tables.

    Attributes:
        turns: Rows of `schema.TURNS` by the turn's number in the file.
        tasks: One row of `tasks` for each of its conversations.
        waiting: Its turns whose question nobody has reviewed.
        ledger: Its turns and ratings.
    """

    turns: dict[int, Row] = field(default_factory=dict)
    tasks: list[Row] = field(default_factory=list)
    waiting: list[Record] = field(default_factory=list)
    ledger: Ledger = field(default_factory=lambda: Ledger("turns"))


def query_id_of(session_id: str, turn: int) -> int:
    """Return the key of a turn, the same in every export."""
    return int(digest(f"{session_id} {turn}", 16), 16) >> (64 - _ID_BITS)


def session_rows(
    session: Session, user_id: str, decisions: Mapping[Key, str], *, public: bool
) -> SessionRows:
    """Make the rows of a session.

    Args:
        session: Its events are not looked at.
        user_id: Its reader.
        decisions: Of the reviewers.
        public: Leave out every turn whose question nobody has reviewed, and every free text.
    """
    made = SessionRows()
    numbers: Counter[str] = Counter()
    for number, turn in sorted(session.turns.items()):
        decision = decisions.get((user_id, number))
        if decision is None and is_public_already(turn):
            decision = PUBLISH
        if decision is None:
            made.waiting.append(turn)
        if public and decision != PUBLISH:
            made.ledger.drop(UNREVIEWED if decision is None else "withheld by a reviewer")
            continue
        past = past_turns(session, kind=turn["kind"], source=turn.get("source"), before=number)
        if not made.turns.keys() >= {earlier["turn"] for earlier in past}:
            made.ledger.drop(_WITHOUT_PAST)  # with less of a past it would be another turn
            continue
        made.ledger.keep()
        numbers[turn["kind"]] += 1
        made.turns[number] = _turn_row(session, user_id, turn, past, numbers[turn["kind"]])
    made.ledger.drop("rating without a turn", len(set(session.ratings) - set(session.turns)))
    made.ledger.check()
    made.tasks = _task_rows(session, made.turns, public=public)
    return made


def turns_on_page(session: Session, made: SessionRows) -> dict[int, SessionTurn]:
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


def _turn_row(session: Session, user_id: str, turn: Record, past: list[Record], number: int) -> Row:
    answers = turn["responses"]
    a, b = answers[0], answers[1] if len(answers) == 2 else {}
    rating = session.ratings.get(turn["turn"], {})
    likert = rating.get("likert", {})
    summary = session.summary or {}
    return {
        "query_id": query_id_of(session.session_id, turn["turn"]),
        "conversation_id": f"{user_id}/{TASK_OF[turn['kind']]}",
        "user_id": user_id,
        "task_id": TASK_OF[turn["kind"]],
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


def _task_rows(session: Session, turns: Mapping[int, Row], *, public: bool) -> list[Row]:
    """Make one row per conversation; a summary is the reader's own text and never public."""
    text = None if public else (session.summary or {}).get("text")
    if text is not None:
        text = pl.Series([text]).str.replace_all(EMAIL_PATTERN, EMAIL_MASK)[0]
    first: dict[str, Row] = {}
    for turn in turns.values():
        first.setdefault(turn["conversation_id"], turn)
    return [
        {
            **{name: turn[name] for name in SCHEMAS["tasks"].names if name in turn},
            "finished": session.end is not None,
            "finished_at": _instant(session.end["at_epoch_ms"]) if session.end else None,
            "summary": text,
        }
        for turn in first.values()
    ]


def _instant(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
