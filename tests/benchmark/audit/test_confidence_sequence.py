from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.benchmark.audit.confidence_sequence import (
    anytime_interval,
    first_above,
    readers_until,
)
from ifllm_hf.errors import DataError
from tests.helpers.audit.streams import FIVE, gain_streams, missed, ordinary_yes

VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=25)


@pytest.mark.parametrize(
    ("n", "low", "high"), [(5, -0.5442, 0.6779), (40, -0.0961, 0.2978), (200, 0.0096, 0.1946)]
)
def test_the_ends_are_those_of_confseq(n: int, low: float, high: float) -> None:
    """Hold the numbers of `confseq.betting.betting_cs` 0.0.11, on a grid of 20,000 means.

    It was called with `running_intersection=True, trunc_scale=.75` on (x + 1) / 2.
    """
    x = [round(math.sin(3 * i) * 0.6 + 0.1, 3) for i in range(1, n + 1)]
    found = anytime_interval(x)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-4)
    assert found.n == n and found.estimate == pytest.approx(np.mean(x))


def test_the_first_bet_by_hand() -> None:
    """Level .5: the bet is sqrt(2 ln 4 / (ln 2 / 4)) = 4, and rich is 4.

    Against a mean m of y the stake is min(4, .75 / m), and 1 + .75 / m (1 - m) >= 4 up to m = .2.
    """
    found = anytime_interval([1.0], level=0.5)
    assert (found.low, found.high) == pytest.approx((2 * 0.2 - 1, 1.0))


@given(VALUES)
@settings(max_examples=20)
def test_an_interval_never_widens_while_values_come(values: list[float]) -> None:
    found = [anytime_interval(values[:n]) for n in range(len(values) + 1)]
    assert all(a.low <= b.low and a.high >= b.high for a, b in zip(found, found[1:], strict=False))


@given(VALUES)
@settings(max_examples=20)
def test_turning_the_sign_turns_the_interval(values: list[float]) -> None:
    found, mirrored = anytime_interval(values), anytime_interval([-x for x in values])
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-9)


def test_the_first_look_above_zero_is_where_the_lower_end_passes_it() -> None:
    values = gain_streams(3, 150, 0.15, seed=4)
    for stream, first in zip(values, first_above(values), strict=True):
        assert anytime_interval(stream[: int(first)]).low > 0
        assert anytime_interval(stream[: int(first) - 1]).low <= 0


def test_without_a_gain_hardly_any_stream_is_ever_called_one() -> None:
    values = gain_streams(300, 300, 0.0)
    assert np.isfinite(first_above(values)).mean() <= 0.025
    assert np.isfinite(missed(values, 0.0)).mean() <= 0.05
    # An interval that is made for one look is wrong of many of the same streams.
    assert np.isfinite(ordinary_yes(values)).mean() > 0.15


@pytest.mark.parametrize(("gain", "readers"), [(0.05, 264), (0.1, 78)])
def test_a_gain_is_found_with_the_power_that_the_docs_name(gain: float, readers: int) -> None:
    values = gain_streams(300, readers, gain, seed=1, pairs=FIVE)
    assert values.mean() == pytest.approx(gain, abs=0.01)
    assert np.isfinite(first_above(values)).mean() == pytest.approx(0.8, abs=0.06)
    assert np.isfinite(missed(values, gain)).mean() <= 0.05


def test_the_projection_is_what_streams_take() -> None:
    values = gain_streams(20, 200, 0.05, seed=2)
    projected = readers_until(0.07, float(values.mean()), float(values.std()))
    taken = [
        next(n for n in range(40, 200, 5) if anytime_interval(x[:n]).half_width <= 0.07)
        for x in values
    ]
    assert projected == pytest.approx(np.median(taken), rel=0.12)


def test_a_narrower_interval_takes_more_readers() -> None:
    found = [readers_until(width, 0.05, 0.2) for width in (0.2, 0.1, 0.05)]
    assert None not in found and found == sorted(found)
    assert readers_until(0.001, 0.0, 0.2) is None


def test_nothing_seen_is_nothing_known() -> None:
    found = anytime_interval([])
    assert (found.n, found.low, found.high) == (0, -1, 1) and math.isnan(found.estimate)


@pytest.mark.parametrize("values", [[0.1, float("nan")], [1.5], [[0.1], [0.2]]])
def test_values_that_are_no_gains_are_refused(values: list) -> None:
    with pytest.raises(DataError, match=r"expected \[-1, 1\]"):
        anytime_interval(values)
