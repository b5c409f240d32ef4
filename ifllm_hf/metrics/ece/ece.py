"""Calibration error of preference probabilities, as an `evaluate` module."""

from __future__ import annotations

from typing import Any

import evaluate

from ifllm_hf.metrics import core
from ifllm_hf.metrics.preference_info import preference_info

_DESCRIPTION = """\
Expected calibration error over equal-width bins: sum of (share of rows) x |mean label - mean p_b|,
beside the mean that a perfectly calibrated model with these predictions would have.
"""
_INPUTS = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    bins: number of equal-width bins (10).
Returns:
    ece, ece_perfect.
"""


class ECE(evaluate.Metric):  # type: ignore[misc]
    """Expected calibration error, beside that of a perfectly calibrated model."""

    def _info(self) -> evaluate.MetricInfo:
        return preference_info(_DESCRIPTION, _INPUTS)

    def _compute(self, predictions: Any, references: Any, bins: int = 10) -> dict[str, float]:
        return {
            "ece": core.expected_calibration_error(references, predictions, bins),
            "ece_perfect": core.expected_ece_if_calibrated(predictions, bins),
        }
