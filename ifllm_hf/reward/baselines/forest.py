"""The paper's random forest on the paper's own feature list, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import feature_matrix
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved

PAPER_PREFIX = "paper_"
"""Put before the paper's column names when they are joined to the rows."""


@dataclass
class PaperForest(Saved):
    """scikit-learn's random forest on columns as they are.

    It stands for the paper: its columns name left and right in their own ways and some saw the
    whole conversation, so it is exempt from the rule on swapping, and marked contaminated.

    Attributes:
        name: Name in the table.
        columns: Columns of the rows, `paper_` before the paper's names.
        trees: Number of trees.
        seed: Seed.
    """

    name: str
    columns: Sequence[str]
    trees: int = 100
    seed: int = 0
    antisymmetric: bool = False
    reference: bool = True
    contaminated: bool = True
    fitted: Any = field(default=None, init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> PaperForest:
        """Fit the forest; missing values are a branch of their own."""
        from sklearn.ensemble import RandomForestClassifier

        self.fitted = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=1)
        self.fitted.fit(feature_matrix(rows, self.columns), y, sample_weight=weight)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        p = self.fitted.predict_proba(feature_matrix(rows, self.columns))[:, 1]
        return np.asarray(p, dtype=np.float64)
