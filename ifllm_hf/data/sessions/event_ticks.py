"""Events of a session become ticks: pointer, gaze, scroll and visible range, each one of its own.

What an event does not tell is null in its tick, never carried over. Nothing is guessed: an event
says which turn and answer was under the point and which unit of the source (a scroll belongs to the
turn that was on the page). Entering a rating control, once the pointer has been on an answer, or
choosing on one ends reading.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import TICKS, VIEW_COLUMNS
from ifllm_hf.data.sessions.event_columns import CHANNELS
from ifllm_hf.data.sessions.event_rows import VIEW, Gathered, SessionArrays
from ifllm_hf.data.sessions.events import (
    LEDGERS,
    LoadEvents,
    count_refused,
    page_loads,
    well_formed,
    with_turns,
)
from ifllm_hf.data.sessions.session_file import Session
from ifllm_hf.data.ticks.alignment import ON_NOTHING, ON_RATING, ON_RESPONSE, SURFACES
from ifllm_hf.data.ticks.reading_end import PHASES
from ifllm_hf.data.ticks.tick_table import SIDES, float_column, name_column

NEAR_PX = 50.0
"""A point further than this from every glyph is on the answer, but on no character of it."""

_LEDGER_OF = {"mouse": "pointer", "gaze": "gaze"}
_READING, _RATING, _AFTER = 0, 1, 2


@dataclass(frozen=True)
class SessionTurn:
    """What ticks need of a turn.

    Attributes:
        query_id: Key of the turn; None: it has no row, its ticks are of a message alone.
        conversation_id: Where it belongs.
        answers: The stored sources, by side 1 (a) and 2 (b).
        rated: Whether a rating is stored.
        message_ids: Of a chat page, the keys of the answers' messages, by side.
    """

    query_id: int | None
    conversation_id: str
    answers: Mapping[int, str]
    rated: bool
    message_ids: Mapping[int, str] = field(default_factory=dict)


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
    placed = [
        (origin_ms, with_turns(good, ledgers, withheld, reason))
        for (origin_ms, _), good in zip(loads, found, strict=True)
    ]
    return ticks_of(placed, turns, home, ledgers)


def ticks_of(
    loads: Iterable[tuple[float, LoadEvents]],
    turns: Mapping[int, SessionTurn],
    home: str,
    ledgers: dict[str, Ledger],
) -> SessionTicks:
    """Make the tick tables of page loads: of each its origin and its events, with their turns.

    Args:
        loads: In the order of their origins.
        turns: See `session_ticks`.
        home: The conversation of ticks that belong to no turn.
        ledgers: By name; what is mended is added.
    """
    gathered = Gathered()
    for load, (origin_ms, found) in enumerate(loads):
        gathered.add(load, origin_ms, found)
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
    table = _table(ticks, chars, view, phase, turns)
    if any(t.message_ids for t in turns.values()):
        about = _message_ids(gathered, ticks, turns)
        table = table.set_column(TICKS.names.index("message_id"), "message_id", about)
    names = list(dict.fromkeys([home, *(t.conversation_id for t in turns.values())]))
    if len(names) > 1:
        of_number = {n: names.index(t.conversation_id) for n, t in turns.items()}
        place = pa.array(_of_turn(ticks.turn, of_number, none=0))
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
        name: (_whole if name.startswith("visible") else _real)(len(turn), at[name], values[name])
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


def _table(
    ticks: SessionArrays,
    chars: Mapping[str, NDArray[np.float64]],
    view: Mapping[str, pa.Array],
    phase: NDArray[np.int8],
    turns: Mapping[int, SessionTurn],
) -> pa.Table:
    n = len(ticks.turn)
    keys = {n: -1 if t.query_id is None else t.query_id for n, t in turns.items()}
    query_id = _of_turn(ticks.turn, keys, none=-1)
    surfaces = np.where(ticks.side > 0, np.int8(ON_RESPONSE), np.int8(ON_NOTHING))
    surfaces[ticks.control] = ON_RATING
    surfaces[ticks.channel == VIEW] = -1  # no point
    camera = np.full(n, -1, np.int8)
    camera[ticks.points["gaze"].at] = ticks.points["gaze"].valid
    made: dict[str, pa.Array] = {
        "query_id": pa.array(query_id, mask=query_id < 0),
        "page_load": pa.array(ticks.load),
        "file_row": pa.array(np.arange(n, dtype=np.int32)),
        "t_ms": pa.array(ticks.t_ms),
        "epoch_ms": pa.array(np.rint(ticks.epoch_ms).astype(np.int64)),
        "camera_ok": pa.array(camera == 1, mask=camera < 0),
        "mouse_idle_ms": float_column(ticks.idle_ms),
        "surface": name_column(surfaces, SURFACES),
        "phase": name_column(phase, PHASES),
        **view,
    }
    for channel in CHANNELS:
        points = ticks.points[channel]
        at, side = points.at, ticks.side[points.at]
        made |= {
            f"{channel}_x_px": _real(n, at, points.x),
            f"{channel}_y_px": _real(n, at, points.y),
            f"{channel}_on": name_column(_spread(n, at, side), SIDES),
            f"{channel}_char": _whole(n, at, chars[channel]),
            f"{channel}_caret_utf16": _whole(n, at, points.offset),
            f"{channel}_surface": name_column(_spread(n, at, surfaces[at]), SURFACES),
        }
        for number, letter in ((1, "a"), (2, "b")):
            here = side == number
            for axis, values in (("x", points.rx), ("y", points.ry)):
                made[f"{channel}_rel_{axis}_px_{letter}"] = _real(n, at[here], values[here])
    empty = {f.name: pa.nulls(n, f.type) for f in TICKS if f.name not in made}
    return pa.table([{**empty, **made}[name] for name in TICKS.names], schema=TICKS)


def _message_ids(
    gathered: Gathered, ticks: SessionArrays, turns: Mapping[int, SessionTurn]
) -> pa.Array:
    """Return [n] the message that a tick is about, null where it is about none."""
    about = ticks.side.copy()
    for row, column, _ in gathered.view:
        about[row] = {"a": 1, "b": 2}.get(column.rpartition("_")[2], 0)
    found = np.full(len(about), -1, np.int64)
    keys: list[str] = []
    for number, turn in turns.items():
        for side, key in turn.message_ids.items():
            found[(ticks.turn == number) & (about == side)] = len(keys)
            keys.append(key)
    return pa.array(keys, pa.string()).take(pa.array(found, mask=found < 0))


def _of_turn(turn: NDArray[np.int64], values: Mapping[int, int], *, none: int) -> NDArray[np.int64]:
    """Return [n] the value of each tick's turn, which is one of `values`; `none` for none."""
    numbers = np.array(sorted(values), np.int64)
    of_number = np.array([values[number] for number in numbers.tolist()] + [none], np.int64)
    return of_number[np.where(turn < 0, len(numbers), np.searchsorted(numbers, turn))]


def _spread(n: int, at: NDArray[np.int64], codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return [n] codes, -1 but for the ticks `at`."""
    spread = np.full(n, -1, np.int8)
    spread[at] = codes
    return spread


def _real(n: int, at: NDArray[np.int64], values: NDArray[np.float64]) -> pa.Array:
    """Return a float32 column of n ticks: `values` of the ticks `at`, else null; NaN is null."""
    column = np.full(n, np.nan, np.float32)
    column[at] = values
    return pa.array(column, mask=np.isnan(column))


def _whole(n: int, at: NDArray[np.int64], values: NDArray[np.float64]) -> pa.Array:
    """Return an int32 column likewise."""
    told = ~np.isnan(values)
    column, mask = np.zeros(n, np.int32), np.ones(n, np.bool_)
    column[at[told]] = values[told]
    mask[at] = ~told
    return pa.array(column, mask=mask)
