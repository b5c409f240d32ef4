"""The card of an export of collected sessions: all of it counted from them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from ifllm_hf.card_template import fill
from ifllm_hf.data.card_head import card_head
from ifllm_hf.data.sessions.session_file import Session

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


def sessions_card(
    turns: pl.DataFrame,
    sessions: Sequence[Session],
    total: Mapping[str, Any],
    *,
    waiting: int,
    public: bool,
    made_up: bool,
) -> str:
    """Return the text of the card, which claims nothing of the release.

    Args:
        turns: The questions of the export.
        sessions: Those they were asked in.
        total: The ledger of all that was read, complete.
        waiting: Questions of these sessions that nobody has reviewed.
        public: Whether they were left out.
        made_up: Whether no person stands behind the numbers.
    """
    consents = Counter(s.first["consent"].get("version", "?") for s in sessions)
    values = {
        "title": "Collected reading sessions" + (" (MADE UP)" if made_up else ""),
        "waiting": 0 if public else waiting,
        "turns": turns.height,
        "pairs": int((turns["kind"] == "pairwise").sum()),
        "singles": int((turns["kind"] == "pointwise").sum()),
        "readers": turns["user_id"].n_unique(),
        "seen": total["seen"],
        "kept": total["kept"],
        "dropped": ", ".join(f"{why} {n:,}" for why, n in total["dropped"].items()) or "none",
        "consents": ", ".join(f"{version} ({n})" for version, n in sorted(consents.items())),
        "gaze": _gaze(sessions),
        "left_out": waiting if public else None,
        "not_reviewed": None if public else waiting,
    }
    return fill(_TEMPLATE.read_text(encoding="utf-8"), values)


def _gaze(sessions: Sequence[Session]) -> str:
    records = [c for s in sessions for c in s.calibrations if c.get("mean_px") is not None]
    said = f"{sum(not s.calibrations for s in sessions)} sessions are mouse alone."
    for when in ("before", "after"):
        errors = [float(c["mean_px"]) for c in records if c["when"] == when]
        if errors:
            rates = [float(c.get("samples_per_s") or 0) for c in records if c["when"] == when]
            said += (
                f" Webcam gaze, validated {when} the questions in {len(errors)} sessions: median "
                f"error {median(errors):.0f} px, {median(rates):.1f} samples per second."
            )
    return said + " An error of 100 to 200 px is several lines of text."
