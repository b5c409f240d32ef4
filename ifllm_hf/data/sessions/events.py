"""The events of a session file: which fit, when they were, and which turn each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.session_file import Session

SCROLLED = {"window": "scroll_y_px", "A": "scroll_y_px_a", "B": "scroll_y_px_b"}
"""The column of each target of a scroll event."""

LEDGERS = ("pointer", "gaze", "view", "other")
_LEDGER = {"p": "pointer", "g": "gaze", "s": "view", "w": "view"}
_LEDGER_OF_REFUSED = {"pointer": "pointer", "gaze": "gaze", "scroll": "view", "visible": "view"}
# Kinds without a column of their own; what they tell of time, turn and phase is used.
_CONTEXT = {"v": "visibility", "r": "rating control", "e": "app", "f": "focus"}
_CONTEXT |= {"l": "layout", "c": "selection"}


def page_loads(session: Session) -> list[tuple[float, list[Any]]]:
    """Return origin and events of every page load, loads in the order of their origins."""
    loads: dict[tuple[float, str], list[tuple[int, list[Any]]]] = {}
    for batch in session.batches:
        key = (float(batch["origin_epoch_ms"]), batch["tab"])
        loads.setdefault(key, []).append((batch["seq"], batch["events"]))
    return [
        (origin, [event for _, events in sorted(parts, key=lambda p: p[0]) for event in events])
        for (origin, _), parts in sorted(loads.items(), key=lambda item: item[0])
    ]


def well_formed(events: list[Any], ledgers: Mapping[str, Ledger]) -> list[list[Any]]:
    """Return the events that fit, by time; the others are counted, and those without a tick."""
    good = []
    for event in events:
        if _fits(event):
            good.append(event)
            if event[0] in _CONTEXT:
                ledgers["other"].drop(f"no tick: {_CONTEXT[event[0]]}")
        else:
            kind = event[0] if isinstance(event, list) and event else None
            name = _LEDGER.get(kind, "other") if isinstance(kind, str) else "other"
            ledgers[name].drop("malformed")
    return sorted(good, key=lambda event: event[1])


def count_refused(session: Session, ledgers: Mapping[str, Ledger]) -> None:
    """Count the events that the server left out of its batches, as their lines tell."""
    for batch in session.batches:
        for reason, n in batch.get("refused", {}).items():
            name = _LEDGER_OF_REFUSED.get(reason.partition(":")[0], "other")
            ledgers[name].drop(f"refused by the server: {reason}", n)


def with_turns(
    events: list[list[Any]],
    ledgers: Mapping[str, Ledger],
    withheld: Collection[int],
    reason: str,
) -> list[tuple[list[Any], int]]:
    """Add the turn to every event, -1 for none; drop what belongs to a withheld one."""
    good = []
    shown = -1  # the turn on the page, as the events before tell
    for event in events:
        kind = event[0]
        turn = shown
        if kind in ("p", "g", "w", "r", "c"):
            turn = -1 if event[2] is None else event[2]
        elif kind == "l" or (kind == "e" and event[2] in ("start", "shown")):
            told = event[-1]["turn"]
            turn = shown = -1 if told is None else told
        if kind in ("p", "g") and event[3] is None:
            shown = turn
        if kind not in _LEDGER:
            good.append((event, turn))
        elif turn in withheld:
            ledgers[_LEDGER[kind]].drop(reason)
        else:
            ledgers[_LEDGER[kind]].keep()
            good.append((event, turn))
    return good


def _fits(event: Any) -> bool:
    """Tell what the schema says, and that a range has both ends in order, or neither."""
    if not fits(event, "event"):
        return False
    first, last = event[4:] if event[0] == "w" else (None, None)
    return (first is None) == (last is None) and (first is None or first <= last)
