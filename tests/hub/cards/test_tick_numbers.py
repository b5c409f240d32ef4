from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.hub.cards.tick_numbers import count_percentile, count_ticks
from tests.helpers.recorded_turns import conversation, write_ticks


def test_intervals_stay_inside_conversation_and_page_load(tmp_path: Path) -> None:
    files = write_ticks(
        tmp_path / "ifllm",
        conversation("u/1", [0, 50, 100, 1700], file_row=[0, 2, 1, 3]),
        conversation("u/3", [5000, 5075, 10, 85], page_load=[0, 0, 1, 1]),
    )
    numbers = count_ticks(files)
    assert (numbers.ticks, numbers.conversations) == (8, 2)
    assert numbers.intervals.sum() == 5
    assert [numbers.interval_percentile(p) for p in (1, 50, 99)] == [50.0, 75.0, 1600.0]
    assert sorted(numbers.median_intervals_ms) == [50.0, 75.0]
    assert (numbers.gaps, numbers.reloads, numbers.reordered) == (1, 1, 1)
    assert numbers.phases == {"reading": 0, "rating": 0, "after": 0, "before": 8}


def test_distance_of_gaze_and_mouse_by_rest_of_the_mouse(tmp_path: Path) -> None:
    files = write_ticks(
        tmp_path / "ifllm",
        conversation(
            "u/1",
            [0, 50, 100, 150],
            gaze_x_px=[3, 30, 300, 1],
            gaze_y_px=[4, 40, 400, 1],
            mouse_x_px=[0, 0, 0, None],
            mouse_y_px=[0, 0, 0, None],
            mouse_idle_ms=[0, 900, 1600, None],
            camera_ok=[True, False, None, True],
        ),
    )
    numbers = count_ticks(files)
    assert numbers.median_distance_px("moved") == 5
    assert numbers.median_distance_px("idle") == 500
    assert numbers.camera == {"true": 2, "false": 1, "null": 1}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.sampled_from([1, 5, 50, 95, 99]))
def test_percentile_of_counts_is_that_of_the_values(values: list[int], percent: int) -> None:
    counts = np.bincount(values, minlength=31)
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert count_percentile(counts, percent) == expected


def test_percentile_of_nothing_is_none() -> None:
    assert count_percentile(np.zeros(4, np.int64), 50) is None
