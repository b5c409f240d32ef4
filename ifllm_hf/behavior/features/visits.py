"""When and how often a channel comes to the answers: visits, first and last look, switches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import (
    ANTISYMMETRIC,
    SYMMETRIC,
    BoolArray,
    Feature,
    FloatArray,
    IntArray,
    Values,
    per_channel,
    ratio,
)
from ifllm_hf.behavior.quantities import INF, MS, NUMBER, SHARE, SIGN
from ifllm_hf.behavior.reading_ticks import VISIT_GAP_MS, ChannelTicks, ReadingTicks

_LOST = "WebGazer: no prediction without a face"

_each = partial(
    per_channel,
    source="Krajbich, Armel & Rangel 2010, visual fixations and choice (first and last looks)",
)
_side, _both = partial(_each, scope=ANTISYMMETRIC), partial(_each, scope=SYMMETRIC)

VISITS: tuple[Feature, ...] = (
    *_each(
        "visits",
        f"stays on the answer; left for the other one or for over {VISIT_GAP_MS:.0f} ms ends one",
        *NUMBER,
    ),
    *_each("visit_ms_mean", "dwell_ms / visits", *MS),
    *_each("first_visit_ms", "dwell in the first visit", *MS),
    *_each("first_look_ms", "reading time before the first tick on the answer", *MS),
    *_each("last_look_before_end_ms", "reading time after the last tick on the answer", *MS),
    *_side("first_side", "-1 answer a was visited first, 1 answer b", *SIGN),
    *_side("last_side", "-1 answer a was visited last, 1 answer b", *SIGN),
    *_both("switches", "times that the other answer was visited next", *NUMBER),
    *_both("switches_per_min", "switches / minutes on answers", "1/min", 0, INF),
    *_both("off_text_ms", "recorded reading time not on an answer, wherever else", *MS),
    *_both("on_text_share", "time on answers / time that the channel was recorded", *SHARE),
    *_both(
        "recorded_share", "time that the channel was recorded / reading time", *SHARE, source=_LOST
    ),
)

TIME: tuple[Feature, ...] = (
    Feature(
        "reading_ms",
        "Σ time to the next tick, at most 1 s each",
        *MS,
        "Claypool et al. 2001, implicit interest indicators (time spent reading)",
        SYMMETRIC,
        "both",
    ),
    Feature(
        "gaze_camera_lost_share",
        "time with no face in the camera / time for which that is known",
        *SHARE,
        _LOST,
        SYMMETRIC,
        "gaze",
    ),
)


def visits(channel: ChannelTicks, answers: Answers) -> Values:
    """Compute the features of `VISITS`."""
    n_turns = len(channel.recorded)
    begins = np.ones(len(channel.visit), dtype=bool)
    begins[1:] = channel.visit[1:] != channel.visit[:-1]
    first = np.flatnonzero(begins)
    slot = channel.slot[first]
    length = np.add.reduceat(channel.time_us, first) / 1000.0 if first.size else np.empty(0)
    count = channel.by_slot(of=slot)
    time = channel.dwell_ms
    begin = (channel.clock_us / 1000.0).astype(np.float64)
    end = begin + channel.time_us / 1000.0
    reading = channel.reading_us[:, None] / 1000.0

    turn, side = channel.slot // 2, channel.slot % 2
    sign = 2.0 * side - 1.0
    both = answers.exists.all(axis=1)
    switched = (turn[1:] == turn[:-1]) & (side[1:] != side[:-1])
    switches = np.bincount(turn[1:][switched], minlength=n_turns).astype(np.float64)
    on_text = time.sum(axis=1)
    recorded = channel.recorded_us / 1000.0
    return {
        "visits": count,
        "visit_ms_mean": ratio(time, count),
        "first_visit_ms": _first(length, slot, 2 * n_turns).reshape(-1, 2),
        "first_look_ms": _first(begin, channel.slot, 2 * n_turns).reshape(-1, 2),
        "last_look_before_end_ms": reading - _last(end, channel.slot, 2 * n_turns).reshape(-1, 2),
        "first_side": np.where(both, _first(sign, turn, n_turns), np.nan),
        "last_side": np.where(both, _last(sign, turn, n_turns), np.nan),
        "switches": np.where(both, switches, np.nan),
        "switches_per_min": np.where(both, ratio(switches * 60000.0, on_text), np.nan),
        "off_text_ms": recorded - on_text,
        "on_text_share": ratio(on_text, recorded),
        "recorded_share": ratio(recorded, reading[:, 0]),
    }


def time_totals(ticks: ReadingTicks) -> Values:
    """Compute the features of `TIME`."""
    n_turns = len(ticks.has_ticks)

    def total(keep: BoolArray) -> NDArray[Any]:
        return np.bincount(ticks.turn, weights=ticks.time_us * keep, minlength=n_turns)

    return {
        "reading_ms": np.where(ticks.has_ticks, ticks.reading_us / 1000.0, np.nan),
        "gaze_camera_lost_share": ratio(total(ticks.camera == 0), total(ticks.camera >= 0)),
    }


def _last(values: NDArray[Any], key: IntArray, size: int) -> FloatArray:
    """Return the last value of each key `[size]`, NaN where there is none."""
    out = np.full(size, np.nan)
    out[key] = values  # of repeated indices, the last assignment stays
    return out


def _first(values: NDArray[Any], key: IntArray, size: int) -> FloatArray:
    return _last(values[::-1], key[::-1], size)
