"""The columns of a session's ticks as a table of `schema.TICKS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.schema import TICKS
from ifllm_hf.data.sessions.events.point_columns import CHANNELS
from ifllm_hf.data.sessions.events.session_arrays import VIEW, SessionArrays
from ifllm_hf.data.ticks.alignment import ON_NOTHING, ON_RATING, ON_RESPONSE, SURFACES
from ifllm_hf.data.ticks.reading_end import PHASES
from ifllm_hf.data.ticks.tick_table import SIDES, float_column, name_column


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


def tick_table(
    ticks: SessionArrays,
    chars: Mapping[str, NDArray[np.float64]],
    view: Mapping[str, pa.Array],
    phase: NDArray[np.int8],
    turns: Mapping[int, SessionTurn],
) -> pa.Table:
    """Return ticks as a table of `schema.TICKS`, without their conversation.

    Args:
        ticks: Of all page loads.
        chars: By channel, [m] the code point under each of its points, NaN for none.
        view: The columns of `schema.VIEW_COLUMNS`.
        phase: [n] a place in `PHASES`, -1 for none.
        turns: By number.
    """
    n = len(ticks.turn)
    keys = {number: -1 if t.query_id is None else t.query_id for number, t in turns.items()}
    query_id = by_turn(ticks.turn, keys, none=-1)
    surfaces = np.where(ticks.side > 0, np.int8(ON_RESPONSE), np.int8(ON_NOTHING))
    surfaces[ticks.control] = ON_RATING
    surfaces[ticks.channel == VIEW] = -1  # no point
    camera = np.full(n, -1, np.int8)
    camera[ticks.points["gaze"].at] = ticks.points["gaze"].valid
    made: dict[str, pa.Array] = {
        "query_id": pa.array(query_id, mask=query_id < 0),
        "message_id": _message_ids(ticks.about, ticks.turn, turns),
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
            f"{channel}_x_px": real_column(n, at, points.x),
            f"{channel}_y_px": real_column(n, at, points.y),
            f"{channel}_on": name_column(_spread(n, at, side), SIDES),
            f"{channel}_char": whole_column(n, at, chars[channel]),
            f"{channel}_caret_utf16": whole_column(n, at, points.offset),
            f"{channel}_surface": name_column(_spread(n, at, surfaces[at]), SURFACES),
        }
        for number, letter in ((1, "a"), (2, "b")):
            here = side == number
            for axis, values in (("x", points.rx), ("y", points.ry)):
                made[f"{channel}_rel_{axis}_px_{letter}"] = real_column(n, at[here], values[here])
    empty = {f.name: pa.nulls(n, f.type) for f in TICKS if f.name not in made}
    return pa.table([{**empty, **made}[name] for name in TICKS.names], schema=TICKS)


def _message_ids(
    about: NDArray[np.int8], turn: NDArray[np.int64], turns: Mapping[int, SessionTurn]
) -> pa.Array:
    """Return [n] the message that a tick is about, null where it is about none."""
    ids = [
        (number, side, key) for number, t in turns.items() for side, key in t.message_ids.items()
    ]
    if not ids:
        return pa.nulls(len(turn), pa.string())
    found = np.full(len(turn), -1, np.int64)
    for place, (number, side, _) in enumerate(ids):
        found[(turn == number) & (about == side)] = place
    names = pa.array([key for _, _, key in ids])
    return names.take(pa.array(found, mask=found < 0))


def by_turn(turn: NDArray[np.int64], values: Mapping[int, int], *, none: int) -> NDArray[np.int64]:
    """Return [n] the value of each tick's turn, which is one of `values`; `none` for none."""
    numbers = np.array(sorted(values), np.int64)
    of_number = np.array([values[number] for number in numbers.tolist()] + [none], np.int64)
    return of_number[np.where(turn < 0, len(numbers), np.searchsorted(numbers, turn))]


def _spread(n: int, at: NDArray[np.int64], codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return [n] codes, -1 but for the ticks `at`."""
    spread = np.full(n, -1, np.int8)
    spread[at] = codes
    return spread


def real_column(n: int, at: NDArray[np.int64], values: NDArray[np.float64]) -> pa.Array:
    """Return a float32 column of n ticks: `values` of the ticks `at`, else null; NaN is null."""
    column = np.full(n, np.nan, np.float32)
    column[at] = values
    return pa.array(column, mask=np.isnan(column))


def whole_column(n: int, at: NDArray[np.int64], values: NDArray[np.float64]) -> pa.Array:
    """Return an int32 column likewise."""
    told = ~np.isnan(values)
    column, mask = np.zeros(n, np.int32), np.ones(n, np.bool_)
    column[at[told]] = values[told]
    mask[at] = ~told
    return pa.array(column, mask=mask)
