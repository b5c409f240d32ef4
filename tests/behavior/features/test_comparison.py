from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def test_either_takes_the_mouse_only_if_it_was_on_an_answer() -> None:
    t = [0, 100, 300]
    by_gaze = features_of(t, gaze=["a0", "b0", "-"], mouse=["-", "-", "-"])
    assert (by_gaze["either_dwell_ms_a"], by_gaze["either_dwell_ms_b"]) == (100.0, 200.0)
    by_mouse = features_of(t, gaze=["a0", "b0", "-"], mouse=["b0", "-", "-"])
    assert (by_mouse["either_dwell_ms_a"], by_mouse["either_dwell_ms_b"]) == (0.0, 100.0)
    assert math.isnan(features_of(t)["either_dwell_ms_a"])


def test_pooled_adds_half_of_the_gaze() -> None:
    t = np.arange(0, 3001, 500)
    f = features_of(t, mouse=["a0"] * 7, gaze=["b0"] * 7)
    whole = (1 - 2**-10) * 0.1 / math.log(2)
    assert f["pooled_late_10pct_a"] == pytest.approx(whole)
    assert f["pooled_late_10pct_b"] == pytest.approx(whole / 2)
    assert f["pooled_late_10pct_log_ratio"] == pytest.approx(
        math.log((whole / 2 + 0.015) / (whole + 0.015))
    )
