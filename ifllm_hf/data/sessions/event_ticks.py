"""Events of a session become ticks: pointer, gaze, scroll and visible range, each one of its own.

What an event does not tell is null in its tick, never carried over. Nothing is guessed: an event
says which turn and answer was under the point and which unit of the source (a scroll belongs to the
turn that was on the page). Entering a rating control, once the pointer has been on an answer, or
choosing on one ends reading.

Clocks: an event's time is `performance.now()` of its page load, which no change of the wall clock
moves. `t_ms` is that, less the time the page was hidden; `epoch_ms` adds the load's origin.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import TICKS, VIEW_COLUMNS
from ifllm_hf.data.sessions.event_tick_table import VIEW, SessionTurn, by_turn, tick_table
from ifllm_hf.data.sessions.events import (
    LEDGERS,
    SCROLLED,
    LoadEvents,
    count_refused,
    page_loads,
    well_formed,
    with_turns,
)
from ifllm_hf.data.sessions.session_file import Session

NEAR_PX = 50.0
"""A point further than this from every glyph is on the answer, but on no character of it."""

_MOUSE, _GAZE = 0, 1
_CODE = {"p": _MOUSE, "g": _GAZE}
_SIDE = {None: 0, "A": 1, "B": 2}
_READING, _RATING, _AFTER = 0, 1, 2


@dataclass
class SessionTicks:
    """The ticks of a session.

    Attributes:
        tables: The columns of `schema.TICKS`, by conversation.
        reading_end_source: By query_id, "rating_zone" (an event says it) or "fallback"; turns
            without ticks are left out.
        ledgers: Of pointer, gaze, view (scroll and visible range) and other events.
    """

    tables: dict[str, pa.Table]
    reading_end_source: dict[int, str]
    ledgers: dict[str, Ledger]


@dataclass
class _Rows:
    """Ticks as they are gathered, and where phases of a turn begin.

    `values` holds [ticks, columns] of each page load; `view` the few values of `VIEW_COLUMNS`:
    index of the tick, column, value.
    """

    values: list[NDArray[np.float64]] = field(default_factory=list)
    view: list[tuple[int, str, float]] = field(default_factory=list)
    rating_from: dict[int, int] = field(default_factory=dict)
    after_from: dict[int, int] = field(default_factory=dict)
    count: int = 0


_COLUMNS = (
    "channel load t_ms epoch_ms turn side about x y rx ry offset distance valid idle_ms control"
)


def session_ticks(
    session: Session,
    turns: Mapping[int, SessionTurn],
    home: str,
    *,
    withheld: Collection[int] = (),
    reason: str = "withheld",
) -> SessionTicks:
    """Make the tick tables of a session.

    Args:
        session: Read with its events.
        turns: By the number that events carry.
        home: The conversation of ticks that belong to no turn.
        withheld: Turns whose ticks are left out, for `reason`.
        reason: Said in the ledger.
    """
    ledgers = {name: Ledger(name) for name in LEDGERS}
    count_refused(session, ledgers)
    loads = []
    for origin_ms, events in page_loads(session):
        good = well_formed(events, ledgers, all_fit=session.events_fit)
        loads.append((origin_ms, with_turns(good, ledgers, withheld, reason)))
    return ticks_of(loads, turns, home, ledgers)


def ticks_of(
    loads: Iterable[tuple[float, LoadEvents]],
    turns: Mapping[int, SessionTurn],
    home: str,
    ledgers: dict[str, Ledger],
) -> SessionTicks:
    """Make the tick tables of page loads: of each its origin and its events, with their turns.

    Args:
        loads: In the order of their origins.
        turns: See `session_ticks`, as for the next.
        home: The conversation of ticks that belong to no turn.
        ledgers: By name; what is mended is added.
    """
    rows = _Rows()
    for load, (origin_ms, found) in enumerate(loads):
        _gather(rows, load, origin_ms, found)
    for ledger in ledgers.values():
        ledger.check()
    columns = _arrays(rows)
    turn = columns["turn"].astype(np.int64)
    unknown = np.isin(turn, list(turns), invert=True) & (turn >= 0)
    for code, name in enumerate(("pointer", "gaze", "view")):
        lost = unknown & (columns["channel"] == code)
        ledgers[name].repair("turn is not in the file", int(lost.sum()))
    turn[unknown] = -1
    columns["side"][turn < 0] = 0  # other pages of the app show answers too
    _add_characters(columns, turn, turns, ledgers)
    view = _view_columns(rows, turn, turns, ledgers)
    phase, sources = _phases(rows, columns, turn, turns)
    table = tick_table(columns, view, turn, phase, turns)
    names = list(dict.fromkeys([home, *(t.conversation_id for t in turns.values())]))
    place = by_turn(turn, {n: names.index(t.conversation_id) for n, t in turns.items()}, none=0)
    tables = {}
    for number, name in enumerate(names):
        part = table.filter(pa.array(place == number)) if len(names) > 1 else table
        label = pa.repeat(pa.scalar(name), part.num_rows)
        tables[name] = part.set_column(0, TICKS.field("conversation_id"), label)
    return SessionTicks(tables, sources, ledgers)


def _gather(rows: _Rows, load: int, origin_ms: float, found: LoadEvents) -> None:
    """Add the ticks of a page load."""
    events, n = found.events, len(found.events)
    t = np.array([event[1] for event in events], np.float64)
    page_ms = _page_ms(found, t)
    ticks = found.are("pgsw")
    row_of = rows.count + np.cumsum(ticks) - ticks  # of the tick, or of the next one
    points = found.where("pg")
    names = _COLUMNS.split()
    column = {name: np.full(n, np.nan) for name in names}
    column["channel"][:] = VIEW
    column["load"][:] = load
    column["t_ms"], column["epoch_ms"], column["turn"] = page_ms, origin_ms + t, found.turns
    column["side"][:] = column["about"][:] = column["control"][:] = 0
    column["valid"][:] = -1
    mouse = np.zeros(n, np.bool_)
    if points.size:
        told = list(zip(*(events[i] for i in points.tolist()), strict=True))
        column["channel"][points] = [_CODE[kind] for kind in told[0]]
        column["side"][points] = [_SIDE[response] for response in told[3]]
        column["about"][points] = column["side"][points]
        for i, name in enumerate(("x", "y", "rx", "ry", "offset", "distance"), 4):
            column[name][points] = np.array(told[i], np.float64)  # None becomes NaN
        mouse = column["channel"] == _MOUSE
        valid = np.array(told[10], np.float64)
        column["valid"][points] = np.where(mouse[points], -1, valid)
    column["idle_ms"] = _idle_ms(page_ms, np.flatnonzero(mouse), column["x"], column["y"])
    column["control"] = np.where(
        mouse, _controls(rows, found, mouse & (column["side"] > 0), row_of), 0
    )
    for i in found.where("sw").tolist():
        event, row = events[i], int(row_of[i])
        column["about"][i] = _SIDE.get(event[2] if event[0] == "s" else event[3], 0)
        if event[0] == "s":
            rows.view.append((row, SCROLLED[event[2]], event[3]))
        else:
            side = event[3].lower()
            first, last = (0, -1) if event[4] is None else event[4:]
            rows.view.append((row, f"visible_from_char_{side}", first))
            rows.view.append((row, f"visible_to_char_{side}", last + 1))
    rows.values.append(np.column_stack([column[name][ticks] for name in names]))
    rows.count += int(ticks.sum())


def _page_ms(found: LoadEvents, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [n] the clock of the page, which stands still while it is hidden."""
    hidden_ms, since = 0.0, math.nan
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


def _idle_ms(
    page_ms: NDArray[np.float64],
    mouse: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return [n] the time since the pointer, told at the positions `mouse`, was elsewhere."""
    moved = np.ones(len(mouse), np.bool_)
    moved[1:] = (np.diff(x[mouse]) != 0) | (np.diff(y[mouse]) != 0)
    last = np.full(len(page_ms), -1)
    last[mouse[moved]] = mouse[moved]
    last = np.maximum.accumulate(last)
    return np.where(last >= 0, page_ms - page_ms[last], np.nan)


def _controls(
    rows: _Rows, found: LoadEvents, on_answer: NDArray[np.bool_], row_of: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Note where phases begin; return [n] whether the pointer is in a rating control."""
    of_turn, first = np.unique(found.turns[on_answer], return_index=True)
    pointed = dict(zip(of_turn.tolist(), np.flatnonzero(on_answer)[first].tolist(), strict=True))
    control, states, changes = 0, [(0,)], []
    for i in found.where("r").tolist():
        _, _, turn, action, name, _, via = found.events[i]
        if turn is None:
            continue
        # Where the pointer rests when the answers appear, a control may appear under it, or on
        # its way to them: nobody rates before reading began.
        passed = action == "enter" and via == "pointer" and pointed.get(turn, i) >= i
        if action in ("enter", "choose") and not passed:
            rows.rating_from.setdefault(turn, int(row_of[i]))
        if action == "choose" and name == "submit":
            rows.after_from.setdefault(turn, int(row_of[i]))
        if via == "pointer" and action in ("enter", "leave"):
            control = int(action == "enter")
            states.append((control,))
            changes.append(i)
    return _state_of_each(states, np.array(changes, np.int64), len(row_of))[:, 0]


def _state_of_each(
    states: Sequence[tuple[float, ...]], changes: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Return [n, k] the state after the last change before each event: `states` has one more."""
    lengths = np.diff(np.concatenate([[0], changes, [n]]))
    return np.repeat(np.array(states, np.float64), lengths, axis=0)


def _arrays(rows: _Rows) -> dict[str, NDArray[np.float64]]:
    names = _COLUMNS.split()
    table = np.concatenate([np.empty((0, len(names))), *rows.values])
    return {name: table[:, i].copy() for i, name in enumerate(names)}


def _add_characters(
    columns: dict[str, NDArray[np.float64]],
    turn: NDArray[np.int64],
    turns: Mapping[int, SessionTurn],
    ledgers: Mapping[str, Ledger],
) -> None:
    """Turn UTF-16 units of the source into code points: the column `char`, NaN for none."""
    char = np.full(len(turn), np.nan)
    near = columns["distance"] <= NEAR_PX
    for number, of_turn in turns.items():
        for side in (1, 2):
            here = np.flatnonzero((turn == number) & (columns["side"] == side))
            if side not in of_turn.answers:
                columns["side"][here] = 0
                continue
            points = np.flatnonzero(near[here] & np.isfinite(columns["offset"][here]))
            at = here[points]
            code_points = _code_points(of_turn.answers[side])
            offset = columns["offset"][at].astype(np.int64)
            inside = (offset >= 0) & (offset < len(code_points))
            char[at[inside]] = code_points[offset[inside]]
            for channel, name in ((_MOUSE, "pointer"), (_GAZE, "gaze")):
                beyond = (columns["channel"][at] == channel) & ~inside
                ledgers[name].repair("offset beyond the answer", int(beyond.sum()))
    columns["char"] = char


def _view_columns(
    rows: _Rows,
    turn: NDArray[np.int64],
    turns: Mapping[int, SessionTurn],
    ledgers: Mapping[str, Ledger],
) -> dict[str, NDArray[np.float64]]:
    """Return `VIEW_COLUMNS` with code points for UTF-16 units, NaN where nothing was told."""
    view = {name: np.full(len(turn), np.nan) for name in VIEW_COLUMNS}
    for row, column, value in rows.view:
        view[column][row] = value
    for number, of_turn in turns.items():
        for side, letter in ((1, "a"), (2, "b")):
            first, end = (view[f"visible_{edge}_char_{letter}"] for edge in ("from", "to"))
            here = np.flatnonzero((turn == number) & np.isfinite(first))
            points = _code_points(of_turn.answers.get(side, ""))
            beyond = end[here] > len(points)
            ledgers["view"].repair("offset beyond the answer", int(beyond.sum()))
            first[here[beyond]] = end[here[beyond]] = np.nan
            there = here[~beyond & (end[here] > first[here])]
            first[there] = points[first[there].astype(np.int64)]
            end[there] = points[end[there].astype(np.int64) - 1] + 1
    for name in VIEW_COLUMNS:
        if name.startswith("visible"):  # offsets mean nothing without their answer
            view[name][turn < 0] = np.nan
    return view


def _code_points(text: str) -> NDArray[np.int64]:
    """Return the code point that each UTF-16 unit of a text belongs to."""
    widths = [2 if character > "\uffff" else 1 for character in text]
    return np.repeat(np.arange(len(text), dtype=np.int64), widths)


def _phases(
    rows: _Rows,
    columns: Mapping[str, NDArray[np.float64]],
    turn: NDArray[np.int64],
    turns: Mapping[int, SessionTurn],
) -> tuple[NDArray[np.int8], dict[int, str]]:
    phase = np.full(len(turn), -1, dtype=np.int8)
    index = np.arange(len(turn))
    sources: dict[int, str] = {}
    for number, of_turn in turns.items():
        mine = turn == number
        if not mine.any():
            continue
        begin = rows.rating_from.get(number)
        if of_turn.query_id is not None:
            sources[of_turn.query_id] = "fallback" if begin is None else "rating_zone"
        if begin is None:
            # The events of the rating never came. What followed the last answer may be its click.
            on = np.flatnonzero(mine & (columns["side"] > 0))
            begin = len(turn) if not of_turn.rated else int(on[-1]) + 1 if on.size else 0
        after = rows.after_from.get(number, len(turn))
        phase[mine] = np.where(
            index[mine] < begin, _READING, np.where(index[mine] < after, _RATING, _AFTER)
        )
    return phase, sources
