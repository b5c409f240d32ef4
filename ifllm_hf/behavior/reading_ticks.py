"""The ticks that features may see: reading, and positions on the answers.

This is the wall of the benchmark, in one place. Whatever happens in other phases, and wherever a
point was off the answers, never gets past `reading_ticks`; of an off-answer tick only its time and
the fact that the channel was recorded remain. Screen coordinates are not read at all (whether they
are null tells whether the channel was recorded).

**Time of a tick**: from it to the next tick *of the same channel* in the same page load and within
the phases asked for, at most 1000 ms; the last one has none. A channel is sampled in a tick where
its `_on` is not null: in the release gaze and mouse share every tick, collected sessions have one
event per tick. **Reading clock**: the sum of those times over all ticks of the turn, which makes
reloads and pauses of the recording harmless. Times are whole microseconds: sums are exact and
do not depend on what else is in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import CHANNELS, SIDES, BoolArray, FloatArray, IntArray
from ifllm_hf.errors import DataError

TICK_CAP_MS = 1000.0
"""The longest time that one tick can stand for."""
VISIT_GAP_MS = 1000.0
"""A channel that leaves an answer for longer than this begins a new visit when it comes back."""

SCROLL_COLUMNS = ("scroll_y_px_a", "scroll_y_px_b")
"""Optional tick columns: how far each answer's own box was scrolled; null where not recorded."""
VISIBLE_COLUMNS = (
    "visible_from_char_a",
    "visible_to_char_a",
    "visible_from_char_b",
    "visible_to_char_b",
)
"""Optional tick columns: the part of each answer that came to be on screen; null: no change."""

_US = 1000.0
_ABSENT, _OFF = -2, -1  # codes of a channel in a tick: not sampled, not on an answer; then 0 and 1
_CODES = {"none": _OFF, "a": 0, "b": 1}
_CLOCK = ("t_ms", "page_load", "phase")
TICK_COLUMNS = (
    *_CLOCK,
    *(f"{name}_{what}" for name in CHANNELS for what in ("on", "char", "x_px")),
    *("camera_ok", "mouse_idle_ms", *SCROLL_COLUMNS, *VISIBLE_COLUMNS),
)
"""All that is read of a turn's ticks."""


@dataclass(frozen=True)
class ChannelTicks:
    """A channel's ticks on the answers, in time order within each turn; arrays `[k]`.

    Attributes:
        slot: 2 * turn + side.
        char: Code point index into the answer.
        t_us: Page clock.
        clock_us: Reading clock.
        time_us: How long the tick stands for.
        visit: Number of the visit, over all turns.
        row: Index into the arrays of `ReadingTicks`.
        recorded: `[turns]` whether the channel was recorded at all.
        recorded_us: `[turns]` for how long.
        reading_us: `[turns]` the whole reading clock.
    """

    slot: IntArray
    char: IntArray
    t_us: IntArray
    clock_us: IntArray
    time_us: IntArray
    visit: IntArray
    row: IntArray
    recorded: BoolArray
    recorded_us: IntArray
    reading_us: IntArray

    def by_slot(self, weights: Any = None, of: IntArray | None = None) -> FloatArray:
        """Sum weights (or count) per answer.

        Args:
            weights: One per entry of `of`; None counts.
            of: Slots; those of the ticks by default.

        Returns:
            `[turns, 2]`.
        """
        slot = self.slot if of is None else of
        total = np.bincount(slot, weights=weights, minlength=2 * len(self.recorded))
        return total.astype(np.float64).reshape(-1, 2)

    @property
    def dwell_ms(self) -> FloatArray:
        """Time on each answer, `[turns, 2]`."""
        return self.by_slot(self.time_us) / _US

    @property
    def moves(self) -> IntArray:
        """Indices of the ticks that have a predecessor in the same visit."""
        return np.flatnonzero(self.visit[1:] == self.visit[:-1]) + 1


@dataclass(frozen=True)
class ReadingTicks:
    """All ticks of the phases asked for; arrays `[n]`, in order of the turns, then of the files.

    Attributes:
        turn: Index of the turn.
        stretch: Number of the page load, over all turns.
        t_us: Page clock.
        clock_us: Reading clock.
        time_us: Time until the next tick of any channel, capped.
        reading_us: `[turns]` the whole reading clock.
        has_ticks: `[turns]` whether there is any tick.
        camera: 1 the camera saw a face, 0 it did not, -1 unknown.
        idle_ms: Time since the mouse last moved; NaN unknown.
        scroll_px: `[n, 2]` where the answers' boxes were scrolled to; NaN not recorded.
        visible_char: `[n, 2, 2]` first character on screen and the one after the last, by answer;
            NaN where that did not change.
        sampled: By channel, whether the channel was sampled in the tick.
        channels: By name.
    """

    turn: IntArray
    stretch: IntArray
    t_us: IntArray
    clock_us: IntArray
    time_us: IntArray
    reading_us: IntArray
    has_ticks: BoolArray
    camera: IntArray
    idle_ms: FloatArray
    scroll_px: FloatArray
    visible_char: FloatArray
    sampled: dict[str, BoolArray]
    channels: dict[str, ChannelTicks]


def reading_ticks(rows: pl.DataFrame, answers: Answers, phases: Sequence[str]) -> ReadingTicks:
    """Explode the tick lists of turns and keep what features may see.

    Args:
        rows: One row per turn with parallel tick lists. Needed: `t_ms, page_load, phase` and, per
            channel that there is, `{c}_on` and `{c}_char`. Used where present: the others of
            `TICK_COLUMNS`.
        answers: The answers of the same rows.
        phases: Phases to keep.

    Raises:
        DataError: A column is missing, lists differ in length, time runs backwards, or a position
            lies outside its answer.
    """
    flat = _flatten(rows, phases)
    turn = flat["turn"].to_numpy().astype(np.int64)
    n_turns = rows.height
    t_us = np.rint(flat["t_ms"].to_numpy() * _US)
    if not np.isfinite(t_us).all():
        query = rows["query_id"][int(turn[np.flatnonzero(~np.isfinite(t_us))[0]])]
        raise DataError(f"query {query}: a tick has no time; expected finite t_ms in every tick.")
    t_us = t_us.astype(np.int64)
    load = flat["page_load"].to_numpy()
    fresh = np.ones(len(turn), dtype=bool)
    fresh[1:] = (turn[1:] != turn[:-1]) | (load[1:] != load[:-1])
    stretch = np.cumsum(fresh)
    _check_order(rows, turn, t_us, fresh)
    time_us = _time_to_next(t_us, stretch)
    end_us = np.cumsum(time_us)
    reading_us = _per_turn(time_us, turn, n_turns)
    before_turn = np.cumsum(reading_us) - reading_us
    clock_us = end_us - time_us - before_turn[turn]

    channels: dict[str, ChannelTicks] = {}
    sampled: dict[str, BoolArray] = {}
    for name in CHANNELS:
        code = flat[f"{name}_code"].to_numpy().astype(np.int64)
        rows_here = np.flatnonzero(code != _ABSENT)
        own_time = np.zeros(len(turn), dtype=np.int64)
        own_time[rows_here] = _time_to_next(t_us[rows_here], stretch[rows_here])
        known = (code >= 0) | ((code == _OFF) & flat[f"{name}_recorded"].to_numpy())
        on = np.flatnonzero(code >= 0)
        slot = 2 * turn[on] + code[on]
        char = flat[f"{name}_char"].to_numpy()[on].astype(np.int64)
        _check_positions(rows, name, slot, char, answers)
        channels[name] = ChannelTicks(
            slot=slot,
            char=char,
            t_us=t_us[on],
            clock_us=clock_us[on],
            time_us=own_time[on],
            visit=_visits(slot, stretch[on], t_us[on]),
            row=on,
            recorded=_per_turn(known.astype(np.int64), turn, n_turns) > 0,
            recorded_us=_per_turn(own_time * known, turn, n_turns),
            reading_us=reading_us,
        )
        sampled[name] = code != _ABSENT
    return ReadingTicks(
        turn=turn,
        stretch=stretch,
        t_us=t_us,
        clock_us=clock_us,
        time_us=time_us,
        reading_us=reading_us,
        has_ticks=np.bincount(turn, minlength=n_turns) > 0,
        camera=flat["camera"].to_numpy().astype(np.int64),
        idle_ms=flat["idle_ms"].to_numpy(),
        scroll_px=flat.select(SCROLL_COLUMNS).to_numpy(),
        visible_char=flat.select(VISIBLE_COLUMNS).to_numpy().reshape(-1, 2, 2),
        sampled=sampled,
        channels=channels,
    )


def _flatten(rows: pl.DataFrame, phases: Sequence[str]) -> pl.DataFrame:
    """Return one row per tick of the phases, with the few columns that features may see."""
    present = [name for name in CHANNELS if f"{name}_on" in rows.columns]
    needed = ["query_id", *_CLOCK, *(f"{name}_char" for name in present)]
    missing = [name for name in needed if name not in rows.columns]
    if missing or not present:
        lacking = ", ".join(missing or ["gaze_on", "mouse_on"])
        raise DataError(
            f"the turns have no column {lacking}; features need the ticks as parallel list "
            "columns, as in the `pairwise` and `pointwise` configs."
        )
    unread = {f"{c}_{what}" for c in CHANNELS if c not in present for what in ("char", "x_px")}
    lists = [name for name in TICK_COLUMNS if name in rows.columns and name not in unread]
    _check_lengths(rows, lists)
    flat = (
        rows.lazy()
        .select(pl.int_range(pl.len()).alias("turn"), *lists)
        .filter(pl.col("t_ms").list.len() > 0)
        .explode(lists)
        .filter(pl.col("phase").is_in(list(phases)))
    )

    def column(name: str, dtype: Any = pl.Float64) -> pl.Expr:
        return pl.col(name).cast(dtype) if name in lists else pl.lit(None, dtype=dtype)

    exprs = [pl.col("turn"), pl.col("t_ms").cast(pl.Float64).fill_null(np.nan), pl.col("page_load")]
    for name in CHANNELS:
        if name in present:
            side, char = column(f"{name}_on", pl.String), column(f"{name}_char", pl.Int64)
            code = side.replace_strict(_CODES, return_dtype=pl.Int8)
            # On an answer without a character is nowhere in the text.
            code = pl.when((code >= 0) & char.is_null()).then(_OFF).otherwise(code)
            seen = (pl.col(f"{name}_x_px") if f"{name}_x_px" in lists else side).is_not_null()
        else:
            code, char, seen = pl.lit(_ABSENT), pl.lit(-1), pl.lit(value=False)
        exprs += [
            code.fill_null(_ABSENT).cast(pl.Int8).alias(f"{name}_code"),
            char.fill_null(-1).cast(pl.Int64).alias(f"{name}_char"),
            seen.alias(f"{name}_recorded"),
        ]
    exprs += [
        column("camera_ok", pl.Int8).fill_null(-1).alias("camera"),
        column("mouse_idle_ms").fill_null(np.nan).alias("idle_ms"),
        *(column(c).fill_null(np.nan).alias(c) for c in (*SCROLL_COLUMNS, *VISIBLE_COLUMNS)),
    ]
    try:
        return flat.select(exprs).collect()
    except pl.exceptions.InvalidOperationError as error:
        raise DataError(
            f"a tick column holds a value it cannot have: {error}. Expected gaze_on and mouse_on "
            "to be 'none', 'a', 'b' or null, and numbers elsewhere."
        ) from error


def _check_lengths(rows: pl.DataFrame, lists: Sequence[str]) -> None:
    wrong = [name for name in lists if not isinstance(rows.schema[name], pl.List)]
    if wrong:
        raise DataError(
            f"column {wrong[0]!r} is {rows.schema[wrong[0]]}; expected a list per turn. Compute "
            "features from the `pairwise` or `pointwise` config, not from single ticks."
        )
    length = rows["t_ms"].list.len().fill_null(0)
    for name in lists:
        other = rows[name].list.len().fill_null(0)
        if (other != length).any():
            row = int((other != length).arg_max() or 0)
            raise DataError(
                f"query {rows['query_id'][row]}: {other[row]} values in {name!r} and {length[row]} "
                "in 't_ms'; the ticks of a turn are parallel lists of equal length."
            )


def _check_order(rows: pl.DataFrame, turn: IntArray, t_us: IntArray, fresh: BoolArray) -> None:
    back = np.flatnonzero((np.diff(t_us) < 0) & ~fresh[1:])
    if back.size:
        query = rows["query_id"][int(turn[back[0]])]
        raise DataError(
            f"query {query}: t_ms runs backwards from {t_us[back[0]] / _US} to "
            f"{t_us[back[0] + 1] / _US} within a page load; sort its ticks by time."
        )


def _check_positions(
    rows: pl.DataFrame, name: str, slot: IntArray, char: IntArray, answers: Answers
) -> None:
    bad = np.flatnonzero((char < 0) | (char >= answers.chars.ravel()[slot]))
    if bad.size:
        at = slot[bad[0]]
        side = SIDES[at % 2]
        query = rows["query_id"][int(at // 2)]
        raise DataError(
            f"query {query}: {name}_char is {char[bad[0]]} on answer {side}, which has "
            f"{answers.chars.ravel()[at]} characters; expected an index into the stored answer. "
            "Check that ticks and texts belong together."
        )


def _time_to_next(t_us: IntArray, stretch: IntArray) -> IntArray:
    """Return the capped time to the next tick of the same stretch; 0 for the last."""
    out = np.zeros(len(t_us), dtype=np.int64)
    cap = int(TICK_CAP_MS * _US)
    out[:-1] = np.where(stretch[1:] == stretch[:-1], np.minimum(np.diff(t_us), cap), 0)
    return out


def _visits(slot: IntArray, stretch: IntArray, t_us: IntArray) -> IntArray:
    begins = np.ones(len(slot), dtype=bool)
    begins[1:] = (
        (slot[1:] != slot[:-1])
        | (stretch[1:] != stretch[:-1])
        | (np.diff(t_us) > VISIT_GAP_MS * _US)
    )
    return np.cumsum(begins) - 1


def _per_turn(values: IntArray, turn: IntArray, n_turns: int) -> IntArray:
    # Whole microseconds stay exact in a double for 285 years.
    return np.bincount(turn, weights=values, minlength=n_turns).astype(np.int64)
