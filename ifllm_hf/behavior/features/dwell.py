"""Time on the answers: dwell, recency, the last third, pauses, an idle mouse."""

from __future__ import annotations

from functools import partial

import numpy as np

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import (
    PER_RESPONSE,
    Feature,
    FloatArray,
    IntArray,
    Values,
    per_channel,
    ratio,
)
from ifllm_hf.behavior.quantities import MS, NUMBER, SHARE
from ifllm_hf.behavior.reading_ticks import ChannelTicks, ReadingTicks

RECENCY_MS = {"recency_3s_ms": 3000.0, "recency_15s_ms": 15000.0}
"""Half-life by feature."""
LATE_SHARE = {"late_10pct": 0.1, "late_20pct": 0.2, "late_30pct": 0.3}
"""Half-life by feature, as a share of the turn's reading time."""
PAUSE_MS = 500.0
PAUSE_STEP_CHARS = 2
IDLE_MS = 1500.0

_PAUSE = "Guo & Agichtein 2012, beyond dwell time"

_dwell = partial(
    per_channel, source="Claypool et al. 2001, implicit interest indicators (time spent reading)"
)
_cascade = partial(
    per_channel,
    source="Shimojo et al. 2003, gaze cascade: looks gather on the choice before it is made",
)
_pause = partial(per_channel, source=_PAUSE)

DWELL: tuple[Feature, ...] = (
    *_dwell("dwell_ms", "Σ tick time on the answer", *MS),
    *_dwell("dwell_ms_per_char", "dwell_ms / characters", *MS),
    *_dwell("dwell_ms_per_word", "dwell_ms / words", *MS),
    *_dwell("dwell_ms_per_sentence", "dwell_ms / sentences", *MS),
    *_dwell("dwell_ms_per_paragraph", "dwell_ms / paragraphs", *MS),
    *_dwell("dwell_share", "dwell_ms / time the channel was recorded", *SHARE),
    *(
        feature
        for name, half in RECENCY_MS.items()
        for feature in _cascade(
            name,
            f"∫ over time on the answer of 2^(-(time to the end of reading) / {half / 1000:g} s)",
            "ms",
            0,
            half / np.log(2),
        )
    ),
    *(
        feature
        for name, half in LATE_SHARE.items()
        for feature in _cascade(
            name,
            f"∫ over time on the answer of 2^(-u / {half:g}) du, u = time to the end of reading / "
            "reading time",
            "1",
            0,
            half / float(np.log(2)),
        )
    ),
    *_cascade("last_third_ms", "time on the answer in the last third of reading", *MS),
    *_cascade("last_third_share", "last_third_ms / a third of the reading time", *SHARE),
    *_pause(
        "pauses",
        f"number of stays of at least {PAUSE_MS:.0f} ms in which no step exceeds "
        f"{PAUSE_STEP_CHARS} characters",
        *NUMBER,
    ),
    *_pause("pause_share", "time in pauses / dwell_ms", *SHARE),
    *_pause("longest_pause_ms", "longest pause; 0 without", *MS),
)

_idle = partial(Feature, source=_PAUSE, scope=PER_RESPONSE, channel="mouse")
IDLE: tuple[Feature, ...] = (
    _idle(
        "mouse_idle_ms",
        f"time on the answer with the mouse unmoved for more than {IDLE_MS:.0f} ms",
        *MS,
    ),
    _idle("mouse_idle_share", "mouse_idle_ms / dwell_ms", *SHARE),
)


def dwell(channel: ChannelTicks, answers: Answers) -> Values:
    """Compute the features of `DWELL`."""
    time = channel.dwell_ms
    reading = channel.reading_us[:, None]
    last = _last_third_ms(channel)
    return {
        "dwell_ms": time,
        "dwell_ms_per_char": ratio(time, answers.chars),
        "dwell_ms_per_word": ratio(time, answers.words),
        "dwell_ms_per_sentence": ratio(time, answers.sentences.count),
        "dwell_ms_per_paragraph": ratio(time, answers.paragraphs.count),
        "dwell_share": ratio(time, channel.recorded_us[:, None] / 1000.0),
        **{name: _recency(channel, half, 1000.0) for name, half in RECENCY_MS.items()},
        **late_shares(channel),
        "last_third_ms": last,
        "last_third_share": np.minimum(ratio(last * 3000.0, reading), 1.0),
        **_pauses(channel, time),
    }


def idle(ticks: ReadingTicks) -> Values:
    """Compute the features of `IDLE`: only ticks on an answer, so the resting place is on it."""
    mouse = ticks.channels["mouse"]
    still = ticks.idle_ms[mouse.row]
    known = mouse.by_slot(mouse.time_us * np.isfinite(still)) / 1000.0
    time = mouse.by_slot(mouse.time_us * (still > IDLE_MS)) / 1000.0
    unknown = (known == 0) & (mouse.dwell_ms > 0)
    return {
        "mouse_idle_ms": np.where(unknown, np.nan, time),
        "mouse_idle_share": ratio(time, known),
    }


def late_shares(channel: ChannelTicks) -> Values:
    """Compute the features of `LATE_SHARE`, `[turns, 2]` each."""
    whole = np.maximum(channel.reading_us, 1)[channel.slot // 2]
    return {name: _recency(channel, half, whole) for name, half in LATE_SHARE.items()}


def _recency(channel: ChannelTicks, half_life: float, unit_us: IntArray | float) -> FloatArray:
    """Integrate the weight over each tick's time, so that splitting a tick changes nothing.

    Args:
        channel: The channel.
        half_life: In units of `unit_us`.
        unit_us: How long a unit of time is, for all ticks alike or for each.
    """
    decay = np.log(2) / half_life
    left = channel.reading_us[channel.slot // 2] - channel.clock_us
    to_end, after = left / unit_us, (left - channel.time_us) / unit_us
    return channel.by_slot((np.exp(-decay * after) - np.exp(-decay * to_end)) / decay)


def _last_third_ms(channel: ChannelTicks) -> FloatArray:
    turn = channel.slot // 2
    begin = 3 * channel.clock_us
    end = begin + 3 * channel.time_us
    inside = np.maximum(end - np.maximum(begin, 2 * channel.reading_us[turn]), 0)
    return channel.by_slot(inside) / 3000.0


def _pauses(channel: ChannelTicks, dwell_ms: FloatArray) -> Values:
    stays = np.ones(len(channel.slot), dtype=bool)  # where a new stay begins
    moves = channel.moves
    stays[moves] = np.abs(channel.char[moves] - channel.char[moves - 1]) > PAUSE_STEP_CHARS
    first = np.flatnonzero(stays)
    length = np.add.reduceat(channel.time_us, first) / 1000.0 if first.size else np.empty(0)
    long = length >= PAUSE_MS
    slot, length = channel.slot[first][long], length[long]
    longest = np.zeros(dwell_ms.size)
    np.maximum.at(longest, slot, length)
    return {
        "pauses": channel.by_slot(of=slot),
        "pause_share": ratio(channel.by_slot(length, of=slot), dwell_ms),
        "longest_pause_ms": longest.reshape(-1, 2),
    }
