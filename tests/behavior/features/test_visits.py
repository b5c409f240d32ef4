from __future__ import annotations

import pytest

from tests.helpers.reading_turns import features_of


def test_visits_first_and_last_look_and_switches() -> None:
    t = [0, 100, 200, 300, 400, 1700, 1800, 1900]
    f = features_of(t, mouse=["-", "a0", "b0", "-", "b1", "b2", "a0", "-"])
    # b: 200-500 (a short way off the text ends nothing), then 1.3 s without a tick, then again
    assert f["mouse_visits_a"] == 2.0
    assert f["mouse_visits_b"] == 2.0
    assert f["mouse_switches"] == 2.0
    assert f["mouse_first_side"] == -1.0
    assert f["mouse_last_side"] == -1.0
    assert f["mouse_first_look_ms_a"] == 100.0
    assert f["mouse_first_look_ms_b"] == 200.0
    # the clock counts the 1.3 s as 1 s: 1600 in all, b last from 1400 to 1500
    assert f["mouse_last_look_before_end_ms_b"] == pytest.approx(100.0)
    assert f["mouse_last_look_before_end_ms_a"] == 0.0
    assert f["mouse_first_visit_ms_b"] == pytest.approx(100 + 1000)
    assert f["mouse_visit_ms_mean_b"] == pytest.approx((100 + 1000 + 100) / 2)
    on_text = 100 + 100 + 1000 + 100 + 100
    assert f["mouse_switches_per_min"] == pytest.approx(2 / (on_text / 60000))


def test_camera_lost() -> None:
    f = features_of([0, 100, 400, 500], gaze=["-"] * 4, camera_ok=[True, False, None, True])
    assert f["gaze_camera_lost_share"] == pytest.approx(300 / 400)
