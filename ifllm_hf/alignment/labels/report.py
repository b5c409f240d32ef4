"""What `ifllm label` says about the file that it wrote."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.noise import ASSUMPTION, UNSURE
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.metrics.core import expected_ece_if_calibrated, score_interval
from ifllm_hf.metrics.weighted import FloatArray

_DRAWS = 1000


@dataclass(frozen=True)
class LabelReport:
    """What was written and what it rests on.

    Attributes:
        path: Name of the file.
        source: `explicit`, `reward`, `both` or `all`.
        pairs: Rows of the file.
        workers: Readers in the file.
        ledger: Turns seen, kept and dropped by reason.
        mean_confidence: Mean probability of the chosen side.
        unsure: Share of pairs with a confidence below 0.75.
        against_click: `n` pairs with a click on a side; `against`: the other answer is chosen.
        origins: By what labels are made from: see `origins`.
        label_model: Name and hash of the settings of the model.
        nu: Rate of wrong clicks assumed, if used.
        nu_table: What other rates would change; see `noise.nu_table`.
        likert: How often the readers' own ratings contradict their clicks.
        slopes: Slope of the calibration by label fold; below 1: the model was too sure.
        trained_on: Pairs that each model was trained on, by label fold.
        behavior: Out-of-fold scores of the calibrated model against the clicks.
        known: Turns of readers whom the model has learned from; `behavior` leaves them out.
        without_behavior: Pairs of which every behaviour feature is missing, so that the model knew
            their text at most; None where the turns carry none of our feature columns.
        settings: Seed, folds, judge_fold.
    """

    path: str
    source: str
    pairs: int
    workers: int
    ledger: Ledger
    mean_confidence: float
    unsure: float
    against_click: dict[str, int]
    origins: dict[str, dict[str, float]] = field(default_factory=dict)
    label_model: str | None = None
    nu: float | None = None
    nu_table: list[dict[str, Any]] = field(default_factory=list)
    likert: dict[str, Any] = field(default_factory=dict)
    slopes: dict[int, float] = field(default_factory=dict)
    trained_on: dict[int, int] = field(default_factory=dict)
    behavior: dict[str, Any] | None = None
    known: int = 0
    without_behavior: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        out = asdict(self)
        out["ledger"] = self.ledger.to_dict()
        out["slopes"] = {str(fold): slope for fold, slope in self.slopes.items()}
        out["trained_on"] = {str(fold): n for fold, n in self.trained_on.items()}
        out["assumption"] = None if self.nu is None else ASSUMPTION
        return out

    def to_json(self) -> str:
        """Return `to_dict()` as one line of JSON; a score that is undefined is null."""
        return json.dumps(_no_nan(self.to_dict()), allow_nan=False)

    def text(self) -> str:
        """Return what to print for a person."""
        lines = [
            f"{self.pairs} pairs of {self.workers} readers, source {self.source}, mean confidence "
            f"{self.mean_confidence:.3f}, {self.unsure:.1%} below {UNSURE} -> {self.path}",
            f"turns seen {self.ledger.seen}, kept {self.ledger.kept}"
            + "".join(f", {why} {n}" for why, n in sorted(self.ledger.dropped.items())),
        ]
        if len(self.origins) > 1:
            lines += [
                f"from {origin}: {of['pairs']} pairs, mean confidence "
                f"{of['mean_confidence']:.3f}, worth {of['bits']:.0f} clicks that are always right"
                for origin, of in self.origins.items()
            ]
        if self.source != "explicit":
            lines += self._of_model()
        if self.likert.get("n"):
            lines.append(
                f"The readers' own ratings contradict {self.likert['contradicted']} of "
                f"{self.likert['n']} clicks ({self.likert['share']:.1%}); "
                f"{self.likert['equal']} rate both answers the same."
            )
        if self.nu_table:
            lines += ["", "What other rates of wrong clicks (nu) would change:", *self._table()]
            lines += ["", ASSUMPTION]
        return "\n".join(lines)

    def _of_model(self) -> list[str]:
        clicked = self.against_click
        saw = "each reader by a model that never saw that reader"
        if self.known:
            saw = f"{self.known} turns by a model that has learned from their reader (too sure)"
        lines = [
            f"Labelled by {self.label_model}, {saw}; calibration slopes "
            f"{', '.join(f'{s:.2f}' for s in self.slopes.values())}."
        ]
        if self.behavior is not None:
            accuracy, auc = self.behavior["accuracy"], self.behavior["auc"]
            lines.append(
                f"Out of fold against {self.behavior['n']} clicks of {self.behavior['workers']} "
                f"readers: accuracy {_interval(accuracy)}, AUC {_interval(auc)}, ECE "
                f"{self.behavior['ece']:.3f} (perfectly calibrated: "
                f"{self.behavior['ece_if_calibrated']:.3f})."
            )
        lines.append(
            f"Of {clicked['n']} pairs with a click, the other answer is chosen in "
            f"{clicked['against']}."
        )
        if self.without_behavior:
            lines.append(
                f"{self.without_behavior} pairs have no behaviour: the model knew text at most."
            )
        if self.settings.get("judge_fold") is None:
            lines.append(
                "Every reader's clicks shaped the labels of others; before judging on one fold of "
                "readers, label again with judge_fold."
            )
        return lines

    def _table(self) -> list[str]:
        head = f"{'nu':>6} {'flips':>6} {'mean confidence':>16} {f'below {UNSURE}':>12}"
        return [head] + [
            f"{row['nu']:>6.2f} {row['flips']:>6d} {row['mean_confidence']:>16.3f} "
            f"{row['unsure']:>12.1%}"
            for row in self.nu_table
        ]


def origins(table: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Say how many labels there are of each origin, and what they are worth.

    Args:
        table: `origin` and `confidence` of a label file.

    Returns:
        By origin: `pairs`, `mean_confidence`, and `bits`, the sum of 1 - H(confidence) with the
        binary entropy H: a label that is sure is worth one bit, a coin flip nothing.
    """
    found = {}
    for (origin,), part in sorted(table.group_by("origin")):
        c = part["confidence"].to_numpy().astype(np.float64)
        sides = np.stack([c, 1.0 - c])
        bits = c.size + np.sum(sides * np.log2(np.maximum(sides, np.finfo(float).tiny)))
        found[str(origin)] = {
            "pairs": part.height,
            "mean_confidence": float(c.mean()),
            "bits": float(bits),
        }
    return found


def behavior_scores(
    y: FloatArray, p_b: FloatArray, workers: pl.Series, *, seed: int = 0
) -> dict[str, Any] | None:
    """Score out-of-fold predictions against the clicks, with intervals over workers.

    Args:
        y: 1 where b was clicked, 0 where a was, NaN without a click, shape (n,).
        p_b: Predicted P(click = b), shape (n,).
        workers: Reader of every row.
        seed: Of the bootstrap.

    Returns:
        `n, workers, accuracy, auc, brier` (each with `estimate, low, high`; NaN where undefined),
        `ece, ece_if_calibrated`; None without any click.
    """
    there = np.isfinite(y)
    if not there.any():
        return None
    groups = workers.to_numpy()[there]
    found: dict[str, Any] = {"n": int(there.sum()), "workers": len(np.unique(groups))}
    for metric in ("accuracy", "auc", "brier"):
        got = score_interval(metric, y[there], p_b[there], groups, draws=_DRAWS, seed=seed)
        found[metric] = {"estimate": got.estimate, "low": got.low, "high": got.high}
    ece = score_interval("ece", y[there], p_b[there], groups, draws=1, seed=seed)
    found["ece"] = ece.estimate
    found["ece_if_calibrated"] = expected_ece_if_calibrated(p_b[there])
    return found


def _interval(score: dict[str, float]) -> str:
    return f"{score['estimate']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _no_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_no_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
