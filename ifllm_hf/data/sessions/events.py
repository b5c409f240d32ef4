"""The events of a session file: which fit, when they were, and which turn each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.session_file import Session, is_number

SCROLLED = {"window": "scroll_y_px", "A": "scroll_y_px_a", "B": "scroll_y_px_b"}
"""The column of each target of a scroll event."""

LEDGERS = ("pointer", "gaze", "view", "other")
_LEDGER = {"p": "pointer", "g": "gaze", "s": "view", "w": "view"}
# Kinds without a column of their own; what they tell of time, turn and phase is used.
_CONTEXT = {"v": "visibility", "r": "rating control", "e": "app", "f": "focus"}
_CONTEXT |= {"l": "layout", "c": "selection"}
_POINT_FIELDS, _SCROLL_FIELDS, _VISIBLE_FIELDS = 12, 5, 6


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
        kind = event[0] if isinstance(event, list) and event else None
        if not isinstance(kind, str):
            kind = ""
        timed = kind != "" and len(event) > 2 and is_number(event[1])
        name = _LEDGER.get(kind, "other")
        if timed and (_FITS[kind](event) if kind in _FITS else kind in _CONTEXT):
            good.append(event)
            if kind in _CONTEXT:
                ledgers[name].drop(f"no tick: {_CONTEXT[kind]}")
        else:
            ledgers[name].drop("malformed")
    return sorted(good, key=lambda event: event[1])


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
            told = event[-1].get("turn") if isinstance(event[-1], dict) else None
            turn = shown = told if isinstance(told, int) else -1
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


def _is_turn(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= 9999)


def _is_point(event: list[Any]) -> bool:
    if len(event) != _POINT_FIELDS:
        return False
    turn, response, *numbers = event[2:10]
    optional = numbers[0 if event[0] == "g" else 2 :]
    return (
        _is_turn(turn)
        and response in ("A", "B", None)
        and all(is_number(v) for v in numbers[: len(numbers) - len(optional)])
        and all(v is None or is_number(v) for v in optional)
    )


def _is_scroll(event: list[Any]) -> bool:
    return (
        len(event) == _SCROLL_FIELDS
        and event[2] in tuple(SCROLLED)
        and all(is_number(v) for v in event[3:])
    )


def _is_visible_range(event: list[Any]) -> bool:
    if len(event) != _VISIBLE_FIELDS or not _is_turn(event[2]) or event[3] not in ("A", "B"):
        return False
    first, last = event[4:]
    return (first is None and last is None) or (
        isinstance(first, int) and isinstance(last, int) and 0 <= first <= last
    )


_FITS: dict[str, Callable[[list[Any]], bool]] = {
    "p": _is_point,
    "g": _is_point,
    "s": _is_scroll,
    "w": _is_visible_range,
}
