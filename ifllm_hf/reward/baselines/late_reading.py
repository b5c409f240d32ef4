"""The best model so far: length and the end of reading, averaged over many ways to measure it.

What a reader's pointer and eyes rest on towards the end of reading tells which answer they will
prefer, and a share of the reading time is a better ruler for "the end" than seconds. Which channel,
which half-life, relative to the reader's habit or not, with which companions: on a few hundred
labels those choices cannot be told apart, and picking one loses more than averaging all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import polars as pl

from ifllm_hf.errors import require_one_of
from ifllm_hf.metrics.ridge import ridge_logistic, root_mean_square, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import (
    MODERATORS,
    evidence,
    inner_splits,
    length_log_ratio,
    mean_and_spread,
    moderators,
)
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved

CHANNELS = ("mouse", "either", "pooled")
ENDS = ("late_10pct", "late_20pct", "late_30pct")
HABITS = (0.0, 0.5)
"""How much of the reader's habit in earlier turns is taken off."""
EXTRAS = ("plain", "moderated", "accompanied")
COMPANIONS = tuple(
    f"{name}_log_ratio"
    for name in ("mouse_coverage", "mouse_depth", "gaze_coverage", "gaze_depth", "gaze_pause_share")
)
MAINS = tuple(product(CHANNELS, ENDS, HABITS))
_PLAIN = [f"{channel}_{end}_log_ratio" for channel in CHANNELS for end in ENDS]
_VS_OWN = [f"{name}_vs_own" for name in _PLAIN]
_WIDTH = 2 + 2 * len(MODERATORS) + len(COMPANIONS)


@dataclass
class LateReading(Saved):
    """Average (in logits) of 54 antisymmetric logistic regressions, or the best by inner folds.

    Each has the log length ratio L and one measure E of the end of reading: 3 channels (mouse;
    mouse, else gaze; both pooled) x 3 half-lives (10, 20, 30 % of the reading time) x 2 (as it is;
    less half of the reader's habit in earlier turns). Each pair is fitted

    * plain: L, E;
    * moderated: and L and E times each of `inputs.MODERATORS`, standardised on the training rows;
    * accompanied: and `COMPANIONS` (coverage, depth, pauses).

    The additions carry `caution` times the penalty. There is nothing to select in the average, so
    no label chooses anything but weights. All members are linear in signed columns: swapping the
    sides gives 1 - p.

    Attributes:
        name: Name in the table.
        choose: `average`, or `inner`: the one member with the least log loss over inner folds
            grouped by reader, to show what selection costs.
        penalty: Weight of Σ w² / 2 for L and E, on features scaled to a mean square of 1.
        caution: Factor on the penalty of moderated terms and companions.
        inner_folds: Folds of `inner`.
    """

    name: str = "late reading, averaged"
    choose: str = "average"
    penalty: float = 20.0
    caution: float = 10.0
    inner_folds: int = 5
    antisymmetric: bool = True
    centre: FloatArray = field(default_factory=lambda: np.zeros(4), init=False)
    spread: FloatArray = field(default_factory=lambda: np.ones(4), init=False)
    weights: FloatArray = field(default_factory=lambda: np.empty((0, _WIDTH)), init=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        require_one_of("choose", self.choose, ("average", "inner"))

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> LateReading:
        """Fit every member; row m of `weights` belongs to member m, zero if it has no vote."""
        self.centre, self.spread = mean_and_spread(moderators(rows))
        x = self._design(rows)
        fitted = self._fit(x, y, weight)
        if self.choose == "average":
            votes = np.full(len(fitted), 1.0 / len(fitted))
        else:
            votes = np.zeros(len(fitted))
            votes[np.argmin(self._inner_loss(x, y, groups, weight))] = 1.0
        self.weights = fitted * votes[:, None]
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        return sigmoid(np.einsum("mnk,mk->n", self._design(rows), self.weights))

    def _fit(self, x: FloatArray, y: FloatArray, weight: Weight) -> FloatArray:
        scale = root_mean_square(x)
        penalty = np.full(_WIDTH, self.penalty * self.caution)
        penalty[:2] = self.penalty
        return ridge_logistic(x / scale[:, None], y, penalty, weight) / scale

    def _inner_loss(
        self, x: FloatArray, y: FloatArray, groups: np.ndarray, weight: Weight
    ) -> FloatArray:
        """Return the summed log loss of every member on readers it was not fitted on."""
        w = np.ones(len(y)) if weight is None else weight
        loss = np.zeros(len(x))
        for train, test in inner_splits(groups, self.inner_folds):
            b = self._fit(x[:, train], y[train], w[train])
            logit = np.einsum("mnk,mk->mn", x[:, test], b)
            loss += np.logaddexp(0.0, -(2 * y[test] - 1) * logit) @ w[test]
        return loss

    def _design(self, rows: pl.DataFrame) -> FloatArray:
        """Return the features of all members, shape (54, n, 15); unused ones are 0."""
        length = length_log_ratio(rows)
        context = np.clip((moderators(rows) - self.centre) / self.spread, -3.0, 3.0)
        context = np.nan_to_num(context)
        signed = evidence(rows, [*_PLAIN, *_VS_OWN, *COMPANIONS])
        columns = dict(zip([*_PLAIN, *_VS_OWN], signed.T, strict=False))
        companions = signed[:, -len(COMPANIONS) :]
        x = np.zeros((len(MAINS) * len(EXTRAS), len(rows), _WIDTH))
        for i, (channel, end, habit) in enumerate(MAINS):
            stem = f"{channel}_{end}_log_ratio"
            main = (1 - habit) * columns[stem] + habit * columns[f"{stem}_vs_own"]
            block = x[3 * i : 3 * i + 3]
            block[:, :, 0], block[:, :, 1] = length, main
            block[1:, :, 2:6] = main[:, None] * context
            block[1:, :, 6:10] = length[:, None] * context
            block[2, :, 10:] = companions
        return x
