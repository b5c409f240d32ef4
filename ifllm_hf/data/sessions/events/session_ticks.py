"""Events of a session become ticks: pointer, gaze, scroll and visible range, each one of its own.

What an event does not tell is null in its tick, never carried over. Nothing is guessed: an event
says which turn and answer was under the point and which unit of the source (a scroll belongs to the
turn that was on the page). Entering a rating control, once the pointer has been on an answer, or
choosing on one ends reading.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import TICKS, VIEW_COLUMNS
from ifllm_hf.data.sessions.events.page_loads import (
    LEDGERS,
    LoadEvents,
    count_refused,
    page_loads,
    well_formed,
    with_turns,
)
from ifllm_hf.data.sessions.events.session_arrays import Gathered, SessionArrays
from ifllm_hf.data.sessions.events.session_table import (
    SessionTurn,
    by_turn,
    real_column,
    tick_table,
    whole_column,
)
from ifllm_hf.data.sessions.session_file import Session

NEAR_PX = 50.0
"""A point further than this from every glyph is on the answer, but on no character of it."""

_LEDGER_OF = {"mouse": "pointer", "gaze": "gaze"}
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


_CodePoints = Mapping[tuple[int, int], NDArray[np.int64]]
"""By turn and side, the code point that each UTF-16 unit of the answer belongs to."""


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
    loads = page_loads(session)
    found = well_formed([events for _, events in loads], ledgers)
    told = [with_turns(events, ledgers, withheld, reason) for events in found]
    origins = [origin_ms for origin_ms, _ in loads]
    return ticks_of(zip(origins, told, strict=True), turns, home, ledgers)


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
    gathered = Gathered()
    for load, (origin_ms, events) in enumerate(loads):
        gathered.add(load, origin_ms, events)
    for ledger in ledgers.values():
        ledger.check()
    ticks = gathered.arrays()
    unknown = np.isin(ticks.turn, list(turns), invert=True) & (ticks.turn >= 0)
    for code, name in enumerate(("pointer", "gaze", "view")):
        lost = unknown & (ticks.channel == code)
        ledgers[name].repair("turn is not in the file", int(lost.sum()))
    ticks.turn[unknown] = -1
    ticks.side[ticks.turn < 0] = 0  # other pages of the app show answers too
    units = {
        (number, side): _code_points(answer)
        for number, of_turn in turns.items()
        for side, answer in of_turn.answers.items()
    }
    for number, of_turn in turns.items():
        for side in {1, 2} - of_turn.answers.keys():
            ticks.side[(ticks.turn == number) & (ticks.side == side)] = 0
    chars = _characters(ticks, units, ledgers)
    view = _view_columns(gathered, ticks.turn, units, ledgers["view"])
    phase, sources = _phases(gathered, ticks, turns)
    table = tick_table(ticks, chars, view, phase, turns)
    names = list(dict.fromkeys([home, *(t.conversation_id for t in turns.values())]))
    if len(names) > 1:
        of_number = {n: names.index(t.conversation_id) for n, t in turns.items()}
        place = pa.array(by_turn(ticks.turn, of_number, none=0))
    tables = {}
    for number, name in enumerate(names):
        part = table if len(names) == 1 else table.filter(pa.compute.equal(place, number))
        label = pa.repeat(pa.scalar(name), part.num_rows)
        tables[name] = part.set_column(0, TICKS.field("conversation_id"), label)
    return SessionTicks(tables, sources, ledgers)


def _code_points(text: str) -> NDArray[np.int64]:
    """Return the code point that each UTF-16 unit of a text belongs to."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.repeat(np.arange(len(text), dtype=np.int64), 1 + (characters > 0xFFFF))


def _characters(
    ticks: SessionArrays, units: _CodePoints, ledgers: Mapping[str, Ledger]
) -> dict[str, NDArray[np.float64]]:
    """Return by channel the code point under each of its points, NaN for none."""
    chars = {}
    for channel, points in ticks.points.items():
        char = np.full(len(points.at), np.nan)
        near = (points.distance <= NEAR_PX) & np.isfinite(points.offset)
        turn, side = ticks.turn[points.at], ticks.side[points.at]
        for (number, of_side), code_points in units.items():
            at = np.flatnonzero(near & (turn == number) & (side == of_side))
            offset = points.offset[at].astype(np.int64)
            inside = (offset >= 0) & (offset < len(code_points))
            char[at[inside]] = code_points[offset[inside]]
            beyond = len(at) - int(inside.sum())
            ledgers[_LEDGER_OF[channel]].repair("offset beyond the answer", beyond)
        chars[channel] = char
    return chars


def _view_columns(
    gathered: Gathered, turn: NDArray[np.int64], units: _CodePoints, ledger: Ledger
) -> dict[str, pa.Array]:
    """Return `VIEW_COLUMNS` with code points for UTF-16 units, null where nothing was told."""
    told: dict[str, list[tuple[int, float]]] = {name: [] for name in VIEW_COLUMNS}
    for row, column, value in gathered.view:
        told[column].append((row, value))
    at = {name: np.array([row for row, _ in of], np.int64) for name, of in told.items()}
    values = {name: np.array([value for _, value in of], np.float64) for name, of in told.items()}
    for side, letter in ((1, "a"), (2, "b")):
        ends = [f"visible_{edge}_char_{letter}" for edge in ("from", "to")]
        first, end = (values[name] for name in ends)
        of_turn = turn[at[ends[0]]]
        for number in sorted(set(of_turn.tolist())):
            here = np.flatnonzero(of_turn == number)
            points = units.get((number, side), np.empty(0, np.int64))
            if number < 0:  # offsets mean nothing without their answer
                first[here] = end[here] = np.nan
                continue
            beyond = end[here] > len(points)
            ledger.repair("offset beyond the answer", int(beyond.sum()))
            first[here[beyond]] = end[here[beyond]] = np.nan
            there = here[~beyond & (end[here] > first[here])]
            first[there] = points[first[there].astype(np.int64)]
            end[there] = points[end[there].astype(np.int64) - 1] + 1
    return {
        name: (whole_column if name.startswith("visible") else real_column)(
            len(turn), at[name], values[name]
        )
        for name in VIEW_COLUMNS
    }


def _phases(
    gathered: Gathered, ticks: SessionArrays, turns: Mapping[int, SessionTurn]
) -> tuple[NDArray[np.int8], dict[int, str]]:
    n = len(ticks.turn)
    phase = np.full(n, -1, dtype=np.int8)
    sources: dict[int, str] = {}
    for number, of_turn in turns.items():
        mine = np.flatnonzero(ticks.turn == number)
        if not mine.size:
            continue
        begin = gathered.rating_from.get(number)
        if of_turn.query_id is not None:
            sources[of_turn.query_id] = "fallback" if begin is None else "rating_zone"
        if begin is None:
            # The events of the rating never came. What followed the last answer may be its click.
            on = mine[ticks.side[mine] > 0]
            begin = n if not of_turn.rated else int(on[-1]) + 1 if on.size else 0
        after = gathered.after_from.get(number, n)
        phase[mine] = np.where(mine < begin, _READING, np.where(mine < after, _RATING, _AFTER))
    return phase, sources
