from __future__ import annotations

from ifllm_hf.behavior.paper.counters import question_metrics
from tests.helpers.paper_samples import OFF, matched


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
