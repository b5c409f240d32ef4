from __future__ import annotations

import math
from typing import Any

import numpy as np

from ifllm_hf.reward.explain.evidence_parts import EvidenceExplanation
from ifllm_hf.reward.explain.in_words import in_words

MOUSE, GAZE, A, B = 0, 1, 0, 1


def explained(**parts: Any) -> EvidenceExplanation:
    """100 s of reading; `tenths` and `on_s` name (tenth, channel, answer)."""
    tenths, on_ms = np.zeros((10, 2, 2)), np.zeros((10, 2, 2))
    for place, value in parts.pop("tenths", {}).items():
        tenths[place] = value
    for place, value in parts.pop("on_s", {}).items():
        on_ms[place] = 1000 * value
    named = {name: parts.pop(name, 0.0) for name in ("length", "habit", "rest")}
    mouse, gaze = tenths.sum(axis=(0, 2)).tolist()
    return EvidenceExplanation(
        lead=mouse + gaze + sum(named.values()),
        mouse=mouse,
        gaze=gaze,
        chars=parts.pop("chars", (187, 412)),
        reading_ms=parts.pop("reading_ms", 1e5),
        seconds=np.zeros((0, 2, 2)),
        tenths=tenths,
        on_ms=on_ms,
        **named,
    )


def test_a_longer_answer_is_named_with_its_points() -> None:
    part = math.log(0.59 / 0.41)
    assert in_words(explained(length=part)) == [
        "B is longer (412 against 187 characters): +9 points for B"
    ]
    assert in_words(explained(length=part, chars=(1200, 30))) == [
        "A is longer (1,200 against 30 characters): +9 points for B"
    ]


def test_points_are_the_chance_with_the_part_less_that_without() -> None:
    first, second = in_words(explained(length=2.0, habit=-0.5))
    with_both, without = 1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(0.5))
    assert first.endswith(f": +{100 * (with_both - without):.0f} points for B")
    without = 1 / (1 + math.exp(-2.0))
    assert second.startswith("The reader's habit in earlier turns, taken off")
    assert second.endswith(f": +{100 * (without - with_both):.0f} points for A")


def test_mouse_and_eyes_are_told_by_stretch_and_largest_first() -> None:
    said = in_words(
        explained(
            tenths={
                (9, MOUSE, B): 0.32,
                (2, MOUSE, A): -0.2,
                (9, GAZE, B): 0.1,
                (9, GAZE, A): -0.16,
            },
            on_s={
                (9, MOUSE, B): 9.5,
                (9, MOUSE, A): 0.1,
                (2, MOUSE, A): 8,
                (9, GAZE, A): 5.5,
                (9, GAZE, B): 3.5,
            },
        )
    )
    assert said == [
        "The mouse stayed on B during the last tenth of reading: +8 points for B",
        "The mouse was on A for 8.0 s of the first nine tenths of reading: +5 points for A",
        "The eyes were on A for 5.5 s and on B for 3.5 s of the last tenth of reading: "
        "+1 point for A",
    ]


def test_it_names_four_parts_and_nothing_below_half_a_point() -> None:
    small = 0.019  # of 1 / (1 + exp(-x)): 0.47 points
    assert in_words(explained(length=small)) == []
    everything = explained(
        length=0.5,
        habit=0.4,
        rest=0.3,
        tenths={(9, MOUSE, B): 0.2, (9, GAZE, B): 0.1},
        on_s={(9, MOUSE, B): 6, (9, GAZE, B): 6},
    )
    said = in_words(everything)
    assert [text.split()[0] for text in said] == ["B", "The", "All", "The"]
    assert said[3] == "The mouse stayed on B during the last tenth of reading: +3 points for B"


def test_without_ticks_nothing_is_said_of_them() -> None:
    assert len(in_words(explained(length=1.0, reading_ms=math.nan))) == 1
