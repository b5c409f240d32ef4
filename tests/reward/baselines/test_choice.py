"""Every baseline learns a signal that is there, mirrors its sides, and survives missing values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from ifllm_hf.behavior.features.comparison import DELTAS
from ifllm_hf.behavior.paper.features import paper_feature_set
from ifllm_hf.benchmark.protocol.rows import visible
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.metrics import core
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.forest import PAPER_PREFIX, PaperForest
from ifllm_hf.reward.baselines.inputs import (
    evidence,
    feature_matrix,
    inner_splits,
    mean_and_spread,
    moderators,
)
from ifllm_hf.reward.baselines.late_reading import COLUMNS, MAINS, LateReading, Signals
from ifllm_hf.reward.baselines.length_rule import LengthLR
from ifllm_hf.reward.baselines.linear import AntisymmetricLR
from ifllm_hf.reward.baselines.pointwise import PointwiseRidge
from ifllm_hf.reward.baselines.protocol import Model, config_hash
from ifllm_hf.reward.baselines.text_models import TfidfLR
from tests.helpers.reward.feature_rows import make_rows, swap

Rows = tuple[pl.DataFrame, np.ndarray, np.ndarray]

BEHAVIOR_MODELS = [
    baselines.first_behavior_model(),
    baselines.default_model(),
    LateReading("chosen inside", choose="inner"),
    LateReading("ten weights", choose="mean"),
    LateReading("with companions", accompanied=True),
    baselines.AntisymmetricBooster("booster", (*baselines.LATE, *baselines.COMPANIONS)),
    TfidfLR("text and behaviour", baselines.LATE),
]


@pytest.mark.parametrize("model", BEHAVIOR_MODELS, ids=lambda m: m.name)
def test_learns_the_signal_and_mirrors(model: Any, rows: Rows) -> None:
    frame, y, reader = rows
    assert isinstance(model, Model)
    model.fit(frame, y, reader)
    new, truth, _ = make_rows(workers=60, seed=1)
    p = model.predict_proba(visible(new))
    length = LengthLR().fit(frame, y, reader).predict_proba(new)
    assert core.roc_auc(truth, p) > core.roc_auc(truth, length) + 0.02
    np.testing.assert_allclose(p + model.predict_proba(swap(visible(new))), 1.0, atol=1e-9)


@pytest.mark.parametrize("model", BEHAVIOR_MODELS, ids=lambda m: m.name)
def test_settings_name_the_model(model: Any) -> None:
    again = type(model)(**{f: getattr(model, f) for f in _settings(model)})
    assert config_hash(again) == config_hash(model)


def _settings(model: Any) -> list[str]:
    from dataclasses import fields

    return [f.name for f in fields(model) if f.init]


def test_the_published_report_is_of_the_default_model() -> None:
    """Its settings, down to the penalty: who changes one makes the report again."""
    report = Path(__file__).parents[3] / "docs" / "benchmark" / "report.json"
    model = baselines.default_model()
    records = [record for record in json.loads(report.read_text()) if "config_hash" in record]
    published = {record["config_hash"] for record in records if record["model"] == model.name}
    assert published == {config_hash(model)}


def test_typical_shares_are_means_over_the_answers_where_they_are_known() -> None:
    frame, y, reader = make_rows()
    names = [f"{COLUMNS[0]}_a", f"{COLUMNS[0]}_b"]
    shares = np.linspace(0.0, 0.5, 2 * frame.height).reshape(-1, 2)
    shares[0] = np.nan
    frame = frame.with_columns(
        pl.Series(name, column) for name, column in zip(names, shares.T, strict=True)
    )
    model = LateReading()
    model.fit(frame, y, reader)
    delta = DELTAS[COLUMNS[0].split("_", 1)[1]]
    assert model.typical_log_share[0] == pytest.approx(np.log(shares[1:] + delta).mean())


def test_without_behaviour_and_with_equal_texts_nothing_is_known(rows: Rows) -> None:
    frame, y, reader = rows
    blank = frame.with_columns(
        pl.lit(None, pl.Float64).alias(c) for c in frame.columns if frame[c].dtype == pl.Float64
    ).with_columns(pl.col("response_a").alias("response_b"))
    for model in BEHAVIOR_MODELS:
        model.fit(frame, y, reader)
        np.testing.assert_allclose(model.predict_proba(blank), 0.5)


def test_weight_two_is_every_row_twice(rows: Rows) -> None:
    frame, y, reader = rows
    double = pl.concat([frame, frame])
    for model in (baselines.first_behavior_model(), baselines.default_model(), TfidfLR()):
        heavy = model.fit(frame, y, reader, np.full(len(y), 2.0)).predict_proba(frame)
        twice = model.fit(double, np.r_[y, y], np.r_[reader, reader]).predict_proba(frame)
        # The idf counts rows: twice as many change it a little.
        np.testing.assert_allclose(heavy, twice, atol=2e-3)
        uneven = np.where(np.arange(len(y)) < 40, 2.0, 1.0)
        other = model.fit(frame, y, reader, uneven).predict_proba(frame)
        assert not np.allclose(other, heavy)


def test_a_missing_column_is_named(rows: Rows) -> None:
    frame, y, reader = rows
    with pytest.raises(DataError, match="pooled_late_20pct_log_ratio"):
        baselines.first_behavior_model().fit(frame.drop(baselines.LATE[0]), y, reader)


def test_a_member_of_the_average_is_the_plain_regression(rows: Rows) -> None:
    frame, y, reader = rows
    model = LateReading().fit(frame, y, reader)
    members = 2 * len(MAINS)
    alone = AntisymmetricLR("x", ("mouse_late_10pct_log_ratio",), penalty=20.0)
    alone.fit(frame, y, reader)
    np.testing.assert_allclose(model.weights[0, :2] * members, alone.weights, rtol=1e-6)
    assert model.weights[0, 2:].any() == np.False_


def test_every_member_minimises_the_penalised_loss(rows: Rows) -> None:
    """Length and the end of reading carry the penalty, what is added `caution` times as much."""
    frame, y, reader = rows
    model = LateReading(penalty=3.0, caution=7.0).fit(frame, y, reader)
    members = 2 * len(MAINS)
    for x, b in zip(model._design(Signals.of_rows(frame)), model.weights * members, strict=True):
        scale = np.sqrt((x * x).mean(axis=0))
        used = scale > 0
        cost = np.where(np.arange(x.shape[1]) < 2, 3.0, 21.0)

        def loss(z: np.ndarray, x: Any = x[:, used] / scale[used], cost: Any = cost[used]) -> Any:
            return np.logaddexp(0, -(2 * y - 1) * (x @ z)).sum() + (cost * z * z).sum() / 2

        best = minimize(loss, np.zeros(used.sum()), method="BFGS").x
        np.testing.assert_allclose(b[used] * scale[used], best, atol=2e-4)
        assert not b[~used].any()


def test_members_see_what_their_kind_allows(rows: Rows) -> None:
    frame, y, reader = rows
    plain = LateReading().fit(frame, y, reader)
    x = plain._design(Signals.of_rows(frame))
    assert x.shape == (36, len(y), 10)
    assert not x[0::2, :, 2:].any() and x[1::2, :, 2:].any(axis=(1, 2)).all()
    whole = LateReading(accompanied=True).fit(frame, y, reader)
    x = whole._design(Signals.of_rows(frame, companions=True))
    assert x.shape == (54, len(y), 15)
    assert not x[0::3, :, 2:].any() and not x[1::3, :, 10:].any()
    assert x[2::3, :, 10:].any(axis=(1, 2)).all()


def test_the_loss_of_inner_folds_is_the_log_loss_on_readers_left_out(rows: Rows) -> None:
    frame, y, reader = rows
    model = LateReading(inner_folds=2)
    model.centre, model.spread = mean_and_spread(moderators(frame))
    x = model._design(Signals.of_rows(frame))
    expected = np.zeros(len(x))
    for train, test in inner_splits(reader, 2):
        fitted = model._fit(x[:, train], y[train], None)
        p = 1 / (1 + np.exp(-np.einsum("mnk,mk->mn", x[:, test], fitted)))
        expected -= (np.log(p) * y[test] + np.log(1 - p) * (1 - y[test])).sum(axis=1)
    np.testing.assert_allclose(model._inner_loss(x, y, reader, None), expected)


def test_inner_choice_finds_the_member_that_carries_the_signal() -> None:
    frame, y, reader = make_rows(
        workers=40, signal=3.0, column="either_late_30pct_log_ratio", missing=0.0
    )
    model = LateReading(choose="inner").fit(frame, y, reader)
    voting = np.flatnonzero(model.weights.any(axis=1))
    assert len(voting) == 1
    assert MAINS[voting[0] // 2][0] == "either_late_30pct"
    with pytest.raises(ConfigError, match="best"):
        LateReading(choose="best")


def test_inner_choice_with_a_single_reader_is_defined(rows: Rows) -> None:
    frame, y, _ = rows
    model = LateReading(choose="inner").fit(frame, y, np.full(len(y), "only"))
    assert np.isfinite(model.predict_proba(frame)).all()


def test_context_is_standardised_on_training_rows_alone(rows: Rows) -> None:
    frame, y, reader = rows
    model = LateReading().fit(frame, y, reader)
    new, _, _ = make_rows(seed=3)
    whole = model.predict_proba(new)
    parts = np.concatenate([model.predict_proba(new[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(whole[:20], parts, atol=1e-12)


def test_tfidf_learns_the_word_that_wins() -> None:
    n = 60
    b_wins = np.arange(n) % 2 == 0
    frame = pl.DataFrame(
        {
            "response_a": ["bad plain" if w else "good plain" for w in b_wins],
            "response_b": ["good plain" if w else "bad plain" for w in b_wins],
        }
    )
    model = TfidfLR().fit(frame, b_wins.astype(float), np.arange(n))
    new = pl.DataFrame(
        {"response_a": ["good", "", "x", "new words"], "response_b": ["bad", "good", "x", "other"]}
    )
    p = model.predict_proba(new)
    assert p[0] < 0.4 and p[1] > 0.6
    assert p[2] == 0.5 and p[3] == 0.5


def test_the_papers_forest_takes_missing_values_and_is_marked(rows: Rows) -> None:
    frame, y, reader = rows
    rng = np.random.default_rng(0)
    names = [PAPER_PREFIX + c for c in paper_feature_set("pairwise", existing=True)]
    assert len(names) == 47
    values = {c: np.where(rng.random(len(y)) < 0.1, np.nan, rng.normal(size=len(y))) for c in names}
    values[names[0]] = y + rng.normal(0, 0.3, len(y))
    joined = frame.with_columns(pl.Series(k, v) for k, v in values.items())
    choice = baselines.preference_models(joined.columns)
    forest = next(m for m in choice.models if m.name == "the paper's forest")
    assert isinstance(forest, PaperForest)
    assert forest.reference and forest.contaminated and not forest.antisymmetric
    forest.trees = 10
    first = forest.fit(joined, y, reader).predict_proba(joined)
    assert core.roc_auc(y, first) > 0.9
    np.testing.assert_array_equal(first, forest.fit(joined, y, reader).predict_proba(joined))


def test_what_is_left_out_has_a_reason(rows: Rows) -> None:
    frame = rows[0]
    choice = baselines.preference_models(frame.columns)
    assert "the paper's forest" in choice.skipped
    names = [m.name for m in choice.models]
    assert len(set(names)) == len(names)
    quick = [m.name for m in baselines.preference_models(frame.columns, quick=True).models]
    assert set(quick) <= set(names) and baselines.default_model().name in quick
    ablations = [m.name for m in baselines.ablation_models(frame.columns)]
    assert "late reading LR, whole turn" not in ablations
    assert not set(ablations) & set(names)


def test_pointwise_ridge_learns_ratings_and_shrinks_noise() -> None:
    frame, _, reader = make_rows(workers=30, missing=0.0)
    rng = np.random.default_rng(0)
    x = frame["mouse_depth_a"].to_numpy()
    x = (x - x.mean()) / x.std()
    rating = 3 + 0.8 * x + rng.normal(0, 0.3, len(x))
    columns = ("mouse_depth_a", "gaze_depth_a")
    model = PointwiseRidge("r", binary=False, columns=columns).fit(frame, rating, reader)
    assert core.likert_scores(rating, model.predict_proba(frame)).pearson > 0.9
    assert model.penalty == 30.0
    noise = rng.normal(3, 1, len(x))
    flat = PointwiseRidge("n", binary=False).fit(frame, noise, reader)
    assert flat.penalty > model.penalty
    assert np.std(flat.predict_proba(frame)) < 0.2  # of 1
    yes = (x > np.median(x)).astype(float)
    p = PointwiseRidge("b", binary=True, columns=columns).fit(frame, yes, reader)
    assert core.roc_auc(yes, p.predict_proba(frame)) > 0.95


def test_inputs_keep_missing_and_turn_it_into_no_evidence(rows: Rows) -> None:
    frame = rows[0]
    raw = feature_matrix(frame, ["mouse_dwell_ms_log_ratio"])
    assert np.isnan(raw).any()
    assert (evidence(frame, ["mouse_dwell_ms_log_ratio"])[np.isnan(raw)] == 0).all()
    assert feature_matrix(frame, []).shape == (len(frame), 0)
    assert moderators(frame).shape == (len(frame), 4)
