"""A reader's lean to the left or right answer, as a protocol of its own.

Side bias is noise of the reader, not quality of an answer: it is estimated here to show how much
of the error it explains, and never enters the reward of an answer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.rows import visible
from ifllm_hf.metrics.ridge import logit, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import inner_splits
from ifllm_hf.reward.baselines.protocol import Model, Weight, config_hash

PROTOCOL = "conversation + side bias"


@dataclass
class SideBias:
    """A model plus one offset per reader, estimated from that reader's training labels.

    logit p = logit p_model + bias[reader]. The bias maximises the likelihood of the reader's
    training labels, given the model's own *out-of-fold* predictions of them, under a normal prior
    with standard deviation `spread`. A reader without training labels has none.

    Attributes:
        base: The model.
        spread: Standard deviation of the bias among readers, in logits.
        inner_folds: Folds for the out-of-fold predictions of the training rows.
    """

    base: Model
    spread: float = 0.5
    inner_folds: int = 5
    antisymmetric: bool = False
    fitted: Model | None = field(default=None, init=False)
    bias: dict[str, float] = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """Name of the model with the bias."""
        return f"{self.base.name} + side bias"

    def config(self) -> Mapping[str, Any]:
        """Return the settings."""
        base = config_hash(self.base)
        return {"base": base, "spread": self.spread, "inner_folds": self.inner_folds}

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> SideBias:
        """Fit the model on all training rows and the biases on its inner predictions."""
        inner = np.full(len(y), 0.5)
        conversation = rows["conversation_id"].to_numpy()
        for train, test in inner_splits(conversation, self.inner_folds):
            if len(np.unique(y[train])) < 2:
                continue
            part = None if weight is None else weight[train]
            model = copy.deepcopy(self.base)
            model.fit(rows.filter(train), y[train], groups[train], part)
            inner[test] = model.predict_proba(visible(rows.filter(test)))
        self.fitted = copy.deepcopy(self.base)
        self.fitted.fit(rows, y, groups, weight)
        known = logit(inner)
        self.bias = {
            str(reader): _offset(known[groups == reader], y[groups == reader], self.spread)
            for reader in np.unique(groups)
        }
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return the model's probabilities, moved by each reader's bias."""
        if self.fitted is None:
            raise RuntimeError("fit the model before predicting")
        bias = np.array([self.bias.get(reader, 0.0) for reader in rows["user_id"].to_list()])
        return sigmoid(logit(self.fitted.predict_proba(rows)) + bias)


def _offset(known: FloatArray, y: FloatArray, spread: float) -> float:
    """Return the mode of the posterior of what is added to known logits, by Newton steps."""
    offset = 0.0
    for _ in range(50):
        p = sigmoid(known + offset)
        step = (np.sum(y - p) - offset / spread**2) / (np.sum(p * (1 - p)) + 1 / spread**2)
        offset += float(step)
        if abs(step) < 1e-9:
            break
    return offset
