"""Shares of the end of reading, and both channels pooled."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def test_late_share_halves_with_a_share_of_the_reading_time() -> None:
    # on a for the first 4 s of 5 s, on b for the last: one half-life of a fifth of the time
    t = np.arange(0, 5001, 500)
    f = features_of(t, mouse=["a0"] * 8 + ["b0"] * 3)
    whole = 0.2 / math.log(2)
    assert f["mouse_late_20pct_b"] == pytest.approx(whole / 2)
    assert f["mouse_late_20pct_a"] == pytest.approx(whole * (1 / 2 - 1 / 32))
    assert f["mouse_late_10pct_b"] == pytest.approx(0.1 / math.log(2) * 3 / 4)


def test_late_share_does_not_depend_on_the_pace() -> None:
    t = np.arange(0, 5001, 500)
    sides = ["a0"] * 7 + ["b0"] * 4
    fast, slow = features_of(t / 5, mouse=sides), features_of(t, mouse=sides)
    assert fast["mouse_late_30pct_log_ratio"] == pytest.approx(slow["mouse_late_30pct_log_ratio"])
    assert fast["mouse_recency_3s_ms_log_ratio"] != pytest.approx(
        slow["mouse_recency_3s_ms_log_ratio"], rel=0.05
    )


def test_pooled_adds_half_of_the_gaze() -> None:
    t = np.arange(0, 3001, 500)
    f = features_of(t, mouse=["a0"] * 7, gaze=["b0"] * 7)
    whole = (1 - 2**-10) * 0.1 / math.log(2)
    assert f["pooled_late_10pct_a"] == pytest.approx(whole)
    assert f["pooled_late_10pct_b"] == pytest.approx(whole / 2)
    assert f["pooled_late_10pct_log_ratio"] == pytest.approx(
        math.log((whole / 2 + 0.015) / (whole + 0.015))
    )
