"""Behaviour on single answers: the rating, and whether it was better than the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ifllm_hf.metrics.ridge import ridge_logistic, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import feature_matrix, inner_splits, lengths, mean_and_spread
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved

_ON_ANSWER = (
    *("dwell_ms_per_char", "dwell_ms_per_char_vs_own"),
    *("coverage", "depth", "reread_share"),
)
COLUMNS = (
    *("reading_ms", "reading_ms_vs_own"),
    *(f"{channel}_{name}_a" for name in _ON_ANSWER for channel in ("mouse", "gaze")),
    *("gaze_on_text_share", "mouse_on_text_share"),
)
_LOGARITHMS = frozenset(c for c in COLUMNS if c.startswith("reading_ms") or "per_char_a" in c)


@dataclass
class PointwiseRidge(Saved):
    """Ridge regression of a rating, or ridge logistic regression of a yes, with an intercept.

    Features: log characters of the answer and the behaviour on it, standardised on the training
    rows; a missing value is the mean.

    Attributes:
        name: Name in the table.
        binary: Whether to predict a probability (else a rating).
        columns: Behaviour columns; none for length alone.
        penalties: Weights of Σ w² / 2, the intercept left out, to choose from by inner folds
            grouped by reader.
        inner_folds: Those folds.
    """

    name: str
    binary: bool
    columns: Sequence[str] = COLUMNS
    penalties: Sequence[float] = (30.0, 300.0, 3000.0, 30000.0)
    inner_folds: int = 5
    antisymmetric: bool = False
    centre: FloatArray = field(default_factory=lambda: np.empty(0), init=False)
    spread: FloatArray = field(default_factory=lambda: np.empty(0), init=False)
    penalty: float = field(default=float("nan"), init=False)
    weights: FloatArray = field(default_factory=lambda: np.empty(0), init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> PointwiseRidge:
        """Choose the penalty, then fit by least squares, or by Newton steps."""
        raw = self._raw(rows)
        self.centre, self.spread = mean_and_spread(raw)
        x: FloatArray = self._design(raw)
        w = np.ones(len(y)) if weight is None else weight
        loss = [self._inner_loss(x, y, groups, w, penalty) for penalty in self.penalties]
        self.penalty = float(self.penalties[int(np.argmin(loss))])
        self.weights = self._fit(x, y, w, self.penalty)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(yes), or the expected rating, shape (n,)."""
        score = self._design(self._raw(rows)) @ self.weights
        return sigmoid(score) if self.binary else np.asarray(score, dtype=np.float64)

    def _fit(self, x: FloatArray, y: FloatArray, w: FloatArray, penalty: float) -> FloatArray:
        each = np.full(x.shape[1], penalty)
        each[0] = 1e-6
        if self.binary:
            return ridge_logistic(x, y, each, w)
        # Least squares with one more row per penalty.
        root = np.sqrt(w)
        left = np.concatenate([x * root[:, None], np.diag(np.sqrt(each))])
        right = np.concatenate([y * root, np.zeros(len(each))])
        return np.asarray(np.linalg.lstsq(left, right)[0], dtype=np.float64)

    def _inner_loss(
        self, x: FloatArray, y: FloatArray, groups: np.ndarray, w: FloatArray, penalty: float
    ) -> float:
        """Return the squared error or log loss on readers that were not fitted on."""
        total = 0.0
        for train, test in inner_splits(groups, self.inner_folds):
            score = x[test] @ self._fit(x[train], y[train], w[train], penalty)
            if self.binary:
                loss = np.logaddexp(0.0, -(2 * y[test] - 1) * score)
            else:
                loss = (y[test] - score) ** 2
            total += float(loss @ w[test])
        return total

    def _raw(self, rows: pl.DataFrame) -> FloatArray:
        values = feature_matrix(rows, self.columns)
        for j, name in enumerate(self.columns):
            if name in _LOGARITHMS and not name.endswith("_vs_own"):
                values[:, j] = np.log(values[:, j] + 1.0)
        return np.column_stack([np.log1p(lengths(rows)[0]), values])

    def _design(self, raw: FloatArray) -> FloatArray:
        standard = np.nan_to_num((raw - self.centre) / self.spread)
        return np.column_stack([np.ones(len(raw)), standard])
