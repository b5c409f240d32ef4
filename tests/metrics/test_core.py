from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ifllm_hf.errors import DataError
from ifllm_hf.metrics import core, weighted

PROBABILITY = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.6, 0.75, 0.9, 1.0])


@st.composite
def scored(draw: st.DrawFn, low: int = 2) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(low, 40))
    y = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])))
    p = draw(hnp.arrays(np.float64, n, elements=PROBABILITY))
    return y, p


def test_accuracy_counts_an_exact_half_as_half() -> None:
    assert core.pairwise_accuracy([1, 0, 1, 0], [0.9, 0.2, 0.5, 0.7]) == 0.625


def test_auc_of_a_small_case_by_hand() -> None:
    # b-rows score .9 and .5, a-rows .2 and .5: 3 wins and one tie out of 4 comparisons
    assert core.roc_auc([1, 0, 1, 0], [0.9, 0.2, 0.5, 0.5]) == 0.875


def test_auc_of_one_class_is_undefined() -> None:
    assert np.isnan(core.roc_auc([1, 1], [0.2, 0.3]))


def test_brier_and_log_loss_by_hand() -> None:
    assert core.brier_score([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)
    assert core.log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert np.isfinite(core.log_loss([1, 0], [0.0, 1.0]))


def test_ece_by_hand() -> None:
    # bin 0: p .05, label 1 -> .95; bin 9: p .9 and 1.0, labels 1 and 0 -> |.5 - .95|
    value = core.expected_calibration_error([1, 1, 0], [0.05, 0.9, 1.0])
    assert value == pytest.approx((0.95 + 2 * 0.45) / 3)


def test_ece_bins_split_at_the_tenths() -> None:
    assert weighted.bin_of(np.array([0.0, 0.0999, 0.1, 0.95, 1.0]), 10).tolist() == [0, 0, 1, 9, 9]


def test_ece_of_a_calibrated_model_matches_simulation() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(4, 4, 300)
    simulated = [
        core.expected_calibration_error((rng.random(300) < p).astype(float), p) for _ in range(1500)
    ]
    assert core.expected_ece_if_calibrated(p) == pytest.approx(np.mean(simulated), rel=0.02)


def test_ece_of_a_calibrated_model_by_the_normal_law_is_close_to_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = np.linspace(0.31, 0.39, 1500)
    exact = core.expected_ece_if_calibrated(p)
    monkeypatch.setattr(core, "_EXACT_ROWS", 10)
    assert core.expected_ece_if_calibrated(p) == pytest.approx(exact, rel=1e-3)


def test_ece_of_a_calibrated_model_by_hand() -> None:
    # Two coins in one bin: E|S - 1| = 1/4 + 0 + 1/4. One row of .2: .2 x .8 + .8 x .2.
    assert core.expected_ece_if_calibrated([0.5, 0.5, 0.2]) == pytest.approx((0.5 + 0.32) / 3)


@pytest.mark.parametrize("p_b", [-0.1, 1.1])
def test_what_is_no_probability_has_no_calibration(p_b: float) -> None:
    with pytest.raises(DataError, match=r"values outside \[0, 1\]"):
        core.expected_ece_if_calibrated([0.5, p_b])


def test_certain_predictions_leave_a_calibrated_model_no_error() -> None:
    assert core.expected_ece_if_calibrated([0.0, 1.0, 1.0]) == 0.0


def test_likert_scores_by_hand() -> None:
    scores = core.likert_scores([1, 2, 3], [1, 3, 2])
    assert scores.n == 3
    assert scores.mse == pytest.approx(2 / 3)
    assert scores.mse_mean == pytest.approx(2 / 3)
    assert scores.pearson == pytest.approx(0.5)
    assert scores.spearman == pytest.approx(0.5)
    assert core.likert_scores([1, 2, 3], [1, 3, 2], [2, 2, 5]).mse_mean == pytest.approx(5 / 3)


def test_correlation_with_a_constant_is_undefined() -> None:
    scores = core.likert_scores([1, 2, 4], [0.1, 0.1, 0.1])
    assert np.isnan(scores.pearson)
    assert np.isnan(scores.spearman)


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e12])
def test_the_unit_of_a_rating_changes_no_correlation(unit: float) -> None:
    truth, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    for x, y in ((unit * truth, predicted), (truth, unit * predicted)):
        scores = core.likert_scores(x, y)
        assert (scores.pearson, scores.spearman) == pytest.approx((0.5, 0.5))
    assert np.isnan(core.likert_scores(truth, np.full(3, 0.1 * unit)).pearson)
    assert np.isnan(core.likert_scores(np.full(3, 0.1 * unit), truth).pearson)


@pytest.mark.parametrize("slope", [-3.0, 3.0])
def test_rounding_makes_no_correlation_larger_than_one(slope: float) -> None:
    x = np.random.default_rng(0).random((50, 7))
    found = [core.likert_scores(row, slope * row).pearson for row in x]
    assert max(map(abs, found)) == 1.0
    assert found == pytest.approx([np.sign(slope)] * 50)


@given(scored())
def test_swapping_sides_leaves_every_score(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    for score in (core.pairwise_accuracy, core.roc_auc, core.brier_score, core.log_loss):
        assert score(1 - y, 1 - p) == pytest.approx(score(y, p), nan_ok=True)


@given(scored(), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(case: tuple[np.ndarray, np.ndarray], random: object) -> None:
    y, p = case
    order = np.random.default_rng(len(y)).permutation(len(y))
    for score in (core.pairwise_accuracy, core.roc_auc, core.brier_score):
        assert score(y[order], p[order]) == pytest.approx(score(y, p), nan_ok=True)
    assert core.expected_calibration_error(y[order], p[order]) == pytest.approx(
        core.expected_calibration_error(y, p)
    )


@given(scored())
def test_auc_sees_only_the_order(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    assert core.roc_auc(y, p**3) == pytest.approx(core.roc_auc(y, p), nan_ok=True)


@given(scored())
def test_scores_stay_in_their_range(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    assert 0 <= core.pairwise_accuracy(y, p) <= 1
    assert 0 <= core.brier_score(y, p) <= 1
    assert 0 <= core.expected_calibration_error(y, p) <= 1
    auc = core.roc_auc(y, p)
    assert np.isnan(auc) == (len(set(y)) < 2)


@given(scored(), st.integers(0, 2**31))
def test_weights_are_repeated_rows(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    y, p = case
    times = np.random.default_rng(seed).integers(0, 4, len(y))
    if times.sum() == 0:
        times[0] = 1
    w = np.vstack([times, np.ones(len(y), dtype=int)]).astype(float)
    kernels = core.KERNELS | core.RATING_KERNELS
    for name, kernel in kernels.items():
        repeated = kernel(y.repeat(times), p.repeat(times), np.ones((1, times.sum())))
        assert kernel(y, p, w)[0] == pytest.approx(repeated[0], nan_ok=True, abs=1e-9), name


@settings(max_examples=60, deadline=None)  # the first call imports scikit-learn
@given(scored())
def test_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    y, p = case
    if len(set(y)) == 2:
        assert core.roc_auc(y, p) == pytest.approx(metrics.roc_auc_score(y, p))
    assert core.brier_score(y, p) == pytest.approx(metrics.brier_score_loss(y, p, pos_label=1))
    inside = np.clip(p, 0.01, 0.99)
    assert core.log_loss(y, inside) == pytest.approx(metrics.log_loss(y, inside, labels=[0, 1]))
    decided = p != 0.5
    if decided.any():
        assert core.pairwise_accuracy(y[decided], p[decided]) == pytest.approx(
            metrics.accuracy_score(y[decided], p[decided] > 0.5)
        )


def test_correlations_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.integers(1, 6, 50).astype(float)
        predicted = np.round(truth * rng.normal() + rng.normal(size=50), 1)
        scores = core.likert_scores(truth, predicted)
        assert scores.pearson == pytest.approx(stats.pearsonr(truth, predicted).statistic)
        assert scores.spearman == pytest.approx(stats.spearmanr(truth, predicted).statistic)


@pytest.mark.parametrize(
    ("labels", "p_b", "message"),
    [
        ([1, 2, 3], [0, 0, 1], r"labels has 2 values other than 0 and 1; first at row 1 \(2\)"),
        ([1, 0, 1], [0.1, 1.2, -1], r"p_b has 2 values outside \[0, 1\]; first at row 1 \(1.2\)"),
        ([1, 0, 1], [1, np.nan, np.inf], "p_b has 2 values .* NaN or infinite; first at row 1"),
        ([1, 0], [0.5], "2 and 1 rows"),
        ([], [], "labels is empty"),
        ([[1]], [0.5], r"labels has shape \(1, 1\)"),
    ],
)
def test_bad_input_is_named(labels: list, p_b: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        core.pairwise_accuracy(labels, p_b)
