"""The Newton solver finds the minimum it promises."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.metrics.ridge import logit, ridge_logistic, root_mean_square, sigmoid


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.floats(0.5, 500.0))
def test_the_gradient_vanishes(seed: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    x, y, w = rng.normal(size=(60, 4)), rng.integers(0, 2, 60) * 1.0, rng.uniform(0.1, 3, 60)
    lam = np.array([penalty, penalty, 10 * penalty, penalty])
    b = ridge_logistic(x, y, lam, w)
    gradient = x.T @ (w * (sigmoid(x @ b) - y)) + lam * b
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_many_problems_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 80, 3)), rng.integers(0, 2, 80) * 1.0
    lam = rng.uniform(1, 50, (5, 3))
    together = ridge_logistic(x, y, lam)
    for i in range(5):
        np.testing.assert_allclose(together[i], ridge_logistic(x[i], y, lam[i]), atol=1e-8)


def test_separable_rows_stay_finite() -> None:
    x = np.array([[1.0], [2.0], [-1.0]])
    b = ridge_logistic(x, np.array([1.0, 1.0, 0.0]), np.array([1e-3]))
    assert np.isfinite(b).all() and b[0] > 0


def test_a_column_of_zeros_is_scaled_by_one() -> None:
    x = np.array([[0.0, 3.0, 0.03], [0.0, 4.0, 0.04]])
    np.testing.assert_allclose(root_mean_square(x), [1.0, np.sqrt(12.5), np.sqrt(0.00125)])
    assert sigmoid(np.array([3.0]))[0] + sigmoid(np.array([-3.0]))[0] == 1.0


def test_logit_is_finite_and_odd() -> None:
    p = np.array([0.0, 0.2, 0.5, 1.0])
    assert np.isfinite(logit(p)).all()
    np.testing.assert_allclose(logit(1 - p), -logit(p), atol=1e-9)
