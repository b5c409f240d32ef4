"""Gradient boosting that gives 1 - p when left and right are swapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import feature_matrix, length_log_ratio, moderators
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved


@dataclass
class AntisymmetricBooster(Saved):
    """scikit-learn's histogram booster on signed columns and on symmetric context.

    It learns every row twice, as it is and with sides and label exchanged; the answer is half the
    difference of the logits of the two views, so that p(swapped) = 1 - p to the last digit.

    Attributes:
        name: Name in the table.
        columns: Columns whose sign turns when the sides are swapped; the log length ratio is added.
        rounds: Trees.
        learning_rate: Shrinkage.
        leaves: Leaves of a tree.
        min_leaf: Rows in a leaf, both views counted.
        l2: Penalty on leaf values.
        seed: Seed.
    """

    name: str
    columns: Sequence[str]
    rounds: int = 40
    learning_rate: float = 0.06
    leaves: int = 5
    min_leaf: int = 60
    l2: float = 20.0
    seed: int = 0
    antisymmetric: bool = True
    fitted: Any = field(default=None, init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> AntisymmetricBooster:
        """Fit both views of every row."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        signed, context = self._inputs(rows)
        both = np.concatenate([np.hstack([signed, context]), np.hstack([-signed, context])])
        self.fitted = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.min_leaf,
            l2_regularization=self.l2,
            early_stopping=False,
            random_state=self.seed,
        )
        weights = None if weight is None else np.concatenate([weight, weight])
        self.fitted.fit(both, np.concatenate([y, 1 - y]), sample_weight=weights)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        signed, context = self._inputs(rows)
        here = self.fitted.decision_function(np.hstack([signed, context]))
        there = self.fitted.decision_function(np.hstack([-signed, context]))
        return sigmoid((here - there) / 2)

    def _inputs(self, rows: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
        signed = np.column_stack([length_log_ratio(rows), feature_matrix(rows, self.columns)])
        return signed, moderators(rows)
