"""Gaze and mouse together: agreement, distance and lag, only while both are on an answer.

The mouse belongs to a gaze tick if it was sampled in the same tick (the release) or, in collected
sessions, at most `TICK_CAP_MS` before it. WebGazer trains itself on the cursor, so a moving mouse
pulls the recorded gaze towards it: agreement is an upper bound.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import (
    PER_RESPONSE,
    SYMMETRIC,
    Feature,
    FloatArray,
    IntArray,
    Values,
    ratio,
)
from ifllm_hf.behavior.quantities import CHARS, MS, SHARE, SIGN
from ifllm_hf.behavior.reading_ticks import TICK_CAP_MS, ChannelTicks, ReadingTicks

LAG_STEP_MS = 200
LAG_MAX_MS = 2000
LAG_MIN_SAMPLES = 25

_HUANG = "Huang, White & Buscher 2012, gaze and cursor alignment in web search"

_both = partial(Feature, source=_HUANG, channel="both")
AGREEMENT: tuple[Feature, ...] = (
    _both("mouse_gaze_ms", "time with gaze and mouse on an answer", *MS, scope=SYMMETRIC),
    _both(
        "mouse_gaze_agreement",
        "share of mouse_gaze_ms with both on the same answer",
        *SHARE,
        scope=SYMMETRIC,
    ),
    _both("mouse_gaze_same_ms", "time with gaze and mouse on this answer", *MS, scope=PER_RESPONSE),
    _both(
        "mouse_gaze_distance_chars",
        "mean |gaze character - mouse character| over mouse_gaze_same_ms",
        *CHARS,
        scope=PER_RESPONSE,
    ),
    _both(
        "mouse_gaze_lag_ms",
        "shift d that maximises the correlation of gaze(t) and mouse(t + d) in characters over "
        f"pairs on the same answer; {LAG_STEP_MS} ms steps up to {LAG_MAX_MS} ms, at least "
        f"{LAG_MIN_SAMPLES} pairs; positive: the mouse follows",
        "ms",
        -LAG_MAX_MS,
        LAG_MAX_MS,
        scope=SYMMETRIC,
    ),
    _both("mouse_gaze_correlation", "the correlation at mouse_gaze_lag_ms", *SIGN, scope=SYMMETRIC),
)


def agreement(ticks: ReadingTicks, answers: Answers) -> Values:
    """Compute the features of `AGREEMENT`; NaN in turns that lack a channel."""
    gaze, mouse = ticks.channels["gaze"], ticks.channels["mouse"]
    n_turns = len(gaze.recorded)
    partner = _mouse_of(ticks)[gaze.row]
    both = partner >= 0
    slot, time = gaze.slot[both], gaze.time_us[both]
    partner = partner[both]
    same = mouse.slot[partner] == slot
    together = np.bincount(slot // 2, weights=time, minlength=n_turns)
    same_ms = gaze.by_slot(time * same, of=slot) / 1000.0
    apart = np.abs(gaze.char[both] - mouse.char[partner]) * same
    distance = gaze.by_slot(time * apart, of=slot) / 1000.0
    lag, correlation = _lag(gaze, mouse)
    blank = ~(gaze.recorded & mouse.recorded)
    values = {
        "mouse_gaze_ms": together / 1000.0,
        "mouse_gaze_agreement": ratio(same_ms.sum(axis=1), together / 1000.0),
        "mouse_gaze_same_ms": same_ms,
        "mouse_gaze_distance_chars": ratio(distance, same_ms),
        "mouse_gaze_lag_ms": lag,
        "mouse_gaze_correlation": correlation,
    }
    for value in values.values():
        value[blank] = np.nan
    values["mouse_gaze_same_ms"][~answers.exists] = np.nan
    return values


def _mouse_of(ticks: ReadingTicks) -> IntArray:
    """Return `[n]` for every tick the index into the mouse's ticks on answers, -1 for none."""
    n = len(ticks.turn)
    mouse = ticks.channels["mouse"]
    on = np.full(n, -1, dtype=np.int64)
    on[mouse.row] = np.arange(len(mouse.row))
    last = np.maximum.accumulate(np.where(ticks.sampled["mouse"], np.arange(n), -1))
    there = np.maximum(last, 0)
    fresh = (
        (last >= 0)
        & (ticks.stretch[there] == ticks.stretch)
        & (ticks.t_us - ticks.t_us[there] <= TICK_CAP_MS * 1000.0)
    )
    return np.where(fresh, on[there], -1)


def _lag(gaze: ChannelTicks, mouse: ChannelTicks) -> tuple[FloatArray, FloatArray]:
    """Return per turn the best lag in ms and its correlation, NaN where there is too little."""
    n_turns = len(gaze.recorded)
    step_us = LAG_STEP_MS * 1000
    steps = -(-gaze.reading_us // step_us)
    first = np.cumsum(steps) - steps
    turn = np.repeat(np.arange(n_turns), steps)
    place = (np.arange(len(turn)) - first[turn]) * step_us
    gaze_slot, gaze_char = _sample(gaze, turn, place, nowhere=-1)
    mouse_slot, mouse_char = _sample(mouse, turn, place, nowhere=-2)
    best, best_lag = np.full(n_turns, -np.inf), np.full(n_turns, np.nan)
    reach = LAG_MAX_MS // LAG_STEP_MS
    n = len(turn)
    # From no lag outwards, so that of equal correlations the smallest lag stays.
    for lag in sorted(range(-reach, reach + 1), key=lambda d: (abs(d), -d)):
        early = slice(max(-lag, 0), max(n - max(lag, 0), 0))
        late = slice(max(lag, 0), max(n - max(-lag, 0), 0))
        # The same slot is the same answer of the same turn.
        i = np.flatnonzero(gaze_slot[early] == mouse_slot[late])
        key = gaze_slot[early][i] // 2
        r = _correlation(gaze_char[early][i], mouse_char[late][i], key, n_turns)
        better = r > best
        best[better], best_lag[better] = r[better], lag * LAG_STEP_MS
    return best_lag, np.where(np.isfinite(best), best, np.nan)


def _sample(
    channel: ChannelTicks, turn: IntArray, place_us: IntArray, nowhere: int
) -> tuple[IntArray, IntArray]:
    """Return answer and character at each place on the reading clock; answer `nowhere` if off."""
    if not len(channel.slot):
        return np.full(len(turn), nowhere, dtype=np.int64), np.zeros(len(turn), dtype=np.int64)
    span = int(channel.reading_us.max()) + 1
    begin = channel.slot // 2 * span + channel.clock_us
    key = turn * span + place_us
    at = np.maximum(np.searchsorted(begin, key, side="right") - 1, 0)
    on = (key >= begin[at]) & (key < begin[at] + channel.time_us[at])
    return np.where(on, channel.slot[at], nowhere), channel.char[at]


def _correlation(x: IntArray, y: IntArray, key: IntArray, size: int) -> FloatArray:
    """Return Pearson's correlation per key; -inf where it is undefined. Sums are exact."""

    def total(values: IntArray | None) -> FloatArray:
        return np.bincount(key, weights=values, minlength=size).astype(np.float64)

    n, sx, sy = total(None), total(x), total(y)
    vx, vy = n * total(x * x) - sx * sx, n * total(y * y) - sy * sy
    enough = (n >= LAG_MIN_SAMPLES) & (vx > 0) & (vy > 0)
    r = np.full(size, -np.inf)
    np.divide(n * total(x * y) - sx * sy, np.sqrt(vx) * np.sqrt(vy), out=r, where=enough)
    return np.where(enough, np.clip(r, -1.0, 1.0), -np.inf)
