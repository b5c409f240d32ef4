"""Antisymmetric logistic regression on a few log ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ifllm_hf.metrics.ridge import ridge_logistic, root_mean_square, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import evidence, length_log_ratio
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved


@dataclass
class AntisymmetricLR(Saved):
    """p_b = sigmoid(Σ_j w_j x_j / s_j), no intercept, L2 penalty on w.

    s_j is the root mean square of x_j over the training rows. A missing x_j is 0.

    Attributes:
        name: Name in the table.
        columns: Columns whose sign turns when left and right are swapped.
        length: Whether the log length ratio is one of the features.
        penalty: Weight of Σ w² / 2 against the summed log loss.
        contaminated: Whether the columns saw more than reading.
    """

    name: str
    columns: Sequence[str]
    length: bool = True
    penalty: float = 30.0
    contaminated: bool = False
    antisymmetric: bool = True
    weights: FloatArray = field(default_factory=lambda: np.empty(0), init=False)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it looks at, beside the lengths."""
        return tuple(self.columns)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> AntisymmetricLR:
        """Fit the weights, stored per unit of the features."""
        x = self._design(rows)
        scale = root_mean_square(x)
        penalty = np.full(x.shape[1], self.penalty)
        self.weights = ridge_logistic(x / scale, y, penalty, weight) / scale
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        return sigmoid(self._design(rows) @ self.weights)

    def _design(self, rows: pl.DataFrame) -> FloatArray:
        x = evidence(rows, self.columns)
        return np.column_stack([length_log_ratio(rows), x]) if self.length else x
