"""I-DT at irregular times: known events, the textbook loop, and text units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.behavior.features.fixations import fixations_by_dispersion
from ifllm_hf.errors import DataError
from tests.helpers.reading_turns import features_of


def textbook(
    t: np.ndarray, x: np.ndarray, segment: np.ndarray, spread: float, lasting: float
) -> list[tuple[int, int]]:
    """Dispersion-threshold identification as a loop over samples."""

    def fits(i: int, j: int) -> bool:
        part = x[i : j + 1]
        return bool((part.max(axis=0) - part.min(axis=0)).sum() <= spread)

    found, i = [], 0
    while i < len(t):
        j = i
        while j + 1 < len(t) and segment[j + 1] == segment[i] and fits(i, j + 1):
            j += 1
        if t[j] - t[i] >= lasting:
            found.append((i, j))
            i = j + 1
        else:
            i += 1
    return found


def test_known_fixations_are_found_at_irregular_times() -> None:
    rng = np.random.default_rng(3)
    places = [(100.0, 100.0), (400.0, 120.0), (420.0, 500.0)]
    t = np.cumsum(rng.uniform(40, 140, 60))
    x = np.concatenate([rng.uniform(-10, 10, (20, 2)) + place for place in places])
    first, last = fixations_by_dispersion(t, x, max_dispersion=45, min_duration_ms=150)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(0, 19), (20, 39), (40, 59)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 60),
    dims=st.integers(1, 2),
    spread=st.integers(0, 25),
    lasting=st.integers(0, 600),
)
def test_it_is_the_textbook_algorithm(
    seed: int, n: int, dims: int, spread: int, lasting: int
) -> None:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 200, n))
    x = np.cumsum(rng.choice([0, 0, 0, 3, -4, 30], (n, dims)), axis=0)
    segment = np.cumsum(rng.random(n) < 0.1)
    first, last = fixations_by_dispersion(
        t, x, max_dispersion=spread, min_duration_ms=lasting, segment=segment
    )
    expected = textbook(t, x, segment, spread, lasting)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == expected


def test_bad_samples_are_named() -> None:
    t = np.arange(3)
    with pytest.raises(DataError, match="position 1 is not finite"):
        fixations_by_dispersion(
            t, np.array([0.0, np.nan, 1.0]), max_dispersion=1, min_duration_ms=1
        )
    with pytest.raises(DataError, match="3 times, 2 positions"):
        fixations_by_dispersion(t, np.zeros(2), max_dispersion=1, min_duration_ms=1)


def test_fixations_of_a_turn() -> None:
    t = [0, 100, 200, 300, 400, 500]
    f = features_of(t, gaze=["b0", "b90", "b100", "b101", "b199", "b199"])
    # 0-100 spreads 100 characters over 200 ms; then 101-199 over 200 ms
    assert f["gaze_fixations_b"] == 2.0
    assert f["gaze_fixations_per_100_chars_b"] == 1.0
    assert f["gaze_fixation_ms_mean_b"] == pytest.approx(250.0)
    assert f["gaze_longest_fixation_ms_b"] == 300.0
    assert f["gaze_fixation_share_b"] == 1.0
    assert f["gaze_fixations_a"] == 0.0
    assert math.isnan(f["gaze_fixation_ms_mean_a"])
