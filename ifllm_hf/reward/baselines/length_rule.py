"""The length rule, and the other models that need no behaviour: they stand beside all others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import length_log_ratio, lengths
from ifllm_hf.reward.baselines.protocol import PREFERENCE, Model, Task, Weight
from ifllm_hf.reward.baselines.saving import Saved


@dataclass
class TrainingMean(Saved):
    """Always the mean of the training labels: P(b), or the mean rating.

    Held out by group this falls below the majority: where a test fold has more of one side, its
    training folds have less. The table's majority is therefore `majority`, which looks at the set.
    """

    name: str = "training mean"
    antisymmetric: bool = False
    reference: bool = True
    rate: float = field(default=0.5, init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> TrainingMean:
        """Take the (weighted) mean of the labels."""
        self.rate = float(np.average(y, weights=weight))
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return the training mean for every row."""
        return np.full(len(rows), self.rate)


@dataclass
class LengthRule(Saved):
    """The longer answer wins, nothing fitted: p_b = len_b / (len_a + len_b), in characters.

    Equal lengths give exactly 1/2, which counts half; two empty answers likewise.
    """

    name: str = "length rule"
    antisymmetric: bool = True
    reference: bool = True

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> LengthRule:
        """Learn nothing."""
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return the right answer's share of the characters."""
        a, b = lengths(rows)
        total = a + b
        return np.where(total > 0, b / np.maximum(total, 1.0), 0.5)


@dataclass
class LengthLR(Saved):
    """Logistic regression on the log length ratio alone: p_b = sigmoid(w log((1+b)/(1+a))).

    There is no intercept, so swapping the sides gives 1 - p. `penalty` is the weight of w^2 / 2
    against the summed log loss.
    """

    name: str = "length LR"
    penalty: float = 1.0
    antisymmetric: bool = True
    reference: bool = True
    slope: float = field(default=0.0, init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> LengthLR:
        """Fit the slope by Newton steps; the loss is strictly convex in one number."""
        x = length_log_ratio(rows)
        w = np.ones(len(x)) if weight is None else weight
        self.slope = 0.0
        for _ in range(50):
            p = sigmoid(self.slope * x)
            gradient = float(np.sum(w * (p - y) * x) + self.penalty * self.slope)
            curvature = float(np.sum(w * p * (1 - p) * x * x) + self.penalty)
            step = gradient / curvature
            self.slope -= step
            if abs(step) < 1e-10:
                break
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return sigmoid(slope x log length ratio)."""
        return sigmoid(self.slope * length_log_ratio(rows))


@dataclass
class Memory(Saved):
    """Remember labels, see neither text nor behaviour: what leaks through the split alone.

    p = (sum of the conversation's training labels + k p_reader) / (their number + k), and p_reader
    likewise from the reader's labels and the overall rate. Under `worker` it knows only the rate.
    """

    name: str = "memory of labels"
    prior: float = 1.0
    antisymmetric: bool = False
    reference: bool = True
    rate: float = field(default=0.5, init=False)
    by_user: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    by_conversation: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> Memory:
        """Sum the labels by conversation and by reader."""
        w = np.ones(len(y)) if weight is None else weight
        self.rate = float(np.average(y, weights=w))
        table = rows.select("user_id", "conversation_id").with_columns(
            w=pl.Series(w), wy=pl.Series(w * y)
        )
        self.by_user = _sums(table, "user_id")
        self.by_conversation = _sums(table, "conversation_id")
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return the smoothed mean of what was remembered for the conversation and its reader."""
        out = np.empty(len(rows))
        keys = rows.select("user_id", "conversation_id").iter_rows()
        for i, (user, conversation) in enumerate(keys):
            p = self.rate
            for n, total in (
                self.by_user.get(user, (0.0, 0.0)),
                self.by_conversation.get(conversation, (0.0, 0.0)),
            ):
                p = (total + self.prior * p) / (n + self.prior)
            out[i] = p
        return out


def _sums(table: pl.DataFrame, key: str) -> dict[str, tuple[float, float]]:
    grouped = table.group_by(key).agg(pl.col("w").sum(), pl.col("wy").sum())
    return {k: (n, total) for k, n, total in grouped.iter_rows()}


def reference_models(task: Task = PREFERENCE) -> list[Model]:
    """Return the models that are always printed beside the others."""
    if task is PREFERENCE:
        return [LengthRule(), LengthLR(), Memory()]
    return [TrainingMean(), Memory()]
