"""The paper's phases, computed by hand."""

from __future__ import annotations

import pytest

from ifllm_hf.behavior.paper.phases import (
    PAIRWISE_NAMES,
    POINTWISE_NAMES,
    capped_ratio,
    pairwise_cross,
    pairwise_phases,
    pointwise_cross,
    pointwise_phases,
)
from tests.helpers.paper_samples import OFF, matched


def test_pointwise_phases_by_hand() -> None:
    file = matched(
        (0, -2, OFF), (1000, -1, -1),                 # before the first answer
        (2000, 1, 10), (3000, 1, OFF), (4000, 1, 50),  # reading answer 1
        (5000, 0, 80), (6000, 1, OFF),                 # a button, then away
        (8000, 2, 5), (9000, 2, 60), (10000, 2, OFF),  # reading answer 2
    )  # fmt: skip
    phases = pointwise_phases(file)
    assert set(phases) == {1, 2} and set(phases[1]) == set(POINTWISE_NAMES)
    one, two = phases[1], phases[2]
    # Question 1: composing [0, 2000), reviewing [2000, 4000].
    assert (one["composing_duration_s"], one["reviewing_duration_s"]) == (2, 2)
    assert one["reviewing_pct"] == one["composing_pct"] == 50
    assert one["max_char_position_reached"] == 50
    assert one["reviewing_active_ratio"] == pytest.approx(2 / 3)
    assert one["composing_active_ratio"] == 0.5
    assert one["composing_thinking_ratio"] == 0.5  # on the answer, no caret
    assert one["composing_lookback_ratio"] == 0
    assert one["reviewing_composing_duration_ratio"] == pytest.approx(2 / 2.001)
    assert one["offscreen_increase"] == pytest.approx(0.5 - 1 / 3)
    assert one["offscreen_time_reviewing_s"] == pytest.approx(2 / 3)
    # Question 2: composing from the last reading of 1, [4000, 8000); reviewing to the file's end.
    assert (two["composing_duration_s"], two["reviewing_duration_s"]) == (4, 2)
    assert two["composing_lookback_ratio"] == pytest.approx(2 / 3)  # rows at 4000 and 5000
    assert two["lookback_time_s"] == pytest.approx(8 / 3)
    assert two["composing_reviewing_activity_diff"] == pytest.approx(0)
    assert two["reviewing_pct"] == pytest.approx(100 / 3)


def test_a_question_without_reading_keeps_its_place_in_the_order() -> None:
    file = matched((0, 1, -1), (1000, 2, 5), (2000, 2, 6), (3000, 2, OFF))
    phases = pointwise_phases(file)
    assert set(phases) == {2}
    # Not first in the order, and the one before was skipped: composing is empty.
    assert phases[2]["composing_duration_s"] == 0
    assert phases[2]["reviewing_duration_s"] == 2


def test_an_earlier_question_read_again_ends_composing_at_its_last_row_before() -> None:
    file = matched((0, 1, 1), (1000, 1, 2), (3000, 2, 3), (4000, 1, 4), (5000, 2, 5))
    phases = pointwise_phases(file)
    assert phases[2]["composing_duration_s"] == 2  # from 1000, not from 4000
    assert phases[1]["reviewing_duration_s"] == 4  # 0 to 4000, through question 2


def test_pointwise_cross_ratios() -> None:
    gaze = dict.fromkeys(POINTWISE_NAMES, 1.0)
    mouse = dict.fromkeys(POINTWISE_NAMES, 0.0)
    assert set(pointwise_cross(gaze, mouse).values()) == {100.0}  # 1 / 0.001, capped
    assert set(pointwise_cross(mouse, gaze).values()) == {0.0}
    assert capped_ratio(1, 0.999) == pytest.approx(1)


LEFT = matched(
    (0, -1, -1), (1000, 1, 10), (1500, 1, 20), (4000, 1, OFF), (5000, 1, OFF),
    (6000, -1, -1), (6400, -1, -1), (8400, -1, -1), (10000, 1, OFF),
)  # fmt: skip
RIGHT = matched(
    (0, -2, OFF), (1000, -2, OFF), (1500, -2, OFF), (4000, 1, 7), (5000, 1, 9),
    (6000, 1, OFF), (6400, 1, OFF), (8400, 1, OFF), (10000, 1, OFF),
)  # fmt: skip


def test_pairwise_phases_by_hand() -> None:
    values = pairwise_phases(LEFT, RIGHT)
    assert set(values) == set(PAIRWISE_NAMES) and len(PAIRWISE_NAMES) == 28
    # The last row with a caret is at 5000: reviewing 5 s, composing 5 s.
    assert values["composing_duration_s"] == 5 and values["composing_pct"] == 50
    assert values["left_reviewing_engaged_time_s"] == 1.5  # 1000 (capped) + 500
    assert values["left_reviewing_engaged_pct"] == pytest.approx(15)
    assert values["left_reviewing_active_time_ratio"] == pytest.approx(0.3)
    assert values["left_reviewing_onscreen_ratio"] == pytest.approx(3 / 4)
    assert values["left_reviewing_entries"] == 3
    assert values["left_max_char_position_reached"] == 20
    assert values["left_composing_lookback_time_s"] == pytest.approx(1.4)  # 400 + 1000 (capped)
    assert values["left_composing_lookback_ratio"] == pytest.approx(0.28)
    # The row at the boundary itself belongs to composing.
    assert values["right_reviewing_entries"] == 1
    assert values["right_max_char_position_reached"] == 7
    assert values["right_reviewing_engaged_time_s"] == 0
    assert values["comparison_reviewing_time_ratio"] == 100
    assert values["comparison_reviewing_time_diff"] == 1.5
    assert values["comparison_reviewing_activity_diff"] == pytest.approx(0.3)
    # Lookback is compared in seconds, not as a share.
    assert values["comparison_composing_lookback_diff"] == pytest.approx(1.4)
    assert values["comparison_which_side_longer_reviewing"] == 1
    assert values["comparison_which_side_read_further"] == 1


def test_swapping_the_sides_mirrors_the_pairwise_phases() -> None:
    there, back = pairwise_phases(LEFT, RIGHT), pairwise_phases(RIGHT, LEFT)
    for name in PAIRWISE_NAMES:
        if name.startswith("left_"):
            assert there[name] == back["right_" + name.removeprefix("left_")]
        elif name.endswith("_diff"):
            assert there[name] == -back[name]
        elif "which_side" in name:
            assert {there[name], back[name]} == {1.0, -1.0}
        elif not name.startswith(("right_", "comparison_")):
            assert there[name] == back[name]


def test_a_tie_is_minus_one_and_no_reading_at_all_is_zero() -> None:
    tie = pairwise_phases(LEFT, LEFT)
    assert tie["comparison_which_side_longer_reviewing"] == -1
    assert tie["comparison_which_side_read_further"] == -1
    unread = pairwise_phases(matched((0, 1, OFF), (9, 0, 3)), matched((0, 1, OFF), (9, -1, -1)))
    assert set(unread.values()) == {0.0}


def test_agreement_needs_both_ratios_on_one_side_of_one() -> None:
    left, right = pairwise_phases(LEFT, RIGHT), pairwise_phases(RIGHT, LEFT)
    name = "cross_modality_preference_agreement_gaze_mouse"
    assert pairwise_cross(left, left)[name] == 1
    assert pairwise_cross(right, right)[name] == 1
    assert pairwise_cross(left, right)[name] == -1
