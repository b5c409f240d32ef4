from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def test_regressions_and_rereading() -> None:
    f = features_of(
        [0, 100, 200, 300, 400, 500, 600], gaze=["a0", "a40", "a20", "a15", "a60", "a30", "a30"]
    )
    # steps 40, -20, -5, 45, -30, 0: two regressions of 20 and 30 characters among six steps
    assert f["gaze_regressions_a"] == 2.0
    assert f["gaze_regression_share_a"] == pytest.approx(2 / 6)
    assert f["gaze_regression_chars_mean_a"] == 25.0
    assert f["gaze_regression_time_share_a"] == pytest.approx(200 / 600)
    # over ten behind the furthest: 20, 15 (of 40), 30 (of 60); the last tick has no time
    assert f["gaze_reread_share_a"] == pytest.approx(300 / 600)
    assert f["gaze_forward_share_a"] == pytest.approx(2 / 5)


def test_velocity_and_its_changes() -> None:
    f = features_of([0, 100, 300, 400], gaze=["a0", "a10", "a50", "a40"])
    # 100, 200, -100 characters per second
    assert f["gaze_speed_chars_per_s_a"] == pytest.approx(60 / 0.4)
    assert f["gaze_speed_sd_chars_per_s_a"] == pytest.approx(np.std([100, 200, 100]))
    assert f["gaze_speed_change_chars_per_s_a"] == pytest.approx((100 + 300) / 2)


def test_steps_do_not_cross_visits() -> None:
    f = features_of([0, 100, 200], gaze=["a90", "b0", "a0"])
    assert f["gaze_regressions_a"] == 0.0
    assert math.isnan(f["gaze_regression_share_a"])
    assert math.isnan(f["gaze_speed_chars_per_s_a"])
