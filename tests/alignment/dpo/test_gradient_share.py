from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

# Both are TRL's own use of names that transformers deprecated; peft warns about Conv1D.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


def test_gradient_share_by_confidence_is_that_of_the_formula(
    make_trainer: Make, pairs: Any
) -> None:
    trainer = make_trainer(
        preference_loss="rdpo_paper", per_device_train_batch_size=24, max_steps=1, nll_weight=0.0
    )
    trainer.train()
    confidence = np.asarray(pairs["confidence"], dtype=np.float32)
    pull = 1 / (1 - 2 * np.clip(1 - confidence, 0, 0.45))  # twice the gradient at margin 0
    edges = np.quantile(confidence, np.arange(1, 10) / 10).astype(np.float32)
    decile = (confidence[:, None] >= edges).sum(axis=1)
    expected = np.bincount(decile, weights=pull, minlength=10) / pull.sum()
    logged = next(e for e in trainer.state.log_history if "gradient_share/decile_1" in e)
    seen = [logged[f"gradient_share/decile_{i}"] for i in range(1, 11)]
    np.testing.assert_allclose(seen, expected, rtol=1e-3)
    assert seen[0] > 5 * seen[9]
    np.testing.assert_allclose(trainer.gradient_mass / trainer.gradient_mass.sum(), seen, rtol=1e-6)
