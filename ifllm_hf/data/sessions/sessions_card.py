"""The card of an export of collected sessions: all of it counted from them."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from ifllm_hf.card_template import fill
from ifllm_hf.data.card_head import card_head
from ifllm_hf.data.sessions.session_file import Session
from ifllm_hf.data.sessions.session_rows import SessionRows

WAITING_KEY = "ifllm_questions_not_reviewed"
"""In the card's YAML: how many questions of the export nobody has reviewed; 0 in a public one."""
_TEMPLATE = Path(__file__).with_name("sessions_card.md")


def is_of_sessions(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a prepared folder was made of collected sessions; its card says so.

    Raises:
        SourceError: The YAML of its card is broken.
    """
    return WAITING_KEY in card_head(folder)


def waiting_questions(folder: str | os.PathLike[str]) -> int:
    """Return how many questions of a prepared folder nobody has reviewed; 0 for a release.

    Raises:
        SourceError: The YAML of its card is broken.
    """
    waiting = card_head(folder).get(WAITING_KEY)
    return waiting if isinstance(waiting, int) else 0


class SessionTally:
    """Counts what the card says of sessions, one at a time.

    Attributes:
        sessions: How many.
        turns: Those that are exported, by kind.
        preferences: Of the exported pairs, by answer.
        conversations: Those with a turn.
        readers: Those with a turn, or a message of a chat page.
        waiting: Questions that nobody has reviewed.
        consents: Sessions by version of the text.
        without_gaze: Sessions without any calibration.
        messages: Of chat pages.
        actions: Of their readers.
        errors_px: Of validations, by when they were.
        rates: Samples per second of the same.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.sessions = self.conversations = self.readers = self.waiting = self.without_gaze = 0
        self.messages = self.actions = 0
        self.turns: Counter[str] = Counter()
        self.preferences: Counter[str | None] = Counter()
        self.consents: Counter[str] = Counter()
        self.errors_px = {when: array("d") for when in ("before", "after")}
        self.rates = {when: array("d") for when in ("before", "after")}

    def add(
        self, session: Session, rows: SessionRows, *, messages: int = 0, actions: int = 0
    ) -> None:
        """Count a session, with the messages and actions that it has of a chat page."""
        self.sessions += 1
        self.conversations += len({row["conversation_id"] for row in rows.turns.values()})
        self.readers += bool(rows.turns or messages)
        self.messages += messages
        self.actions += actions
        self.waiting += len(rows.waiting)
        self.turns.update(row["kind"] for row in rows.turns.values())
        self.preferences.update(row["preference"] for row in rows.turns.values())
        self.consents[session.first["consent"].get("version", "?")] += 1
        self.without_gaze += not session.calibrations
        for record in session.calibrations:
            if record.get("mean_px") is not None:
                self.errors_px[record["when"]].append(float(record["mean_px"]))
                self.rates[record["when"]].append(float(record.get("samples_per_s") or 0))

    def __iadd__(self, other: SessionTally) -> SessionTally:
        """Add what was counted of other sessions."""
        for name, value in vars(other).items():
            if isinstance(value, dict) and not isinstance(value, Counter):  # of arrays
                for when, values in value.items():
                    vars(self)[name][when].extend(values)
            else:
                vars(self)[name] += value
        return self

    def to_json(self) -> dict[str, Any]:
        """Return all counts for JSON; `of_json` reads them."""
        return {
            **vars(self),
            "preferences": list(self.preferences.items()),  # a key of theirs is None
            **{name: _lists(vars(self)[name]) for name in ("errors_px", "rates")},
        }

    @classmethod
    def of_json(cls, known: Mapping[str, Any]) -> SessionTally:
        """Return the tally that `to_json` wrote."""
        tally = cls()
        for name, value in known.items():
            if name in ("errors_px", "rates"):
                value = {when: array("d", values) for when, values in value.items()}
            elif name == "preferences":
                value = Counter(dict(value))
            elif isinstance(value, dict):
                value = Counter(value)
            vars(tally)[name] = value
        return tally

    def facts(self) -> dict[str, int]:
        """Return what `Recordings.facts` returns."""
        return {
            "turns": self.turns.total(),
            "workers": self.readers,
            "conversations": self.conversations,
            "pairwise": self.turns["pairwise"],
            "pointwise": self.turns["pointwise"],
            "preference_a": self.preferences["a"],
            "preference_b": self.preferences["b"],
            "conversations_with_behavior": self.sessions,
            "workers_with_behavior": self.sessions,
        }


def sessions_card(
    tally: SessionTally, total: Mapping[str, Any], *, public: bool, made_up: bool
) -> str:
    """Return the text of the card, which claims nothing of the release.

    Args:
        tally: Of the sessions.
        total: The ledger of all that was read, complete.
        public: Whether questions that nobody has reviewed were left out.
        made_up: Whether no person stands behind the numbers.
    """
    values = {
        "title": "Collected reading sessions" + (" (MADE UP)" if made_up else ""),
        "waiting": 0 if public else tally.waiting,
        "turns": tally.turns.total(),
        "pairs": tally.turns["pairwise"],
        "singles": tally.turns["pointwise"],
        "readers": tally.readers,
        "chat_messages": tally.messages or None,
        "chat_actions": tally.actions if tally.messages else None,
        "seen": total["seen"],
        "kept": total["kept"],
        "dropped": ", ".join(f"{why} {n:,}" for why, n in total["dropped"].items()) or "none",
        "consents": ", ".join(f"{version} ({n})" for version, n in sorted(tally.consents.items())),
        "gaze": _gaze(tally),
        "left_out": tally.waiting if public else None,
        "not_reviewed": None if public else tally.waiting,
    }
    return fill(_TEMPLATE.read_text(encoding="utf-8"), values)


def _lists(arrays: Mapping[str, array[float]]) -> dict[str, list[float]]:
    return {when: values.tolist() for when, values in arrays.items()}


def _gaze(tally: SessionTally) -> str:
    said = f"{tally.without_gaze} sessions are mouse alone."
    for when, errors in tally.errors_px.items():
        if errors:
            said += (
                f" Webcam gaze, validated {when} the questions in {len(errors)} sessions: median "
                f"error {median(errors):.0f} px, {median(tally.rates[when]):.1f} samples per "
                "second."
            )
    return said + " An error of 100 to 200 px is several lines of text."
