"""The `evaluate` modules over `core`; all but `Likert` take one probability and label per pair."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

import datasets
import evaluate

from ifllm_hf.metrics import core

_PREFERENCE = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
_RATING = {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}

_SCORES = {"accuracy": core.pairwise_accuracy, "auc": core.roc_auc, "brier": core.brier_score}
_INPUTS_WITH_INTERVAL = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    groups: reader of every pair (optional); adds an interval from resampling readers.
    draws, seed: of that interval.
Returns:
    {0}; with groups also {0}_low, {0}_high and workers.
"""


class _Module(evaluate.Metric):  # type: ignore[misc]
    """What the class constants say."""

    DESCRIPTION: ClassVar[str]
    INPUTS: ClassVar[str]
    FEATURES: ClassVar[dict[str, Any]] = _PREFERENCE

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.DESCRIPTION,
            citation="",
            inputs_description=self.INPUTS,
            features=datasets.Features(self.FEATURES),
        )


class _WithInterval(_Module):
    """A score of `core` and, where groups are given, its interval over them."""

    KEY: ClassVar[str]
    """Name of the result; one of `_SCORES` and of those of `core.interval_columns`."""

    def _compute(
        self,
        predictions: Any,
        references: Any,
        groups: Any = None,
        draws: int = 2000,
        seed: int = 0,
    ) -> dict[str, float]:
        interval = core.interval_columns(
            self.KEY, references, predictions, groups, draws=draws, seed=seed
        )
        return {self.KEY: _SCORES[self.KEY](references, predictions), **interval}


class PairwiseAccuracy(_WithInterval):
    """Share of pairs whose preferred answer got the larger probability."""

    DESCRIPTION = """\
The share of pairs whose preferred answer got the larger probability: p_b > 1/2 where b was
preferred, p_b < 1/2 where a was; p_b = 1/2 counts half.
"""
    KEY = "accuracy"
    INPUTS = _INPUTS_WITH_INTERVAL.format(KEY)


class PreferenceAUC(_WithInterval):
    """Area under the ROC curve of the probability of the right answer."""

    DESCRIPTION = """\
P(p_b of a pair where b was preferred > p_b of a pair where a was) + P(equal) / 2; NaN if only
one side was ever preferred.
"""
    KEY = "auc"
    INPUTS = _INPUTS_WITH_INTERVAL.format(KEY)


class Brier(_WithInterval):
    """Mean squared distance of the predicted probability from the label."""

    DESCRIPTION = """\
Mean of (p_b - label)^2; 0 is perfect, always saying 1/2 gives 1/4.
"""
    KEY = "brier"
    INPUTS = _INPUTS_WITH_INTERVAL.format(KEY)


class ECE(_Module):
    """Expected calibration error, beside that of a perfectly calibrated model."""

    DESCRIPTION = """\
Expected calibration error over equal-width bins: sum of (share of rows) x |mean label - mean p_b|,
beside the mean that a perfectly calibrated model with these predictions would have.
"""
    INPUTS = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    bins: number of equal-width bins (10).
Returns:
    ece, ece_perfect.
"""

    def _compute(self, predictions: Any, references: Any, bins: int = 10) -> dict[str, float]:
        return {
            "ece": core.expected_calibration_error(references, predictions, bins),
            "ece_perfect": core.expected_ece_if_calibrated(predictions, bins),
        }


class Likert(_Module):
    """Errors and correlations of predicted ratings."""

    DESCRIPTION = """\
Mean squared error of predicted ratings beside that of always saying the mean, with Pearson and
Spearman correlation (NaN if either side is constant).
"""
    INPUTS = """\
Args:
    predictions: predicted ratings; they must be out of fold to mean anything.
    references: ratings given, usually 1 to 5.
    mean: what "the mean" says for every row (optional; default: the mean of the references).
Returns:
    n, mse, mse_mean, pearson, spearman.
"""
    FEATURES = _RATING

    def _compute(self, predictions: Any, references: Any, mean: Any = None) -> dict[str, float]:
        return asdict(core.likert_scores(references, predictions, mean))
