from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import swap_sides
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.reward.baselines.length_rule import LengthLR, LengthRule, Memory, TrainingMean


def pairs(*lengths: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "response_a": ["é" * a for a, _ in lengths],
            "response_b": ["é" * b for _, b in lengths],
            "user_id": [f"u{i}" for i in range(len(lengths))],
            "conversation_id": [f"u{i}/1" for i in range(len(lengths))],
        }
    )


def test_length_rule_counts_characters_and_ties_are_a_half() -> None:
    p = LengthRule().predict_proba(pairs((1, 3), (3, 1), (2, 2), (0, 0), (0, 5)))
    assert p.tolist() == [0.75, 0.25, 0.5, 0.5, 1.0]


def test_length_lr_matches_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    rows = pairs(*[(int(a), int(b)) for a, b in rng.integers(1, 80, (120, 2))])
    x = np.log1p(rows["response_b"].str.len_chars()) - np.log1p(rows["response_a"].str.len_chars())
    y = (rng.random(120) < sigmoid(1.3 * x.to_numpy())).astype(float)
    ours = LengthLR(penalty=2.0).fit(rows, y, np.zeros(120))
    theirs = linear.LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10)
    theirs.fit(x.to_numpy()[:, None], y)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-5)
    p = ours.predict_proba(rows) + ours.predict_proba(swap_sides(rows))
    assert p == pytest.approx(1.0)


def test_length_lr_weights_are_repeated_rows() -> None:
    rows = pairs((1, 5), (5, 2), (3, 9), (4, 4))
    y, w = np.array([1.0, 1, 1, 0]), np.array([2.0, 1, 3, 1])
    repeated = pairs((1, 5), (1, 5), (5, 2), (3, 9), (3, 9), (3, 9), (4, 4))
    one = LengthLR().fit(rows, y, np.zeros(4), w)
    two = LengthLR().fit(repeated, np.repeat(y, w.astype(int)), np.zeros(7))
    assert one.slope == pytest.approx(two.slope)


def test_training_mean() -> None:
    model = TrainingMean().fit(pairs((1, 1), (1, 1)), np.array([1.0, 4.0]), np.zeros(2))
    assert model.predict_proba(pairs((1, 1))).tolist() == [2.5]


def test_memory_smooths_the_conversation_towards_its_reader() -> None:
    rows = pl.DataFrame(
        {"user_id": ["u", "u", "v", "v"], "conversation_id": ["u/1", "u/2", "v/1", "v/1"]}
    )
    model = Memory(prior=1.0).fit(rows, np.array([1.0, 0, 1, 1]), np.zeros(4))
    asked = pl.DataFrame({"user_id": ["u", "v", "w"], "conversation_id": ["u/1", "v/9", "w/1"]})
    # rate 3/4; u: (1 + .75) / 3, then (1 + that) / 2; v: (2 + .75) / 3; w: the rate
    expected = [(1 + 1.75 / 3) / 2, 2.75 / 3, 0.75]
    assert model.predict_proba(asked) == pytest.approx(np.array(expected))
