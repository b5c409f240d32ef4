from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.alignment.labels.noise import (
    check_nu,
    combine,
    confidence_of,
    flipped,
    likert_contradictions,
    nu_table,
    posterior_b,
    unnoise,
)
from ifllm_hf.errors import ConfigError

PROBABILITY = st.floats(0, 1)
RATE = st.floats(0, 0.49)


def one(p_click: float, clicked_b: bool, nu: float) -> float:
    return float(combine([p_click], [clicked_b], nu)[0])


@pytest.mark.parametrize(
    ("p_click", "nu", "expected"),
    [
        (0.5, 0.05, 0.5),
        (0.77, 0.05, 0.8),  # (.77 - .05) / .9
        (0.7, 0.1, 0.75),  # .6 / .8
        (0.3, 0.0, 0.3),
        (0.04, 0.05, 0.01),  # below the noise floor
        (0.96, 0.05, 0.99),
        (1.0, 0.0, 0.99),
    ],
)
def test_unnoise_by_hand(p_click: float, nu: float, expected: float) -> None:
    assert unnoise([p_click], nu)[0] == pytest.approx(expected, abs=1e-12)


def test_posterior_by_hand() -> None:
    """Odds written out: nu .05 -> 19; behaviour .2 -> 1/4; together 19/4 -> 19/23."""
    assert posterior_b([0.2], [True], 0.05)[0] == pytest.approx(19 / 23)
    assert posterior_b([0.8], [False], 0.05)[0] == pytest.approx(4 / 23)
    # nu .2 -> odds 4; behaviour .1 -> 1/9; 4/9 -> 4/13: the click is overruled.
    assert posterior_b([0.1], [True], 0.2)[0] == pytest.approx(4 / 13)
    assert posterior_b([0.3, 0.3], [True, False], 0.0).tolist() == [1.0, 0.0]


def test_noise_put_in_comes_out_again() -> None:
    truth = np.linspace(0.02, 0.98, 25)
    nu = 0.12
    clicks = (1 - nu) * truth + nu * (1 - truth)
    np.testing.assert_allclose(unnoise(clicks, nu), truth, atol=1e-12)


def test_posterior_is_bayes_by_counting() -> None:
    """Enumerate y and the click: the posterior is the share among equal observations."""
    p, nu = 0.3, 0.15
    joint = {
        (y, c): (p if y else 1 - p) * ((1 - nu) if y == c else nu) for y in (0, 1) for c in (0, 1)
    }
    for c in (0, 1):
        share = joint[1, c] / (joint[1, c] + joint[0, c])
        assert posterior_b([p], [bool(c)], nu)[0] == pytest.approx(share)


@given(PROBABILITY, st.booleans(), RATE)
def test_swapping_the_sides_gives_one_minus_p(p: float, clicked_b: bool, nu: float) -> None:
    assert one(p, clicked_b, nu) == pytest.approx(1 - one(1 - p, not clicked_b, nu), abs=1e-9)


@given(PROBABILITY, PROBABILITY, st.booleans(), RATE)
def test_more_behaviour_for_b_never_lowers_b(
    p: float, q: float, clicked_b: bool, nu: float
) -> None:
    low, high = sorted((p, q))
    assert one(low, clicked_b, nu) <= one(high, clicked_b, nu) + 1e-12


@given(st.floats(0.1, 0.9), st.floats(0.001, 0.45), st.floats(0.001, 0.45))
def test_a_noisier_click_counts_less(p: float, nu: float, other: float) -> None:
    low, high = sorted((nu, other))
    assert posterior_b([p], [True], high)[0] <= posterior_b([p], [True], low)[0] + 1e-12


@given(PROBABILITY, st.booleans(), RATE)
def test_confidence_is_a_probability_of_the_chosen_side(
    p: float, clicked_b: bool, nu: float
) -> None:
    p_b = combine([p], [clicked_b], nu)
    assert 0.5 <= confidence_of(p_b)[0] <= 1
    chosen_b = clicked_b != flipped(p_b, [clicked_b])[0]
    assert confidence_of(p_b)[0] == pytest.approx(p_b[0] if chosen_b else 1 - p_b[0])


@given(st.floats(0.001, 0.45), st.floats(0.02, 0.49))
def test_contradiction_costs_and_agreement_pays(nu: float, away: float) -> None:
    alone = posterior_b([0.5], [True], nu)[0]
    assert alone == pytest.approx(1 - nu)
    assert (
        posterior_b([0.5 - away], [True], nu)[0] < alone < posterior_b([0.5 + away], [True], nu)[0]
    )


@pytest.mark.parametrize("nu", [-0.01, 0.5, 1.0, math.nan])
def test_impossible_rates_are_refused(nu: float) -> None:
    with pytest.raises(ConfigError, match="below 0.5"):
        check_nu(nu)


def test_the_table_by_hand() -> None:
    """Two pairs clicked on b; .5 leaves 1 - nu; .05 is clipped to .01 from nu .05 on."""
    rows = nu_table(np.array([0.5, 0.05]), [True, True], (0.05, 0.2))
    assert [row["nu"] for row in rows] == [0.05, 0.2]
    odds = [19 / 99, 4 / 99]
    for row, odd, nu in zip(rows, odds, (0.05, 0.2), strict=True):
        against = 1 - odd / (1 + odd)
        assert (row["n"], row["flips"]) == (2, 1)
        assert row["mean_confidence"] == pytest.approx((1 - nu + against) / 2)
        assert row["unsure"] == 0.0
    assert nu_table(np.array([0.38]), [True], (0.2,))[0]["unsure"] == 1.0  # .3 -> 12/19 = .63
    # A quarter of wrong clicks and no behaviour: three quarters, which is not below them.
    assert nu_table(np.array([0.5]), [True], (0.25,))[0]["unsure"] == 0.0
    assert nu_table(np.array([]), [])[0]["mean_confidence"] is None


def test_ratings_that_contradict_the_click() -> None:
    turns = pl.DataFrame(
        {
            "preference": ["a", "b", "a", "b", "tie", None, "a"],
            "likert_a": [4, 4, 3, 1, 1, 1, None],
            "likert_b": [2, 2, 3, 5, 5, 5, 5],
        },
        schema_overrides={"likert_a": pl.Int8, "likert_b": pl.Int8},
    )
    assert likert_contradictions(turns) == {"n": 4, "contradicted": 1, "equal": 1, "share": 0.25}
    assert likert_contradictions(pl.DataFrame({"preference": ["a"]}))["share"] is None
