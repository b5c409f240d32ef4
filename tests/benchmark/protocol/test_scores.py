from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.scores import (
    Scored,
    averaged,
    by_repeat,
    difference,
    majority,
    per_worker,
    score,
)
from ifllm_hf.errors import DataError
from ifllm_hf.metrics import core
from ifllm_hf.reward.baselines.protocol import LIKERT
from tests.helpers.dwell_turns import DwellModel


def frame(ids: list[int], repeat: int, p: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"query_id": ids, "repeat": repeat, "p_b": p})


@pytest.fixture
def data(turns):
    return labelled(turns)


def test_predictions_are_averaged_before_they_are_scored() -> None:
    both = pl.concat([frame([2, 1], 0, [0.9, 0.2]), frame([1, 2], 1, [0.4, 0.5])])
    assert averaged(both)["query_id"].to_list() == [1, 2]
    assert averaged(both)["p_b"].to_list() == pytest.approx([0.3, 0.7])


def test_score_matches_the_core(data) -> None:
    p = np.random.default_rng(0).random(len(data.y))
    one = Scored(frame(data.rows["query_id"].to_list(), 0, p.tolist()), data)
    record = score(one, draws=200)
    assert record["n"] == 108
    assert record["workers"] == 12
    assert record["conversations"] == 36
    assert record["accuracy"] == core.pairwise_accuracy(data.y, p)
    assert record["auc"] == core.roc_auc(data.y, p)
    assert record["ece_perfect"] == core.expected_ece_if_calibrated(p)
    interval = core.score_interval("auc", data.y, p, data.rows["user_id"].to_numpy(), draws=200)
    assert (record["auc_low"], record["auc_high"]) == (interval.low, interval.high)


def test_majority_is_the_base_rate_of_the_set(data) -> None:
    one = Scored(frame(data.rows["query_id"].to_list(), 0, [0.3] * 108), data)
    record = score(majority(one), draws=50)
    assert record["accuracy"] == max(data.y.mean(), 1 - data.y.mean())
    assert record["auc"] == 0.5


def test_difference_needs_the_same_rows(data) -> None:
    ids = data.rows["query_id"].to_list()
    one = Scored(frame(ids, 0, [0.3] * 108), data)
    with pytest.raises(DataError, match="108 rows .*length .*107"):
        difference(one, Scored(frame(ids[1:], 0, [0.3] * 107), data), "length")
    record = difference(one, one, "length", draws=50)
    assert record["d_length"] == record["d_length_low"] == record["d_length_high"] == 0


def test_predictions_of_unlabelled_rows_are_refused(data) -> None:
    with pytest.raises(DataError, match="query 5 "):
        Scored(frame([5], 0, [0.5]), data)


def test_single_repeats_have_a_mean_and_a_spread(data) -> None:
    ids = data.rows["query_id"].to_list()
    right = data.y * 0.8 + 0.1
    both = pl.concat([frame(ids, 0, right.tolist()), frame(ids, 1, (1 - right).tolist())])
    record = by_repeat(both, data)
    assert record["repeats"] == 2
    assert record["repeat_mean"] == pytest.approx(0.5)
    assert record["repeat_sd"] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(by_repeat(both.filter(pl.col("repeat") == 0), data)["repeat_sd"])


def test_per_worker_counts_those_with_too_few_rows(data) -> None:
    ids, y = data.rows["query_id"].to_list()[:-7], data.y[:-7]
    record = per_worker(Scored(frame(ids, 0, (y * 0.8 + 0.1).tolist()), data))
    assert record["worker_count"] == 11
    assert record["worker_small"] == 1
    assert record["worker_macro"] == record["worker_min"] == 1.0


def test_ratings_have_errors_and_correlations(turns) -> None:
    rng = np.random.default_rng(0)
    rated = turns.with_columns(
        kind=pl.lit("pointwise"), likert_a=pl.Series(rng.integers(1, 6, len(turns)))
    )
    data = labelled(rated, LIKERT)

    class Rating(DwellModel):
        def fit(self, rows, y, groups, weight=None):
            self.slope = float(y.mean())
            return self

        def predict_proba(self, rows):
            return self.slope + 0.1 * rows["dwell_a"].to_numpy()

        def __deepcopy__(self, memo):
            return Rating()

    predictions = cross_validate(Rating(), data, "worker", repeats=2, progress=False)
    record = score(Scored(predictions, data), draws=100)
    assert record["mse_mean"] == pytest.approx(data.y.var())
    assert record["mse_low"] < record["mse"] < record["mse_high"]
    assert -1 <= record["spearman_low"] <= record["spearman_high"] <= 1
    assert "accuracy" not in record
