"""What every token and every tick says, seen from the answer that is scored.

Values are in their own units here and 0 where nothing was observed; the feature extractor
normalises them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .behavior_ticks import ABSENT, CHANNELS, OFF, BehaviorTicks, FloatArray, IntArray
from .token_alignment import AnswerTokens

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]

REGRESSION_CHARS = 10
"""A step back by more than this within a visit is a regression, as in `ifllm_hf.behavior`."""
TOKEN_MEASURES = ("dwell_ms", "visits", "first_ms", "last_ms", "regressions")
TICK_MEASURES = ("on_this", "on_other", "on_neither", "char_share")
END = "until_end_ms"


@dataclass(frozen=True)
class Rows:
    """Which turn and side each output row is about; one row per answer.

    Attributes:
        turn: `[rows]`.
        side: `[rows]` 0 for answer a, 1 for b, ...
        chars: `[rows]` code points of the answer; 0 where unknown.
        of: `[turns, sides]` the row of an answer; -1 where there is none.
    """

    turn: IntArray
    side: IntArray
    chars: IntArray
    of: IntArray


def list_rows(answer_chars: Sequence[Sequence[int | None]]) -> Rows:
    """Number the answers of all turns, turn after turn.

    Args:
        answer_chars: Per turn, the length of each answer; None where it is unknown.
    """
    sides = [len(chars) for chars in answer_chars]
    turn = np.repeat(np.arange(len(sides)), sides)
    side = np.array([s for n in sides for s in range(n)], dtype=np.int64)
    of = np.full((len(sides), max(sides, default=1)), -1, dtype=np.int64)
    of[turn, side] = np.arange(len(turn))
    chars = np.array([n or 0 for chars in answer_chars for n in chars], dtype=np.int64)
    return Rows(turn, side, chars, of)


def token_arrays(
    ticks: BehaviorTicks, rows: Rows, tokens: AnswerTokens, names: Sequence[str]
) -> tuple[Float32Array, BoolArray, IntArray]:
    """Sum up what happened on each token.

    Per channel c (gaze, mouse): `{c}_dwell_ms` time on the token; `{c}_visits` stays on it;
    `{c}_first_ms`, `{c}_last_ms` time of the first and last tick on it since the first tick of the
    turn, observed only where there is one; `{c}_regressions` steps back by more than
    `REGRESSION_CHARS` characters that ended on it.

    Returns:
        `[names, all tokens]` values and whether they were observed, row after row, and
        `[rows + 1]` where each row begins.
    """
    sizes = np.array([len(ids) for ids in tokens.input_ids], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    of_answer = np.zeros(start[-1], dtype=bool)
    for row, (first, count) in enumerate(zip(tokens.first, tokens.count, strict=True)):
        of_answer[start[row] + first : start[row] + first + count] = True
    values = np.zeros((len(names), start[-1]), dtype=np.float32)
    observed = np.zeros((len(names), start[-1]), dtype=bool)
    for channel in CHANNELS:
        columns = {
            measure: names.index(f"{channel}_{measure}")
            for measure in TOKEN_MEASURES
            if f"{channel}_{measure}" in names
        }
        recorded = np.zeros(len(ticks.start) - 1, dtype=bool)
        recorded[ticks.turn[ticks.channels[channel].code != ABSENT]] = True
        here = of_answer & np.repeat(recorded[rows.turn], sizes)
        measured = _measure(ticks, channel, rows, tokens, start) if columns else {}
        for measure, column in columns.items():
            value = measured[measure]
            np.logical_and(here, ~np.isnan(value), out=observed[column])
            values[column] = np.where(observed[column], value, 0.0)
    return values, observed, start


def _measure(
    ticks: BehaviorTicks, channel: str, rows: Rows, tokens: AnswerTokens, start: IntArray
) -> dict[str, FloatArray]:
    """Return each measure of a channel for all tokens; NaN where there is none."""
    did = ticks.channels[channel]
    on = np.flatnonzero(did.code >= 0)
    row = rows.of[ticks.turn[on], did.code[on]]
    char, visit, time = did.char[on], did.visit[on], ticks.time_ms[on]
    place = tokens.locate(row, char)
    key = np.where(place >= 0, start[row] + place, -1)
    same_visit = np.zeros(len(on), dtype=bool)
    same_visit[1:] = visit[1:] == visit[:-1]
    arrives = ~same_visit
    arrives[1:] |= key[1:] != key[:-1]
    back = np.zeros(len(on), dtype=bool)
    back[1:] = same_visit[1:] & (np.diff(char) < -REGRESSION_CHARS)

    kept = key >= 0
    key, time, arrives, back = key[kept], time[kept], arrives[kept], back[kept]
    total = int(start[-1])

    def add_up(weights: FloatArray | BoolArray) -> FloatArray:
        return np.bincount(key, weights=weights, minlength=total).astype(np.float64)

    first, last = np.full(total, np.nan), np.full(total, np.nan)
    first[key[::-1]] = time[::-1]  # of repeated indices, the last assignment stays
    last[key] = time
    return {
        "dwell_ms": add_up(did.dwell_ms[on][kept]),
        "visits": add_up(arrives),
        "first_ms": first,
        "last_ms": last,
        "regressions": add_up(back),
    }


def columns_of(channel: str) -> tuple[str, ...]:
    """Return the tick columns behind a channel: `x_this` and `x_other` read `x_a` and `x_b`."""
    for end in ("_this", "_other"):
        if channel.endswith(end):
            stem = channel.removesuffix(end)
            return f"{stem}_a", f"{stem}_b"
    return (channel,)


def tick_arrays(
    ticks: BehaviorTicks,
    rows: Rows,
    names: Sequence[str],
    max_ticks: int,
    step_ms: float | None = None,
) -> tuple[Float32Array, BoolArray, FloatArray, IntArray]:
    """Write the ticks of each answer's turn as seen from that answer.

    Per channel c: `{c}_on_this`, `{c}_on_other`, `{c}_on_neither` (0 or 1) and `{c}_char_share`
    (place in the answer, observed only on it); `until_end_ms`; other names are columns of
    `ticks.extra`, and `x_this`, `x_other` are its columns `x_a`, `x_b` or the other way round,
    by the answer. Where ticks are joined, a value is the mean of those observed and the time is
    that of the first.

    Args:
        ticks: The turns.
        rows: The answers.
        names: What to write, in order.
        max_ticks: Longest trajectory; a longer one is joined into so many groups of equal size.
        step_ms: Join ticks within steps of this length first; None keeps every tick.

    Returns:
        `[names, all ticks]` values and whether they were observed, `[all ticks]` time in ms since
        the first tick of the turn, and `[rows + 1]` where each row begins.
    """
    turns = len(ticks.start) - 1
    begins = _groups(ticks, max_ticks, step_ms)
    group = np.zeros(len(ticks.turn), dtype=np.int64)
    group[begins[1:]] = 1
    group = np.cumsum(group)
    per_turn = np.bincount(ticks.turn[begins], minlength=turns)
    of_turn = np.concatenate([[0], np.cumsum(per_turn)]).astype(np.int64)

    sizes = per_turn[rows.turn]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    at = np.arange(start[-1]) - np.repeat(start[:-1] - of_turn[rows.turn], sizes)
    values = np.zeros((len(names), len(at)), dtype=np.float32)
    observed = np.zeros((len(names), len(at)), dtype=bool)

    def write(name: str, total: FloatArray, count: IntArray) -> None:
        column = names.index(name)
        np.greater(count, 0, out=observed[column])
        np.divide(total, count, out=values[column], where=observed[column], casting="same_kind")

    for channel in CHANNELS:
        if any(f"{channel}_{measure}" in names for measure in TICK_MEASURES):
            seen = _look(ticks, channel, group, len(begins), rows, row, at)
            for measure, (total, count) in seen.items():
                if f"{channel}_{measure}" in names:
                    write(f"{channel}_{measure}", total, count)
    others = {END: ticks.until_end_ms, **ticks.extra}
    for name in names:
        columns = columns_of(name)
        if not all(column in others for column in columns):
            continue  # one of gaze or mouse
        totals, counts = [], []
        for column in columns:
            known = ~np.isnan(others[column])
            totals.append(np.bincount(group[known], others[column][known], len(begins)))
            counts.append(np.bincount(group[known], minlength=len(begins)))
        which = np.zeros(len(at), dtype=np.int64)
        if len(columns) == 2:
            which = rows.side[row] if name.endswith("_this") else 1 - rows.side[row]
        write(name, np.stack(totals)[which, at], np.stack(counts)[which, at])
    return values, observed, ticks.time_ms[begins][at], start


def _look(
    ticks: BehaviorTicks,
    channel: str,
    group: IntArray,
    groups: int,
    rows: Rows,
    row: IntArray,
    at: IntArray,
) -> dict[str, tuple[FloatArray, IntArray]]:
    """Return sum and number of observations of the `TICK_MEASURES`, for each group of each row."""
    did = ticks.channels[channel]
    width = rows.of.shape[1] + 2  # not recorded, on no answer, on each answer
    key = group * width + (did.code.astype(np.int64) - ABSENT)
    count = np.bincount(key, minlength=groups * width).reshape(groups, width)
    chars = np.bincount(key, did.char, groups * width).reshape(groups, width)
    neither = OFF - ABSENT
    side = rows.side[row] + neither + 1
    recorded, on_any = (count[:, first:].sum(axis=1)[at] for first in (neither, neither + 1))
    on_this = count[at, side]
    length = rows.chars[row]
    share = chars[at, side] / np.maximum(length, 1)
    return {
        "on_this": (on_this, recorded),
        "on_other": (on_any - on_this, recorded),
        "on_neither": (count[at, neither], recorded),
        "char_share": (share, np.where(length > 0, on_this, 0)),
    }


def _groups(ticks: BehaviorTicks, max_ticks: int, step_ms: float | None) -> IntArray:
    """Return the first tick of every group of ticks that are joined."""
    turn = ticks.turn
    begins = np.arange(len(turn))
    if step_ms is not None and len(turn):
        step = np.floor(ticks.time_ms / step_ms)
        fresh = np.ones(len(turn), dtype=bool)
        fresh[1:] = (turn[1:] != turn[:-1]) | (step[1:] != step[:-1])
        begins = np.flatnonzero(fresh)
    counts = np.bincount(turn[begins], minlength=len(ticks.start) - 1)
    if not (counts > max_ticks).any():
        return begins
    number = np.arange(len(begins)) - np.repeat(np.cumsum(counts) - counts, counts)
    many = np.repeat(counts, counts)
    part = np.where(many > max_ticks, number * max_ticks // many, number)
    fresh = np.ones(len(begins), dtype=bool)
    fresh[1:] = (turn[begins[1:]] != turn[begins[:-1]]) | (part[1:] != part[:-1])
    return begins[fresh]
