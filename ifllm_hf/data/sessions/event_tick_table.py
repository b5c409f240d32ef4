"""The columns of a session's ticks as a table of `schema.TICKS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.schema import TICKS
from ifllm_hf.data.ticks.alignment import ON_NOTHING, ON_RATING, ON_RESPONSE, SURFACES
from ifllm_hf.data.ticks.reading_end import PHASES
from ifllm_hf.data.ticks.tick_table import SIDES, float_column, name_column

CHANNELS = ("mouse", "gaze")
VIEW = 2
"""The channel of scrolls and visible ranges."""


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
    columns: Mapping[str, NDArray[np.float64]],
    view: Mapping[str, NDArray[np.float64]],
    turn: NDArray[np.int64],
    phase: NDArray[np.int8],
    turns: Mapping[int, SessionTurn],
) -> pa.Table:
    """Return ticks as a table of `schema.TICKS`, without their conversation.

    Args:
        columns: [n] each: channel (a place in `CHANNELS`, or `VIEW`), load, t_ms, epoch_ms, side
            and about (0 none, 1 a, 2 b: of the point, and of what is told), x, y, rx, ry, char,
            offset, valid, idle_ms, control.
        view: The columns of `schema.VIEW_COLUMNS`.
        turn: [n] the number of the turn, -1 for none.
        phase: [n] a place in `PHASES`, -1 for none.
        turns: By number.
    """
    n = len(turn)
    keys = {n: -1 if t.query_id is None else t.query_id for n, t in turns.items()}
    query_id = by_turn(turn, keys, none=-1)
    surfaces = np.where(columns["side"] > 0, ON_RESPONSE, ON_NOTHING)
    surfaces = np.where(columns["control"] > 0, ON_RATING, surfaces)
    surfaces = np.where(columns["channel"] == VIEW, -1, surfaces).astype(np.int8)  # no point
    made: dict[str, pa.Array] = {
        "query_id": pa.array(query_id, mask=query_id < 0),
        "message_id": _message_ids(columns["about"], turn, turns),
        "page_load": pa.array(columns["load"].astype(np.int16)),
        "file_row": pa.array(np.arange(n, dtype=np.int32)),
        "t_ms": pa.array(columns["t_ms"]),
        "epoch_ms": pa.array(np.rint(columns["epoch_ms"]).astype(np.int64)),
        "camera_ok": pa.array(columns["valid"] == 1, mask=columns["valid"] < 0),
        "mouse_idle_ms": float_column(columns["idle_ms"]),
        "surface": name_column(surfaces, SURFACES),
        "phase": name_column(phase, PHASES),
        **{
            name: _whole(values) if name.startswith("visible") else float_column(values)
            for name, values in view.items()
        },
    }
    for code, channel in enumerate(CHANNELS):
        mine = columns["channel"] == code
        side = np.where(mine, columns["side"], -1).astype(np.int8)
        char = np.where(mine, columns["char"], np.nan)
        offset = np.where(mine, columns["offset"], np.nan)
        made |= {
            f"{channel}_x_px": float_column(np.where(mine, columns["x"], np.nan)),
            f"{channel}_y_px": float_column(np.where(mine, columns["y"], np.nan)),
            f"{channel}_on": name_column(side, SIDES),
            f"{channel}_char": _whole(char),
            f"{channel}_caret_utf16": _whole(offset),
            f"{channel}_surface": name_column(
                np.where(mine, surfaces, -1).astype(np.int8), SURFACES
            ),
        }
        for number, letter in ((1, "a"), (2, "b")):
            for axis in "xy":
                value = np.where(side == number, columns[f"r{axis}"], np.nan)
                made[f"{channel}_rel_{axis}_px_{letter}"] = float_column(value)
    empty = {f.name: pa.nulls(n, f.type) for f in TICKS if f.name not in made}
    return pa.table([{**empty, **made}[name] for name in TICKS.names], schema=TICKS)


def _message_ids(
    about: NDArray[np.float64], turn: NDArray[np.int64], turns: Mapping[int, SessionTurn]
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


def _whole(values: NDArray[np.float64]) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
