"""The paper's formulas on cases small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.behavior.paper.counters import question_metrics
from ifllm_hf.behavior.paper.matching import (
    BEFORE_ANY,
    PLACEHOLDER,
    PROMPT,
    UNMATCHED,
    MatchedFile,
    first_rows,
    flatten,
    found_near,
    locate,
    match_files,
)
from ifllm_hf.behavior.paper.phases import (
    PAIRWISE_NAMES,
    POINTWISE_NAMES,
    capped_ratio,
    pairwise_cross,
    pairwise_phases,
    pointwise_cross,
    pointwise_phases,
)
from ifllm_hf.behavior.paper.response import RESPONSE_NAMES, response_block
from ifllm_hf.data.raw.samples import Samples
from ifllm_hf.errors import DataError

OFF = -5  # a caret that stands for "off the answer" in `matched`


def matched(*rows: tuple[float, int, int]) -> MatchedFile:
    """Build a matched file from (page_ms, label, caret), `OFF` as caret = off the answer."""
    t = np.array([r[0] for r in rows], dtype=np.float64)
    label = np.array([r[1] for r in rows], dtype=np.int64)
    caret = np.array([r[2] for r in rows], dtype=np.int64)
    on = caret != OFF
    return MatchedFile(
        page_ms=t,
        caret=np.where(on, caret, -1),
        on=on,
        inside=on,
        label=label,
        question=np.where(on & (label > 0), label, 0),
        green=np.ones(len(t), dtype=np.bool_),
    )


def recorded(*rows: tuple[bool, str, int]) -> Samples:
    """Build samples from (on the answer, window, caret), one every 100 ms."""
    n = len(rows)
    position = np.array([5.0 if on else -1.0 for on, _, _ in rows])
    t = 100.0 * np.arange(n)
    windows = pl.Series([w for _, w, _ in rows], dtype=pl.String)
    caret = np.array([c for _, _, c in rows], dtype=np.int32)
    return Samples(position, position, windows, caret, t, np.ones(n, dtype=np.int8), t + 1e12)


# Matching


def test_a_window_is_found_within_fifteen_characters_of_its_caret() -> None:
    text = "0123456789" * 5
    assert found_near("01234", text, 25) and found_near("56789", text, 25)
    assert not found_near("X", text, 25)
    assert found_near("0123456789", text, 4)
    assert found_near("34567", "abcdefghij34567", 25)
    assert not found_near("34567", "abcdefghij34567", 26)


def test_without_a_caret_the_first_fourteen_characters_are_looked_at() -> None:
    text = "abcdefghijklmnopq"
    assert found_near("jklmn", text, -1)
    assert not found_near("klmno", text, -1)


def test_line_ends_count_as_spaces_on_both_sides() -> None:
    assert flatten("a\r\nb\n") == "a  b "
    assert locate(["one two", "one\ntwo"], [4, 4], ["one\ntwo"]) == ([1, 1], [False, False])


def test_the_first_question_asked_wins_and_empty_answers_never_match() -> None:
    questions, on_prompt = locate(["same", "", "other"], [3, 3, 3], ["", "same text", "same text"])
    assert questions == [2, 0, 0]
    assert on_prompt == [False, True, False]


def test_placeholder_and_answer_are_found_independently() -> None:
    questions, on_prompt = locate(["your question"], [15], [PLACEHOLDER])
    assert questions == [1] and on_prompt == [True]


def test_labels_carry_on_off_the_answer_but_not_from_placeholder_or_unmatched() -> None:
    samples = recorded(
        (False, "", -1),
        (True, "wait patiently", 45),
        (False, "", -1),
        (True, "first answer", 6),
        (False, "", -1),
        (True, "Next Step", 3),
        (False, "", -1),
        (True, "", -1),
        (True, "second one", 6),
        (False, "", -1),
    )
    (file,) = match_files([("w/1, gaze a", samples)], ["the first answer", "a second one"])
    assert file.label.tolist() == [
        BEFORE_ANY, PROMPT, BEFORE_ANY, 1, 1, UNMATCHED, 1, PROMPT, 2, 2,
    ]  # fmt: skip
    assert file.question.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 2, 0]


def test_rows_without_a_time_are_dropped_after_they_took_part_in_matching() -> None:
    samples = recorded((True, "an answer", 4), (False, "", -1))
    late = np.array([np.nan, 100.0])
    broken = Samples(
        samples.x, samples.y, samples.window, samples.caret, late, samples.camera, late
    )
    (file,) = match_files([("w/1, gaze a", broken)], ["an answer"])
    assert file.label.tolist() == [1]


@pytest.mark.parametrize("window", [None, pl.Series([None, None], dtype=pl.String)])
def test_samples_without_windows_are_refused(window: pl.Series | None) -> None:
    s = recorded((True, "", 1), (True, "", 2))
    bare = Samples(s.x, s.y, window, s.caret, s.page_ms, s.camera, s.epoch_ms)
    with pytest.raises(DataError, match="w/1, gaze a: no text windows"):
        match_files([("w/1, gaze a", bare)], ["answer"])


def test_empty_files_match_to_nothing() -> None:
    (file,) = match_files([("w/1, gaze a", recorded())], ["answer"])
    assert len(file.label) == 0 and first_rows(file.label) == {}


ROW = st.tuples(st.booleans(), st.text("ab \n", max_size=3), st.integers(-1, 30))


@given(
    st.lists(ROW, max_size=12),
    st.lists(ROW, max_size=12),
    st.lists(st.text("ab \n", max_size=25), max_size=3),
)
def test_matching_equals_the_rule_row_by_row(
    gaze: list[tuple[bool, str, int]],
    mouse: list[tuple[bool, str, int]],
    answers: list[str],
) -> None:
    files = [("gaze", recorded(*gaze)), ("mouse", recorded(*mouse))]
    for rows, file in zip((gaze, mouse), match_files(files, answers), strict=True):
        last, expected = -2, []
        for on, raw, caret in rows:
            window = raw.strip().replace("\n", " ")
            near = [
                n
                for n, text in enumerate(answers, start=1)
                if text and found_near(window, flatten(text), caret)
            ]
            if not on:
                expected.append(last)
            elif found_near(window, PLACEHOLDER, caret):
                expected.append(-1)
            elif near:
                last = near[0]
                expected.append(last)
            else:
                expected.append(0)
        assert file.label.tolist() == expected


# Response block


def test_response_block_by_hand() -> None:
    file = matched(
        (0, 1, 10), (500, 1, 20), (600, 2, 99), (1000, 1, OFF), (2500, 1, 30), (4000, 1, 40)
    )
    block = response_block(file, 1, 100)
    assert tuple(block) == RESPONSE_NAMES and len(block) == 27
    assert block["data_points"] == 5
    assert block["overall_attention_ratio"] == pytest.approx(0.8)
    assert block["focused_engagement_time"] == 2500  # 500 + 1000 + 1000: steps are capped
    assert block["focused_engagement_ratio"] == pytest.approx(0.625)
    assert block["normalized_avg_char_position"] == pytest.approx(0.25)
    assert block["normalized_char_position_variance"] == pytest.approx(0.05 / 3)
    assert block["reading_completion_ratio"] == pytest.approx(0.4)
    # Windows of 200 ms; the last row, at the very end, is in none.
    windows = {name: v for name, v in block.items() if name.startswith("window") and v}
    assert windows == pytest.approx({"window_000": 0.1, "window_002": 0.2, "window_012": 0.3})


def test_one_reading_row_has_a_position_and_no_duration() -> None:
    block = response_block(matched((7, 1, 30), (9, 1, OFF)), 1, 60)
    nonzero = {name: value for name, value in block.items() if value}
    assert nonzero == {
        "data_points": 2,
        "overall_attention_ratio": 0.5,
        "normalized_avg_char_position": 0.5,
        "reading_completion_ratio": 0.5,
    }


def test_completion_is_at_most_one_and_a_resting_caret_has_no_variance() -> None:
    block = response_block(matched(*((i * 70.0, 1, 333) for i in range(50))), 1, 331)
    assert block["reading_completion_ratio"] == 1
    assert block["normalized_char_position_variance"] == 0
    assert block["window_000"] == pytest.approx(333 / 331)


@pytest.mark.parametrize(("number", "length"), [(2, 10), (1, 0), (0, 10)])
def test_no_rows_no_answer_or_no_time_gives_zeros(number: int, length: int) -> None:
    assert set(response_block(matched((0, 1, 1), (5, 0, 2)), number, length).values()) == {0.0}


# Phases, pointwise


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


# Phases, pairwise

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


# Metrics


def test_metrics_by_hand() -> None:
    gaze = matched(
        (0, -2, OFF), (10, 1, 30), (20, 1, OFF), (30, 0, 900), (40, 2, 8), (50, 1, 31), (60, 2, OFF)
    )
    mouse = matched((0, -2, OFF), (10, 0, 5))
    out = question_metrics({("gaze", "a"): gaze, ("mouse", "a"): mouse}, {"a": [60, 40, 99]})
    assert set(out) == {1, 2}  # question 3 was never matched
    assert out[1] == {
        "camera_green": 3,
        "gaze_total_entries_left": 3,
        "gaze_total_entries_right": 0,
        "gaze_onscreen_points_left": 2,
        "gaze_onscreen_points_right": 0,
        "gaze_max_idx_left": 900,
        "gaze_max_idx_right": -1,
        "mouse_total_entries_left": 0,
        "mouse_total_entries_right": 0,
        "mouse_onscreen_points_left": 0,
        "mouse_onscreen_points_right": 0,
        "mouse_max_idx_left": -1,
        "mouse_max_idx_right": -1,
        "response_length_left": 60,
        "response_length_right": -1,
        "gaze_max_idx_ratio_left": 15,
        "gaze_max_idx_ratio_right": 0,
        "mouse_max_idx_ratio_left": -1 / 60,
        "mouse_max_idx_ratio_right": 0,
        "camera_green_ratio": 1,
    }
    # From 40 on all is question 2's, the look back at question 1 included.
    assert out[2]["gaze_total_entries_left"] == 3 and out[2]["gaze_max_idx_left"] == 31


def test_both_gaze_files_count_for_the_camera() -> None:
    file = matched((0, 1, 3), (10, 1, OFF))
    files = {(c, s): file for c in ("gaze", "mouse") for s in ("a", "b")}
    values = question_metrics(files, {"a": [5], "b": [7]})[1]
    assert values["camera_green"] == 4 and values["camera_green_ratio"] == 1
    assert values["response_length_right"] == 7
