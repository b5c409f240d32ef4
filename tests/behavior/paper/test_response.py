"""The paper's block of an answer, computed by hand."""

from __future__ import annotations

import pytest

from ifllm_hf.behavior.paper.response import RESPONSE_NAMES, response_block
from tests.helpers.paper_samples import OFF, matched


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
