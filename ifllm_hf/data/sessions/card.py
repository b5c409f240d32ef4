"""The card of an export of collected sessions: all of it counted from them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from ifllm_hf.data.sessions.collected import CollectedSessions

WAITING_KEY = "ifllm_questions_not_reviewed"
"""In the card's YAML: how many questions of the export nobody has reviewed; 0 in a public one."""


def is_of_sessions(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a prepared folder was made of collected sessions; its card says so."""
    card = (Path(folder) / "README.md").read_text(encoding="utf-8", errors="replace")
    return f"\n{WAITING_KEY}:" in card


def sessions_card(sessions: CollectedSessions, known: dict[str, Any]) -> str:
    """Return the text of the card.

    Args:
        sessions: Read to the end, so that the ledgers are complete.
        known: What `prepare` found out; `synthetic` says that the numbers are made up.
    """
    turns = sessions.turns
    waiting = 0 if sessions.public else len(sessions.waiting)
    title = "Collected reading sessions" + (" (MADE UP)" if known.get("synthetic") else "")
    total = sessions.ledgers()["total"]
    consents = Counter(s.first["consent"].get("version", "?") for s in sessions.sessions)
    paragraphs = [
        "---",
        "pretty_name: " + title,
        f"{WAITING_KEY}: {waiting}",
        "---",
        "",
        f"# {title}",
        "",
        f"{turns.height} questions ({_count(turns, 'pairwise')} with two answers, "
        f"{_count(turns, 'pointwise')} with one) of {turns['user_id'].n_unique()} readers, each in "
        "a session of their own, collected with the Space of `ifllm_hf`. A person who took part "
        "twice is two readers: nobody signs in.",
        "",
        "Every pointer, gaze, scroll and visible-range event is a tick of its own, a point with "
        "the character of the stored answer under it; what an event does not tell is null in its "
        "tick. `phase` is exact: reading "
        "ends when the pointer, having been on an answer, enters a rating control, or with the "
        "first choice.",
        "",
        f"Lines and events read: {total['seen']:,}; kept {total['kept']:,}; left out: "
        + (", ".join(f"{why} {n:,}" for why, n in total["dropped"].items()) or "none")
        + ".",
        "",
        "Consent text, version (sessions): "
        + ", ".join(f"{version} ({n})" for version, n in sorted(consents.items()))
        + ". Demographics are bands that a reader chose to give; a combination that fewer than "
        "five gave is withheld.",
        "",
        _gaze(sessions),
        "",
        f"Only questions that a person reviewed are in this export; {len(sessions.waiting)} wait."
        if sessions.public
        else f"{waiting} questions were not reviewed for personal data: **this export is "
        "private**. `ifllm review` shows them, `ifllm prepare --public` leaves them out.",
        "",
        "A participant can withdraw at any time; the collecting app then deletes the session, and "
        "this export has to be made again. A model trained on it lists its readers as "
        "`ifllm_readers` in its card, so that `ifllm prepare --models` can name it.",
    ]
    return "\n".join(paragraphs) + "\n"


def waiting_questions(folder: Path) -> int:
    """Return how many questions of a prepared folder nobody has reviewed; 0 for a release."""
    try:
        lines = (folder / "README.md").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines[1 : lines.index("---", 1) if "---" in lines[1:] else 0]:
        key, _, value = line.partition(":")
        if key == WAITING_KEY and value.strip().isdecimal():
            return int(value)
    return 0


def _count(turns: Any, kind: str) -> int:
    return int((turns["kind"] == kind).sum())


def _gaze(sessions: CollectedSessions) -> str:
    records = [c for s in sessions.sessions for c in s.calibrations if c.get("mean_px") is not None]
    with_gaze = {id(s) for s in sessions.sessions if s.calibrations}
    said = f"{len(sessions.sessions) - len(with_gaze)} sessions are mouse alone."
    for when in ("before", "after"):
        errors = [float(c["mean_px"]) for c in records if c["when"] == when]
        if errors:
            rates = [float(c.get("samples_per_s") or 0) for c in records if c["when"] == when]
            said += (
                f" Webcam gaze, validated {when} the questions in {len(errors)} sessions: median "
                f"error {median(errors):.0f} px, {median(rates):.1f} samples per second."
            )
    return said + " An error of 100 to 200 px is several lines of text."
