from __future__ import annotations

import numpy as np
import pytest

from ifllm_hf.errors import DataError
from ifllm_hf.metrics import core, grouped, weighted


def test_interval_of_a_mean_matches_the_known_spread() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=400)
    interval = core.bootstrap_by_group(
        lambda w: weighted.weighted_mean(values, w), np.arange(400), draws=4000
    )
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.012)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.012)
    assert interval.groups == 400


def test_rows_of_one_worker_move_together() -> None:
    # ten workers of twenty equal rows: the spread is that of ten values, not of two hundred
    right = np.repeat(np.tile([0.0, 1.0], 5), 20)
    groups = np.repeat(np.arange(10), 20)
    by_worker = core.score_interval("accuracy", right, np.full(200, 0.9), groups)
    by_row = core.score_interval("accuracy", right, np.full(200, 0.9), np.arange(200))
    assert by_worker.high - by_worker.low > 3 * (by_row.high - by_row.low)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        worker = rng.normal(0, 1, 40)
        values = np.repeat(worker, 5) + rng.normal(0, 1, 200)
        interval = core.bootstrap_by_group(
            lambda w, v=values: weighted.weighted_mean(v, w),
            np.repeat(np.arange(40), 5),
            draws=400,
            seed=trial,
        )
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_row_order_and_group_names_do_not_change_the_interval() -> None:
    rng = np.random.default_rng(2)
    y = (rng.random(120) < 0.5).astype(float)
    p = rng.random(120)
    groups = np.array([f"worker_{g:02d}" for g in rng.integers(0, 12, 120)])
    order = rng.permutation(120)
    first = core.score_interval("auc", y, p, groups)
    second = core.score_interval("auc", y[order], p[order], groups[order])
    assert first.low == pytest.approx(second.low)
    assert first.high == pytest.approx(second.high)


def test_paired_difference_of_a_model_with_itself_is_zero() -> None:
    rng = np.random.default_rng(2)
    y, p = (rng.random(50) < 0.5).astype(float), rng.random(50)
    interval = core.score_interval("accuracy", y, p, rng.integers(0, 9, 50), versus=p)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_paired_difference_is_tighter_than_either_score() -> None:
    rng = np.random.default_rng(4)
    y = (rng.random(600) < 0.5).astype(float)
    worse = np.clip(0.5 + (y - 0.5) * 0.2 + rng.normal(0, 0.2, 600), 0.01, 0.99)
    better = np.where(rng.random(600) < 0.05, y, worse)
    groups = np.repeat(np.arange(60), 10)
    alone = core.score_interval("accuracy", y, better, groups)
    paired = core.score_interval("accuracy", y, better, groups, versus=worse)
    assert paired.low > 0
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_one_worker_has_no_interval() -> None:
    interval = core.score_interval("accuracy", [1, 0], [0.9, 0.1], ["w", "w"])
    assert interval.estimate == 1
    assert np.isnan([interval.low, interval.high]).all()
    assert (interval.groups, interval.undefined) == (1, 0)


def test_a_score_that_no_draw_has_is_undefined_in_all_of_them() -> None:
    interval = core.score_interval("auc", [1, 1], [0.9, 0.1], ["v", "w"], draws=40)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    assert (interval.groups, interval.undefined) == (2, 40)


def test_intervals_agree_where_nothing_is_said() -> None:
    rng = np.random.default_rng(6)
    y, p, groups = rng.integers(0, 2, 60), rng.random(60), rng.integers(0, 9, 60)
    by_row = core.bootstrap_by_group(lambda w: weighted.brier(y * 1.0, p, w), groups)
    interval = core.score_interval("brier", y, p, groups)
    assert (by_row.low, by_row.high) == pytest.approx((interval.low, interval.high))
    assert by_row.level == interval.level
    assert core.interval_columns("brier", y, p, groups) == {
        **{"brier_low": interval.low, "brier_high": interval.high},
        "workers": 9,
    }


def test_draws_without_both_classes_are_counted() -> None:
    interval = core.score_interval("auc", [1, 0], [0.9, 0.1], ["v", "w"], draws=400)
    assert interval.estimate == 1
    assert 100 < interval.undefined < 300


def test_unknown_metric_is_named() -> None:
    with pytest.raises(DataError, match="no metric named 'f1'"):
        core.score_interval("f1", [1], [1], [0])


def test_groups_must_cover_the_rows() -> None:
    with pytest.raises(DataError, match="groups .*1 .*labels .*2"):
        core.score_interval("accuracy", [1, 0], [1, 0], [0])


@pytest.mark.parametrize(("groups", "shape"), [([], r"\(0,\)"), ([[1], [2]], r"\(2, 1\)")])
def test_groups_are_one_for_each_row(groups: list, shape: str) -> None:
    with pytest.raises(DataError, match=f"groups has shape {shape}; expected one group per row"):
        core.bootstrap_by_group(lambda weight: weight.sum(axis=1), groups)


def test_a_large_set_is_scored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=300), rng.integers(0, 20, 300)
    drawn: list[int] = []

    def mean(weight: np.ndarray) -> np.ndarray:
        drawn.append(len(weight))
        return weighted.weighted_mean(values, weight)

    whole = core.bootstrap_by_group(mean, groups, draws=50)
    assert drawn == [1, 50]
    drawn.clear()
    monkeypatch.setattr(core, "_BLOCK_WEIGHTS", 300 * 15)
    blocks = core.bootstrap_by_group(mean, groups, draws=50)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high))
    assert drawn == [1, 15, 15, 15, 5]


@pytest.mark.parametrize("metric", ["accuracy", "auc", "brier", "ece", "log_loss", "mse"])
def test_sums_by_group_equal_weights_by_row(metric: str) -> None:
    rng = np.random.default_rng(8)
    y = (rng.random(90) < 0.4).astype(float)
    p = np.round(rng.random(90), 1)
    names, index = np.unique(rng.integers(0, 9, 90), return_inverse=True)
    fast = grouped.statistic(metric, y, p, index, len(names))
    counts = rng.multinomial(9, np.full(9, 1 / 9), size=60).astype(float)
    kernel = (core.KERNELS | core.RATING_KERNELS)[metric]
    assert fast(counts) == pytest.approx(kernel(y, p, counts[:, index]))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlations_have_intervals_too(metric: str) -> None:
    rng = np.random.default_rng(8)
    truth = rng.integers(1, 6, 200).astype(float)
    predicted = truth + rng.normal(size=200)
    groups = rng.integers(0, 30, 200)
    interval = core.score_interval(metric, truth, predicted, groups, draws=300)
    assert 0.5 < interval.low < interval.estimate < interval.high < 1
    paired = core.score_interval(metric, truth, predicted, groups, versus=predicted, draws=50)
    assert paired.low == paired.high == 0
