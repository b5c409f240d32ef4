"""The ticks of a session as arrays, gathered page load by page load.

Clocks: an event's time is `performance.now()` of its page load, which no change of the wall clock
moves. `t_ms` is that, less the time the page was hidden; `epoch_ms` adds the load's origin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.sessions.events.page_loads import SCROLLED, LoadEvents
from ifllm_hf.data.sessions.events.point_columns import CHANNELS, SIDES, Points

MOUSE, GAZE, VIEW = 0, 1, 2
"""What a tick may be of: the first two are `CHANNELS`."""


@dataclass
class SessionArrays:
    """The ticks of a session, in order.

    Attributes:
        channel: [n] MOUSE, GAZE or VIEW.
        load: [n] number of the page load.
        t_ms: [n] clock of the page.
        epoch_ms: [n] wall clock.
        turn: [n] the turn; -1 for none.
        side: [n] the answer under the point, as `point_columns.SIDES`; 0 for VIEW.
        about: [n] the answer that is told of: the one under the point, scrolled, or on screen.
        idle_ms: [n] time since the mouse last moved; NaN before it first does in a page load.
        control: [n] whether the mouse is in a rating control; False for other ticks.
        points: By channel, what its ticks tell; `at` are the ticks.
    """

    channel: NDArray[np.int8]
    load: NDArray[np.int16]
    t_ms: NDArray[np.float64]
    epoch_ms: NDArray[np.float64]
    turn: NDArray[np.int64]
    side: NDArray[np.int8]
    about: NDArray[np.int8]
    idle_ms: NDArray[np.float64]
    control: NDArray[np.bool_]
    points: dict[str, Points]


_COLUMNS = (
    *("channel", "load", "t_ms", "epoch_ms", "turn", "side", "about", "idle_ms", "control"),
)
_KINDS: tuple[str, ...] = ("i1", "i2", "f8", "f8", "i8", "i1", "i1", "f8", "?")


@dataclass
class Gathered:
    """Ticks as they are gathered, and where phases of a turn begin.

    Attributes:
        count: Ticks so far.
        view: The few values of `schema.VIEW_COLUMNS`: index of the tick, column, value.
        rating_from: By turn, the tick from which on it is rated.
        after_from: By turn, the tick from which on its rating is sent.
    """

    count: int = 0
    view: list[tuple[int, str, float]] = field(default_factory=list)
    rating_from: dict[int, int] = field(default_factory=dict)
    after_from: dict[int, int] = field(default_factory=dict)
    _loads: list[SessionArrays] = field(default_factory=list)

    def add(self, load: int, origin_ms: float, found: LoadEvents) -> None:
        """Add the ticks of a page load."""
        n = len(found.events)
        page_ms = _page_ms(found)
        ticks = found.are("pgsw")
        row_of = self.count + np.cumsum(ticks) - ticks  # of the tick, or of the next one
        channel, side = np.full(n, VIEW, np.int8), np.zeros(n, np.int8)
        for code, name in enumerate(CHANNELS):
            points = found.points[name]
            channel[points.at], side[points.at] = code, points.side
        mouse = found.points["mouse"]
        control = np.zeros(n, np.bool_)
        control[mouse.at] = self._controls(found, mouse.at[mouse.side > 0], row_of)[mouse.at]
        about = side.copy()
        self._add_views(found, row_of, about)
        self._loads.append(
            SessionArrays(
                channel=channel[ticks],
                load=np.full(int(ticks.sum()), load, np.int16),
                t_ms=page_ms[ticks],
                epoch_ms=(origin_ms + found.t)[ticks],
                turn=found.turns[ticks],
                side=side[ticks],
                about=about[ticks],
                idle_ms=_idle_ms(page_ms, mouse)[ticks],
                control=control[ticks],
                points={
                    name: replace(points, at=row_of[points.at])
                    for name, points in found.points.items()
                },
            )
        )
        self.count += len(self._loads[-1].t_ms)

    def arrays(self) -> SessionArrays:
        """Return the ticks of all page loads."""
        columns = {
            name: np.concatenate([np.empty(0, kind), *(vars(load)[name] for load in self._loads)])
            for name, kind in zip(_COLUMNS, _KINDS, strict=True)
        }
        points = {
            channel: Points.joined([load.points[channel] for load in self._loads])
            for channel in CHANNELS
        }
        return SessionArrays(**columns, points=points)

    def _add_views(
        self, found: LoadEvents, row_of: NDArray[np.int64], about: NDArray[np.int8]
    ) -> None:
        for i in found.where("sw").tolist():
            event, row = found.events[i], int(row_of[i])
            about[i] = SIDES.get(event[2] if event[0] == "s" else event[3], 0)
            if event[0] == "s":
                self.view.append((row, SCROLLED[event[2]], event[3]))
            else:
                side = event[3].lower()
                first, last = (0, -1) if event[4] is None else event[4:]
                self.view.append((row, f"visible_from_char_{side}", first))
                self.view.append((row, f"visible_to_char_{side}", last + 1))

    def _controls(
        self, found: LoadEvents, on_answer: NDArray[np.int64], row_of: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Note where phases begin; return [n] whether the pointer is in a rating control."""
        of_turn, first = np.unique(found.turns[on_answer], return_index=True)
        pointed = dict(zip(of_turn.tolist(), on_answer[first].tolist(), strict=True))
        control, states, changes = 0, [(0,)], []
        for i in found.where("r").tolist():
            _, _, turn, action, name, _, via = found.events[i]
            if turn is None:
                continue
            # Where the pointer rests when the answers appear, a control may appear under it, or on
            # its way to them: nobody rates before reading began.
            passed = action == "enter" and via == "pointer" and pointed.get(turn, i) >= i
            if action in ("enter", "choose") and not passed:
                self.rating_from.setdefault(turn, int(row_of[i]))
            if action == "choose" and name == "submit":
                self.after_from.setdefault(turn, int(row_of[i]))
            if via == "pointer" and action in ("enter", "leave"):
                control = int(action == "enter")
                states.append((control,))
                changes.append(i)
        return _state_of_each(states, np.array(changes, np.int64), len(row_of))[:, 0]


def _page_ms(found: LoadEvents) -> NDArray[np.float64]:
    """Return [n] the clock of the page, which stands still while it is hidden."""
    t, hidden_ms, since = found.t, 0.0, math.nan
    states = [(hidden_ms, since)]
    changes = found.where("v")
    for i in changes.tolist():
        if found.events[i][2] == "visible":
            hidden_ms += 0.0 if math.isnan(since) else float(t[i]) - since
            since = math.nan
        elif math.isnan(since):
            since = float(t[i])
        states.append((hidden_ms, since))
    hidden, hidden_since = _state_of_each(states, changes, len(t)).T
    shown_ms: NDArray[np.float64] = np.where(np.isnan(hidden_since), t, hidden_since) - hidden
    return shown_ms


def _idle_ms(page_ms: NDArray[np.float64], mouse: Points) -> NDArray[np.float64]:
    """Return [n] the time since the mouse was elsewhere."""
    moved = np.ones(len(mouse.at), np.bool_)
    moved[1:] = (np.diff(mouse.x) != 0) | (np.diff(mouse.y) != 0)
    last = np.full(len(page_ms), -1)
    last[mouse.at[moved]] = mouse.at[moved]
    last = np.maximum.accumulate(last)
    return np.where(last >= 0, page_ms - page_ms[last], np.nan)


def _state_of_each(
    states: Sequence[tuple[float, ...]], changes: NDArray[Any], n: int
) -> NDArray[np.float64]:
    """Return [n, k] the state after the last change before each event: `states` has one more."""
    lengths = np.diff(np.concatenate([[0], changes, [n]]))
    return np.repeat(np.array(states, np.float64), lengths, axis=0)
