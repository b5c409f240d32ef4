"""Length and the end of reading: the hand-made reward, and the head of the one that travels.

What a reader's pointer and eyes rest on towards the end of reading tells which answer they will
prefer, and a share of the reading time is a better ruler for "the end" than seconds. Which channel,
which half-life, relative to the reader's habit or not: on a few hundred labels those choices cannot
be told apart, and picking one loses more than averaging all of them.

The average is linear in a handful of columns, so it folds into 95 weights (`head_weights`), which
`ifllm_hf.reward.model.modeling_evidence_ifllm` computes from the ticks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import SIDES
from ifllm_hf.behavior.features.comparison import DELTAS
from ifllm_hf.errors import require_one_of
from ifllm_hf.metrics.ridge import ridge_logistic, root_mean_square, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import (
    MODERATORS,
    evidence,
    inner_splits,
    length_log_ratio,
    lengths,
    mean_and_spread,
    moderators,
)
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved

CHANNELS = ("mouse", "either", "pooled")
ENDS = ("late_10pct", "late_20pct", "late_30pct")
HABITS = (0.0, 0.5)
"""How much of the reader's habit in earlier turns is taken off."""
COLUMNS = tuple(f"{channel}_{end}" for channel, end in product(CHANNELS, ENDS))
"""The nine measures of the end of reading, per answer."""
COMPANIONS = tuple(
    f"{name}_log_ratio"
    for name in ("mouse_coverage", "mouse_depth", "gaze_coverage", "gaze_depth", "gaze_pause_share")
)
MAINS = tuple(product(COLUMNS, HABITS))
CHOICES = ("average", "inner", "mean")
_CONTEXT = len(MODERATORS)
_WIDTH = 2 + 2 * _CONTEXT
_MEAN_HABIT = 0.25


@dataclass(frozen=True)
class Signals:
    """What the model looks at: b less a, so that swapping the sides turns every sign.

    Attributes:
        length: `[n]` ln((1 + characters of b) / (1 + characters of a)).
        late: `[n, 9]` log ratios of `COLUMNS`; 0 where behaviour is missing.
        habit: `[n, 9]` the same of the reader's earlier turns, shrunk towards 0; 0 where `late` is
            missing.
        context: `[n, 4]` `MODERATORS`, the same for both sides; NaN where unknown.
        companions: `[n, 5]` `COMPANIONS`; None where they have no part.
    """

    length: FloatArray
    late: FloatArray
    habit: FloatArray
    context: FloatArray
    companions: FloatArray | None = None

    @classmethod
    def of_rows(cls, rows: pl.DataFrame, *, companions: bool = False) -> Signals:
        """Read the columns that `behavior_features` computed.

        Args:
            rows: Turns with two answers, and their features.
            companions: Whether to read `COMPANIONS`.

        Raises:
            DataError: A column is missing.
        """
        late = evidence(rows, [f"{name}_log_ratio" for name in COLUMNS])
        return cls(
            length_log_ratio(rows),
            late,
            late - evidence(rows, [f"{name}_log_ratio_vs_own" for name in COLUMNS]),
            moderators(rows),
            evidence(rows, COMPANIONS) if companions else None,
        )


@dataclass
class LateReading(Saved):
    """Average (in logits) of 36 antisymmetric logistic regressions, or one of them.

    Each has the log length ratio L and one measure E of the end of reading: 3 channels (mouse;
    mouse, else gaze; both pooled) x 3 half-lives (10, 20, 30 % of the reading time) x 2 (as it is;
    less half of the reader's habit in earlier turns). Each pair is fitted

    * plain: L, E;
    * moderated: and L and E times each of `inputs.MODERATORS`, standardised on the training rows;
    * accompanied, if asked for: and `COMPANIONS` (coverage, depth, pauses).

    The additions carry `caution` times the penalty. There is nothing to select in the average, so
    no label chooses anything but weights. All members are linear in signed columns: swapping the
    sides gives 1 - p.

    Attributes:
        name: Name in the table.
        choose: `average`; `inner`: the one member with the least log loss over inner folds grouped
            by reader, to show what selection costs; `mean`: one moderated regression on the mean
            of the nine columns less a quarter of the habit, ten weights in all.
        penalty: Weight of Σ w² / 2 for L and E, on features scaled to a mean square of 1.
        caution: Factor on the penalty of moderated terms and companions.
        inner_folds: Folds of `inner`.
        accompanied: Whether the members with `COMPANIONS` are there. They cannot be computed from
            the tensors of the reward model, so such a model has no `head_weights`.
    """

    name: str = "late reading, averaged"
    choose: str = "average"
    penalty: float = 20.0
    caution: float = 10.0
    inner_folds: int = 5
    accompanied: bool = False
    antisymmetric: bool = True
    centre: FloatArray = field(default_factory=lambda: np.zeros(_CONTEXT), init=False)
    spread: FloatArray = field(default_factory=lambda: np.ones(_CONTEXT), init=False)
    weights: FloatArray = field(default_factory=lambda: np.empty((0, _WIDTH)), init=False)
    typical_log_chars: float = field(default=0.0, init=False)
    typical_log_share: FloatArray = field(
        default_factory=lambda: np.zeros(len(COLUMNS)), init=False
    )

    absent_from_older_files: ClassVar[dict[str, Any]] = {
        "accompanied": True,
        "typical_log_chars": 0.0,
        "typical_log_share": np.zeros(len(COLUMNS)),
    }

    def __post_init__(self) -> None:
        """Check the settings."""
        require_one_of("choose", self.choose, CHOICES)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> LateReading:
        """Fit every member; row m of `weights` belongs to member m, zero if it has no vote."""
        self.typical_log_chars = float(np.log1p(np.concatenate(lengths(rows))).mean())
        self.typical_log_share = _typical_log_share(rows)
        return self.fit_signals(self._signals(rows), y, groups, weight)

    def fit_signals(
        self, signals: Signals, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> LateReading:
        """Fit on signals that were computed elsewhere; see `fit`."""
        self.centre, self.spread = mean_and_spread(signals.context)
        x = self._design(signals)
        fitted = self._fit(x, y, weight)
        if self.choose == "inner":
            votes = np.zeros(len(fitted))
            votes[np.argmin(self._inner_loss(x, y, groups, weight))] = 1.0
        else:
            votes = np.full(len(fitted), 1.0 / len(fitted))
        self.weights = fitted * votes[:, None]
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        return sigmoid(self.logits(self._signals(rows)))

    def logits(self, signals: Signals) -> FloatArray:
        """Return the log odds that b is preferred, shape (n,)."""
        logits: FloatArray = np.einsum("mnk,mk->n", self._design(signals), self.weights)
        return logits

    def head_weights(self) -> dict[str, FloatArray]:
        """Fold the members into the weights of `EvidenceHead`, by their names there.

        Returns:
            `length_weight` `[5]` (1 and the context), `late_weight` `[9, 2, 5]` (column, habit,
            1 and the context), `centre`, `spread` `[4]`, `typical_log_chars` `[]`,
            `typical_log_share` `[9]`.
        """
        assert not self.accompanied, "companions cannot be computed from the model's tensors"
        length, late = np.zeros(1 + _CONTEXT), np.zeros((len(COLUMNS), len(HABITS), 1 + _CONTEXT))
        for number, member in enumerate(self.weights):
            length += np.concatenate([member[:1], member[2 + _CONTEXT : _WIDTH]])
            told = np.concatenate([member[1:2], member[2 : 2 + _CONTEXT]])
            if self.choose == "mean":  # a quarter of the habit: half of each of the two habits
                late += told / late[..., 0].size
            else:
                column, habit = MAINS[number // self._kinds]
                late[COLUMNS.index(column), HABITS.index(habit)] += told
        return {
            "length_weight": length,
            "late_weight": late,
            "centre": self.centre,
            "spread": self.spread,
            "typical_log_chars": np.array(self.typical_log_chars),
            "typical_log_share": self.typical_log_share,
        }

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that predictions depend on."""
        late = (f"{name}_log_ratio{end}" for name in COLUMNS for end in ("", "_vs_own"))
        return (*late, "reading_ms", *(COMPANIONS if self.accompanied else ()))

    @property
    def _kinds(self) -> int:
        """How many members each measure has: plain, moderated, accompanied."""
        return 3 if self.accompanied else 2

    def _signals(self, rows: pl.DataFrame) -> Signals:
        return Signals.of_rows(rows, companions=self.accompanied)

    def _fit(self, x: FloatArray, y: FloatArray, weight: Weight) -> FloatArray:
        scale = root_mean_square(x)
        penalty = np.full(x.shape[2], self.penalty * self.caution)
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

    def _design(self, signals: Signals) -> FloatArray:
        """Return the features of all members, shape (members, n, 10 or 15); unused ones are 0."""
        context = np.clip((signals.context - self.centre) / self.spread, -3.0, 3.0)
        context = np.nan_to_num(context)

        def block(main: FloatArray, kinds: tuple[str, ...]) -> FloatArray:
            width = _WIDTH + (len(COMPANIONS) if self.accompanied else 0)
            x = np.zeros((len(kinds), len(main), width))
            x[:, :, 0], x[:, :, 1] = signals.length, main
            for i, kind in enumerate(kinds):
                if kind != "plain":
                    x[i, :, 2 : 2 + _CONTEXT] = main[:, None] * context
                    x[i, :, 2 + _CONTEXT : _WIDTH] = signals.length[:, None] * context
                if kind == "accompanied":
                    x[i, :, _WIDTH:] = signals.companions
            return x

        if self.choose == "mean":
            return block((signals.late - _MEAN_HABIT * signals.habit).mean(axis=1), ("moderated",))
        kinds = ("plain", "moderated", "accompanied")[: self._kinds]
        mains = (
            signals.late[:, COLUMNS.index(column)] - habit * signals.habit[:, COLUMNS.index(column)]
            for column, habit in MAINS
        )
        return np.concatenate([block(main, kinds) for main in mains])


def _typical_log_share(rows: pl.DataFrame) -> FloatArray:
    """Return the mean of ln(share + δ) over answers, per column; 0 where shares are not known.

    It moves the scores of all answers of a turn alike.
    """
    out = np.zeros(len(COLUMNS))
    for i, column in enumerate(COLUMNS):
        names = [f"{column}_{side}" for side in SIDES]
        if set(names) <= set(rows.columns):
            share = rows.select(pl.col(names).cast(pl.Float64)).to_numpy().ravel()
            known = share[np.isfinite(share)]
            if known.size:
                delta = DELTAS[column.split("_", 1)[1]]
                out[i] = np.log(known + delta).mean()
    return out
