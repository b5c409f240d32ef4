"""The events of a session file: which fit, when they were, and which turn each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.events.point_columns import Points, points_of
from ifllm_hf.data.sessions.session_file import Session

SCROLLED = {"window": "scroll_y_px", "A": "scroll_y_px_a", "B": "scroll_y_px_b"}
"""The column of each target of a scroll event."""

LEDGERS = ("pointer", "gaze", "view", "other")
_LEDGER = {"p": "pointer", "g": "gaze", "s": "view", "w": "view"}
_LEDGER_OF_REFUSED = {"pointer": "pointer", "gaze": "gaze", "scroll": "view", "visible": "view"}
_POINTS = {"p": ("mouse", "pointer"), "g": ("gaze", "gaze")}
# Kinds without a column of their own; what they tell of time, turn and phase is used.
_CONTEXT = {"v": "visibility", "r": "rating control", "e": "app", "f": "focus"}
_CONTEXT |= {"l": "layout", "c": "selection"}

_first, _time = itemgetter(0), itemgetter(1)


@dataclass(frozen=True)
class LoadEvents:
    """The events of a page load that fit, in order of time.

    Attributes:
        events: As they were sent.
        kinds: [n] their first letters, as ASCII codes.
        t: [n] `performance.now()` in ms.
        turns: [n] the turn that each belongs to, -1 for none; of kinds without a tick, undefined.
        points: By channel, as columns.
    """

    events: list[list[Any]]
    kinds: NDArray[np.uint8]
    t: NDArray[np.float64]
    turns: NDArray[np.int64]
    points: Mapping[str, Points]

    def where(self, kinds: str) -> NDArray[np.int64]:
        """Return the positions of the events of some kinds."""
        return np.flatnonzero(self.are(kinds))

    def are(self, kinds: str) -> NDArray[np.bool_]:
        """Return [n], whether an event is of one of some kinds."""
        return _one_of(kinds)[self.kinds]

    def part(self, start: int, end: int) -> LoadEvents:
        """Return the events from one position to another."""
        return LoadEvents(
            self.events[start:end],
            self.kinds[start:end],
            self.t[start:end],
            self.turns[start:end],
            {channel: points.part(start, end) for channel, points in self.points.items()},
        )


def page_loads(session: Session) -> list[tuple[float, list[Any]]]:
    """Return origin and events of every page load, loads in the order of their origins."""
    loads: dict[tuple[float, str], list[tuple[int, list[Any]]]] = {}
    for batch in session.batches:
        key = (float(batch["origin_epoch_ms"]), batch["tab"])
        loads.setdefault(key, []).append((batch["seq"], batch["events"]))
    return [
        (origin, [event for _, events in sorted(parts, key=_first) for event in events])
        for (origin, _), parts in sorted(loads.items(), key=_first)
    ]


def well_formed(loads: Sequence[Sequence[Any]], ledgers: Mapping[str, Ledger]) -> list[LoadEvents]:
    """Return the events of each page load that fit, by time; the others are counted.

    So are those without a tick. All loads are looked at together: that takes half the time.

    Args:
        loads: Events of each page load.
        ledgers: By name; see `LEDGERS`.
    """
    found = _in_columns([event for events in loads for event in events], checked=False)
    if found is None:
        loads = [_one_by_one(events, ledgers) for events in loads]
        found = known_to_fit([event for events in loads for event in events])
    for kind, context in _CONTEXT.items():
        if n := int(found.are(kind).sum()):
            ledgers["other"].drop(f"no tick: {context}", n)
    ends = np.cumsum([0, *map(len, loads)]).tolist()
    return [_in_order(found.part(start, end)) for start, end in pairwise(ends)]


def known_to_fit(events: Sequence[Any]) -> LoadEvents:
    """Return events that fit, and are in the order of their times, as those of a page load."""
    found = _in_columns(events, checked=True)
    assert found is not None
    return found


def _in_order(found: LoadEvents) -> LoadEvents:
    """Return events in the order of their times."""
    if not np.any(np.diff(found.t) < 0):
        return found
    return known_to_fit(sorted(found.events, key=_time))


def _one_by_one(events: Sequence[Any], ledgers: Mapping[str, Ledger]) -> list[list[Any]]:
    """Return the events that fit; count the others."""
    good = []
    for event in events:
        if fits(event, "event") and (event[0] != "w" or _is_range(event)):
            good.append(event)
            continue
        kind = event[0] if isinstance(event, list) and event else None
        name = _LEDGER.get(kind, "other") if isinstance(kind, str) else "other"
        ledgers[name].drop("malformed")
    return good


def _in_columns(events: Sequence[Any], *, checked: bool) -> LoadEvents | None:
    """Return events as they come; None if one does not fit, or cannot be told to in this way.

    Args:
        events: Of any page loads.
        checked: It is known that all fit; never returns None then.
    """
    try:
        kinds = "".join(map(_first, events)).encode("ascii")
    except (LookupError, TypeError, UnicodeEncodeError):
        return None
    if len(kinds) != len(events) or not {list}.issuperset(map(type, events)):
        return None
    found = LoadEvents(
        list(events), np.frombuffer(kinds, np.uint8), np.empty(0), np.empty(0, np.int64), {}
    )
    others_at = np.flatnonzero(~found.are("pg"))
    others = [events[i] for i in others_at.tolist()]
    if not checked and not (
        fits(others, "events") and all(_is_range(event) for event in others if event[0] == "w")
    ):
        return None
    points = {}
    for kind, (channel, definition) in _POINTS.items():
        at = found.where(kind)
        mine = points_of([events[i] for i in at.tolist()], at, definition, checked=checked)
        if mine is None:
            return None
        points[channel] = mine
    t = np.empty(len(events))
    t[others_at] = list(map(_time, others))
    for mine in points.values():
        t[mine.at] = mine.t
    return LoadEvents(found.events, found.kinds, t, np.full(len(t), -1, np.int64), points)


def count_refused(session: Session, ledgers: Mapping[str, Ledger]) -> None:
    """Count the events that the server left out of its batches, as their lines tell."""
    for batch in session.batches:
        for reason, n in batch.get("refused", {}).items():
            name = _LEDGER_OF_REFUSED.get(reason.partition(":")[0], "other")
            ledgers[name].drop(f"refused by the server: {reason}", n)


def with_turns(
    found: LoadEvents,
    ledgers: Mapping[str, Ledger],
    withheld: Collection[int],
    reason: str,
) -> LoadEvents:
    """Add the turn to every event; drop what belongs to a withheld one."""
    events, turns = found.events, found.turns.copy()
    # The turn on the page, as the last event before tells that knows it.
    tells = np.zeros(len(events), np.bool_)
    for points in found.points.values():
        turns[points.at] = points.turn
        tells[points.at] = points.side == 0
    named = found.where("wrc")
    turns[named] = [-1 if (turn := events[i][2]) is None else turn for i in named.tolist()]
    for i in found.where("le").tolist():
        event = events[i]
        if event[0] == "l" or event[2] in ("start", "shown"):
            told = event[-1]["turn"]
            turns[i], tells[i] = -1 if told is None else told, True
    last = np.maximum.accumulate(np.where(tells, np.arange(len(events)), -1))
    scrolls = found.where("s")
    turns[scrolls] = np.where(last[scrolls] >= 0, turns[last[scrolls]], -1)
    gone = np.isin(turns, list(withheld)) if withheld else np.zeros(len(turns), np.bool_)
    gone &= found.are("".join(_LEDGER))
    n_of_kind, n_gone = (np.bincount(k, minlength=128) for k in (found.kinds, found.kinds[gone]))
    for kind, ledger in _LEDGER.items():
        ledgers[ledger].keep(int(n_of_kind[ord(kind)] - n_gone[ord(kind)]))
        ledgers[ledger].drop(reason, int(n_gone[ord(kind)]))
    if not gone.any():
        return LoadEvents(events, found.kinds, found.t, turns, found.points)
    stay = ~gone
    place = np.cumsum(stay) - 1
    points_left = {name: points.take(stay[points.at]) for name, points in found.points.items()}
    return LoadEvents(
        [events[i] for i in np.flatnonzero(stay).tolist()],
        found.kinds[stay],
        found.t[stay],
        turns[stay],
        {name: replace(points, at=place[points.at]) for name, points in points_left.items()},
    )


@cache
def _one_of(kinds: str) -> NDArray[np.bool_]:
    """Return [256], whether an ASCII code is one of some letters: `np.isin` would sort."""
    table = np.zeros(256, np.bool_)
    table[list(kinds.encode())] = True
    return table


def _is_range(event: list[Any]) -> bool:
    """Tell whether a visible range has both ends in order, or neither."""
    first, last = event[4:]
    return (first is None) == (last is None) and (first is None or first <= last)
