"""How a channel moves through an answer: backtracking, velocity and its changes.

Steps are taken between successive ticks of one visit. They are measured in characters of the text,
not in pixels: a step to the next line counts as one line of characters.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ifllm_hf.behavior.declaration import (
    BoolArray,
    Feature,
    FloatArray,
    IntArray,
    Values,
    per_channel,
    ratio,
)
from ifllm_hf.behavior.quantities import CHARS, CHARS_PER_S, NUMBER, SHARE
from ifllm_hf.behavior.reading_ticks import ChannelTicks

REGRESSION_CHARS = 10
"""A step back by more than this is a regression: more than a word, less than a line."""

_back = partial(per_channel, source="Rayner 1998, eye movements in reading (regressions)")
_speed = partial(per_channel, source="Guo & Agichtein 2012, beyond dwell time (cursor speed)")

SCANPATH: tuple[Feature, ...] = (
    *_back("regressions", f"steps back by more than {REGRESSION_CHARS} characters", *NUMBER),
    *_back("regression_share", "regressions / steps", *SHARE),
    *_back("regression_chars_mean", "mean length of a regression", *CHARS),
    *_back("regression_time_share", "time of the ticks that regressions led to / dwell_ms", *SHARE),
    *_back(
        "reread_share",
        f"dwell more than {REGRESSION_CHARS} characters before the furthest one so far / dwell_ms",
        *SHARE,
    ),
    *_speed("speed_chars_per_s", "Σ |step| / Σ its time", *CHARS_PER_S),
    *_speed(
        "speed_sd_chars_per_s", "standard deviation of |step| / its time over steps", *CHARS_PER_S
    ),
    *_speed(
        "speed_change_chars_per_s",
        "mean |v - previous v| over steps of a visit, v = step / its time, signed",
        *CHARS_PER_S,
    ),
    *_speed("forward_share", "steps forward / steps that move", *SHARE),
)


def scanpath(channel: ChannelTicks) -> Values:
    """Compute the features of `SCANPATH`."""
    moves = channel.moves
    slot = channel.slot[moves]
    step = _steps(channel)
    length = np.abs(step)
    seconds = (channel.t_us[moves] - channel.t_us[moves - 1]) / 1e6
    timed = seconds > 0
    velocity = step[timed] / seconds[timed]
    back = step < -REGRESSION_CHARS
    time = channel.by_slot(channel.time_us)
    regressions = channel.by_slot(back, of=slot)
    forward = channel.by_slot(step > 0, of=slot)
    return {
        "regressions": regressions,
        "regression_share": ratio(regressions, channel.by_slot(of=slot)),
        "regression_chars_mean": ratio(channel.by_slot(length * back, of=slot), regressions),
        "regression_time_share": ratio(
            channel.by_slot(channel.time_us[moves] * back, of=slot), time
        ),
        "reread_share": ratio(channel.by_slot(channel.time_us * _behind(channel)), time),
        "speed_chars_per_s": ratio(
            channel.by_slot(length * timed, of=slot), channel.by_slot(seconds, of=slot)
        ),
        "speed_sd_chars_per_s": _sd(channel, np.abs(velocity), moves[timed]),
        "speed_change_chars_per_s": _change(channel, velocity, moves[timed]),
        "forward_share": ratio(forward, channel.by_slot(step != 0, of=slot)),
    }


def regressive_ticks(channel: ChannelTicks) -> IntArray:
    """Return the indices of the ticks that a regression led to."""
    return channel.moves[_steps(channel) < -REGRESSION_CHARS]


def _steps(channel: ChannelTicks) -> IntArray:
    """Return how far each of `channel.moves` went, in characters."""
    moves = channel.moves
    return channel.char[moves] - channel.char[moves - 1]


def _behind(channel: ChannelTicks) -> BoolArray:
    """Tell which ticks lie behind the furthest character that the answer was read to so far."""
    order = np.argsort(channel.slot, kind="stable")
    # A running maximum that starts anew with every answer: each one lies above the one before.
    above = channel.slot[order] * (int(channel.char.max(initial=0)) + 1)
    furthest = np.maximum.accumulate(channel.char[order] + above) - above
    behind = np.zeros(len(order), dtype=bool)
    behind[order] = channel.char[order] < furthest - REGRESSION_CHARS
    return behind


def _sd(channel: ChannelTicks, speed: FloatArray, ticks: IntArray) -> FloatArray:
    slot = channel.slot[ticks]
    count = channel.by_slot(of=slot)
    mean = ratio(channel.by_slot(speed, of=slot), count)
    off = (speed - mean.ravel()[slot]) ** 2
    return np.sqrt(ratio(channel.by_slot(off, of=slot), count))


def _change(channel: ChannelTicks, velocity: FloatArray, ticks: IntArray) -> FloatArray:
    same = np.diff(channel.visit[ticks]) == 0
    slot = channel.slot[ticks][1:][same]
    change = np.abs(np.diff(velocity))[same]
    return ratio(channel.by_slot(change, of=slot), channel.by_slot(of=slot))
