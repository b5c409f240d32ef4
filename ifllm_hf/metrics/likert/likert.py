"""Errors and correlations of predicted ratings, as an `evaluate` module."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import datasets
import evaluate

from ifllm_hf.metrics import core

_DESCRIPTION = """\
Mean squared error of predicted ratings beside that of always saying the mean, with Pearson and
Spearman correlation (NaN if either side is constant).
"""
_INPUTS = """\
Args:
    predictions: predicted ratings; they must be out of fold to mean anything.
    references: ratings given, usually 1 to 5.
    mean: what "the mean" says for every row (optional; default: the mean of the references).
Returns:
    n, mse, mse_mean, pearson, spearman.
"""


class Likert(evaluate.Metric):  # type: ignore[misc]
    """Errors and correlations of predicted ratings."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, mean: Any = None) -> dict[str, float]:
        return asdict(core.likert_scores(references, predictions, mean))
