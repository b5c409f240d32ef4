from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def test_agreement_counts_only_with_both_on_an_answer() -> None:
    f = features_of(
        [0, 100, 300, 600, 1000],
        gaze=["a10", "a20", "b0", "-", "a0"],
        mouse=["a40", "b5", "b6", "a0", "-"],
    )
    assert f["mouse_gaze_ms"] == 600.0
    assert f["mouse_gaze_agreement"] == pytest.approx(400 / 600)
    assert f["mouse_gaze_same_ms_a"] == 100.0
    assert f["mouse_gaze_distance_chars_a"] == 30.0
    assert f["mouse_gaze_distance_chars_b"] == 6.0


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_lag_is_found(lag: int) -> None:
    rng = np.random.default_rng(5)
    path = rng.integers(0, 200, 120)
    n = 100
    gaze = path[10 : 10 + n]
    mouse = path[10 - lag : 10 - lag + n]  # what the gaze read `lag` ticks earlier
    t = np.arange(n) * 200
    f = features_of(t, gaze=[f"b{c}" for c in gaze], mouse=[f"b{c}" for c in mouse])
    assert f["mouse_gaze_lag_ms"] == lag * 200.0
    assert f["mouse_gaze_correlation"] == pytest.approx(1.0)


def test_events_in_their_own_ticks() -> None:
    """Collected sessions have one event per tick; the other channel is not sampled there."""
    f = features_of(
        [0, 50, 100, 150, 400],
        gaze=["a0", None, "a3", None, "-"],
        mouse=[None, "b0", None, "-", None],
    )
    assert f["gaze_dwell_ms_a"] == 400.0
    assert f["mouse_dwell_ms_b"] == 100.0
    assert f["gaze_recorded_share"] == 1.0
    # the gaze at 100 meets the mouse of 50; the one at 0 comes before it
    assert f["mouse_gaze_ms"] == 300.0
    assert f["mouse_gaze_agreement"] == 0.0
