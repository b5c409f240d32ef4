"""The events of a session file: which fit, when they were, and which turn each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

_kind, _time = itemgetter(0), itemgetter(1)


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


def well_formed(
    events: list[Any], ledgers: Mapping[str, Ledger], *, all_fit: bool = False
) -> list[list[Any]]:
    """Return the events that fit, by time; the others are counted, and those without a tick.

    Args:
        events: Of a page load.
        ledgers: By name; see `LEDGERS`.
        all_fit: Whether it is known that all fit the schema, which is cheap to ask of whole lines.
    """
    good = events
    if not all_fit or not all(_is_range(event) for event in events if event[0] == "w"):
        good = []
        for event in events:
            if fits(event, "event") and (event[0] != "w" or _is_range(event)):
                good.append(event)
                continue
            kind = event[0] if isinstance(event, list) and event else None
            name = _LEDGER.get(kind, "other") if isinstance(kind, str) else "other"
            ledgers[name].drop("malformed")
    for kind, n in Counter(map(_kind, good)).items():
        if kind in _CONTEXT:
            ledgers["other"].drop(f"no tick: {_CONTEXT[kind]}", n)
    return sorted(good, key=_time)


def count_refused(session: Session, ledgers: Mapping[str, Ledger]) -> None:
    """Count the events that the server left out of its batches, as their lines tell."""
    for batch in session.batches:
        for reason, n in batch.get("refused", {}).items():
            name = _LEDGER_OF_REFUSED.get(reason.partition(":")[0], "other")
            ledgers[name].drop(f"refused by the server: {reason}", n)


@dataclass(frozen=True)
class LoadEvents:
    """The events of a page load that fit, in order of time.

    Attributes:
        events: As they were sent.
        kinds: [n] their first letters, as ASCII codes.
        turns: [n] the turn that each belongs to, -1 for none; of kinds without a tick, undefined.
    """

    events: list[list[Any]]
    kinds: NDArray[np.uint8]
    turns: NDArray[np.int64]

    def where(self, kinds: str) -> NDArray[np.int64]:
        """Return the positions of the events of some kinds."""
        return np.flatnonzero(self.are(kinds))

    def are(self, kinds: str) -> NDArray[np.bool_]:
        """Return [n], whether an event is of one of some kinds."""
        return _one_of(kinds)[self.kinds]


def with_turns(
    events: list[list[Any]],
    ledgers: Mapping[str, Ledger],
    withheld: Collection[int],
    reason: str,
) -> LoadEvents:
    """Add the turn to every event; drop what belongs to a withheld one."""
    kinds = np.frombuffer("".join(map(_kind, events)).encode(), np.uint8)
    found = LoadEvents(events, kinds, np.full(len(events), -1, np.int64))
    turns = found.turns
    named = found.where("pgwrc")
    turns[named] = [-1 if (turn := events[i][2]) is None else turn for i in named.tolist()]
    # The turn on the page, as the last event before tells that knows it.
    tells = np.zeros(len(events), np.bool_)
    points = found.where("pg")
    tells[points] = [events[i][3] is None for i in points.tolist()]
    for i in found.where("le").tolist():
        event = events[i]
        if event[0] == "l" or event[2] in ("start", "shown"):
            told = event[-1]["turn"]
            turns[i], tells[i] = -1 if told is None else told, True
    last = np.maximum.accumulate(np.where(tells, np.arange(len(events)), -1))
    scrolls = found.where("s")
    turns[scrolls] = np.where(last[scrolls] >= 0, turns[last[scrolls]], -1)
    gone = np.isin(turns, list(withheld)) & found.are("".join(_LEDGER))
    for kind, ledger in _LEDGER.items():
        mine = found.are(kind)
        ledgers[ledger].keep(int((mine & ~gone).sum()))
        ledgers[ledger].drop(reason, int((mine & gone).sum()))
    if not gone.any():
        return found
    stay = np.flatnonzero(~gone)
    return LoadEvents([events[i] for i in stay.tolist()], kinds[stay], turns[stay])


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
