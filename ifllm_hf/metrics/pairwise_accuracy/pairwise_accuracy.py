"""Share of pairs whose preferred answer got the larger probability, as an `evaluate` module."""

from __future__ import annotations

from typing import Any

import evaluate

from ifllm_hf.metrics import core
from ifllm_hf.metrics.preference_info import preference_info

_DESCRIPTION = """\
The share of pairs whose preferred answer got the larger probability: p_b > 1/2 where b was
preferred, p_b < 1/2 where a was; p_b = 1/2 counts half.
"""
_INPUTS = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    groups: reader of every pair (optional); adds an interval from resampling readers.
    draws, seed: of that interval.
Returns:
    accuracy; with groups also accuracy_low, accuracy_high and workers.
"""


class PairwiseAccuracy(evaluate.Metric):  # type: ignore[misc]
    """Share of pairs whose preferred answer got the larger probability."""

    def _info(self) -> evaluate.MetricInfo:
        return preference_info(_DESCRIPTION, _INPUTS)

    def _compute(
        self,
        predictions: Any,
        references: Any,
        groups: Any = None,
        draws: int = 2000,
        seed: int = 0,
    ) -> dict[str, float]:
        return {
            "accuracy": core.pairwise_accuracy(references, predictions),
            **core.interval_columns(
                "accuracy", references, predictions, groups, draws=draws, seed=seed
            ),
        }
