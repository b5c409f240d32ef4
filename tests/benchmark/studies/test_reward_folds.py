"""The weights that a new reader's first labels set, against a general minimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from ifllm_hf.benchmark.studies.reward_folds import adapted
from ifllm_hf.errors import DataError


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0, 1e3])
@pytest.mark.parametrize("separable", [True, False])
def test_the_weights_minimise_the_penalised_loss(scale: float, separable: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 2)) * scale
    y = (x[:, 1] > 0 if separable else rng.random(12) < 0.5).astype(float)

    def loss(w: np.ndarray) -> float:
        return float(np.logaddexp(0, -(2 * y - 1) * (x @ w)).sum() + 2 * ((w - 1) ** 2).sum())

    found = adapted(x[:, 0], x[:, 1], y)
    best = min(
        minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun
        for start in (found, [1.0, 1.0], [0.0, 0.0])
    )
    assert loss(found) == pytest.approx(best, rel=1e-6)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        adapted(np.array([np.nan]), np.array([1.0]), np.array([1.0]))
