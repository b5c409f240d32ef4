"""What moved the lead of an answer, in words: at most four sentences, the largest part first."""

from __future__ import annotations

import numpy as np

from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.explain.evidence_parts import TENTHS, EvidenceExplanation

MOST = 4
LEAST_POINTS = 0.5
_CHANNELS = (("The mouse", "stayed", "was"), ("The eyes", "rested", "were"))
_STRETCHES = (
    ("the last tenth of reading", slice(TENTHS - 1, TENTHS)),
    ("the first nine tenths of reading", slice(0, TENTHS - 1)),
)
_ALONE = 0.1
"""An answer had a stretch for itself if the other got at most this share of both their times."""


def in_words(explained: EvidenceExplanation) -> list[str]:
    """Say what moved the lead most.

    A sentence ends with its points: by how many percentage points the chance that an answer is
    preferred, 1 / (1 + exp(-lead)) for b, is higher with this part of the lead than without it.
    Parts are the length, mouse and eyes in the last tenth of reading and before it, the reader's
    habit, and the rest of the model. What makes less than half a point is not said.

    Returns:
        Such as "The mouse stayed on B during the last tenth of reading: +8 points for B".
    """
    parts = [(_of_length(explained.chars), explained.length)]
    for channel, named in enumerate(_CHANNELS):
        for stretch, tenths in _STRETCHES:
            moved = explained.tenths[tenths, channel].sum(axis=0)
            on_ms = explained.on_ms[tenths, channel].sum(axis=0)
            whole_ms = explained.reading_ms * (tenths.stop - tenths.start) / TENTHS
            text = _of_channel(named, stretch, moved, on_ms, whole_ms)
            parts.append((text, float(moved.sum())))
    parts += [
        ("The reader's habit in earlier turns, taken off", explained.habit),
        ("All else that the model reads, the text first of all", explained.rest),
    ]
    lead = explained.lead
    without = sigmoid(lead - np.array([part for _, part in parts]))
    points = (100 * (sigmoid(np.array(lead)) - without)).tolist()
    said = [
        (abs(n), f"{text}: +{_number(abs(n))} for {'B' if n > 0 else 'A'}")
        for (text, _), n in zip(parts, points, strict=True)
        if abs(n) >= LEAST_POINTS
    ]
    return [text for _, text in sorted(said, key=lambda one: -one[0])[:MOST]]


def _of_length(chars: tuple[int, int]) -> str:
    a, b = chars
    longer = "B" if b > a else "A"
    return f"{longer} is longer ({max(chars):,} against {min(chars):,} characters)"


def _of_channel(
    named: tuple[str, str, str], stretch: str, moved: FloatArray, on_ms: FloatArray, whole_ms: float
) -> str:
    """Say where mouse or eyes were, beginning with the answer on which they moved more."""
    who, rested, was = named
    this = int(abs(moved[1]) >= abs(moved[0]))
    name, other = ("A", "B")[this], ("A", "B")[1 - this]
    this_ms, other_ms = float(on_ms[this]), float(on_ms[1 - this])
    spent = f"{who} {was} on {name} for {this_ms / 1000:.1f} s"
    if other_ms > _ALONE * (this_ms + other_ms):
        return f"{spent} and on {other} for {other_ms / 1000:.1f} s of {stretch}"
    if this_ms < whole_ms / 2:
        return f"{spent} of {stretch}"
    return f"{who} {rested} on {name} during {stretch}"


def _number(points: float) -> str:
    whole = int(points + 0.5)
    return f"{whole} point{'' if whole == 1 else 's'}"
