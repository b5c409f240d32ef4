"""The first behaviour model: a few log ratios of left to right, weighed by a logistic regression.

P(b) = sigmoid(sum_k w_k z_k),  z_k = log((x_b + s_k) / (x_a + s_k)) / sd_k

There is no intercept and no centring, so swapping left and right turns every z and gives 1 - P. A
ratio that was not recorded counts as 0: nothing speaks for either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.rows import lengths
from ifllm_hf.metrics.weighted import FloatArray

LENGTH = "length"


@dataclass
class LogRatioLR:
    """Antisymmetric logistic regression on log ratios of per-response columns.

    Attributes:
        columns: Stems of the columns (`<stem>_a`, `<stem>_b`, at least 0) and what is added to both
            before the logarithm; `length` stands for the answers' lengths.
        c: Inverse strength of the L2 penalty.
        name: Name in the table.
    """

    columns: Mapping[str, float]
    c: float = 0.1
    name: str = "log ratios of behaviour + length, LR"
    antisymmetric: bool = True
    scale: FloatArray | None = field(default=None, init=False)
    weights: FloatArray | None = field(default=None, init=False)

    def config(self) -> dict[str, Any]:
        """Return the settings."""
        return {"columns": dict(self.columns), "c": self.c}

    def fit(
        self,
        rows: pl.DataFrame,
        y: FloatArray,
        groups: np.ndarray,
        weight: FloatArray | None = None,
    ) -> LogRatioLR:
        """Learn the weights; scales come from the same rows."""
        from sklearn.linear_model import LogisticRegression

        ratios = self._ratios(rows)
        self.scale = np.maximum(np.sqrt((ratios**2).mean(axis=0)), 1e-9)
        z = ratios / self.scale
        model = LogisticRegression(C=self.c, fit_intercept=False, max_iter=1000)
        # Each pair stands both ways round, so that the penalty and the labels are balanced too.
        both = None if weight is None else np.concatenate([weight, weight])
        model.fit(np.concatenate([z, -z]), np.concatenate([y, 1 - y]), sample_weight=both)
        self.weights = np.asarray(model.coef_[0], dtype=np.float64)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b)."""
        if self.weights is None or self.scale is None:
            raise RuntimeError(f"{self.name}: fit comes before predict_proba")
        score = (self._ratios(rows) / self.scale) @ self.weights
        return np.asarray(1 / (1 + np.exp(-score)), dtype=np.float64)

    def _ratios(self, rows: pl.DataFrame) -> FloatArray:
        found = []
        for stem, smooth in self.columns.items():
            if stem == LENGTH:
                a, b = lengths(rows)
            else:
                a, b = (rows[f"{stem}_{side}"].to_numpy() for side in ("a", "b"))
            found.append(np.log((b + smooth) / (a + smooth)))
        return np.nan_to_num(np.column_stack(found).astype(np.float64), nan=0.0)


def first_behavior_model() -> LogRatioLR:
    """Return the model of `ifllm demo`: length, and dwell on text late in reading."""
    return LogRatioLR(
        {
            LENGTH: 1.0,
            "mouse_recency_15s_ms": 200.0,
            "gaze_recency_15s_ms": 200.0,
            "mouse_dwell_ms": 200.0,
            "gaze_dwell_ms": 200.0,
        }
    )
