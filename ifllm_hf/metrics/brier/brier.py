"""Mean squared distance of the predicted probability from the label, as an `evaluate` module."""

from __future__ import annotations

from typing import Any

import evaluate

from ifllm_hf.metrics import core
from ifllm_hf.metrics.preference_info import preference_info

_DESCRIPTION = """\
Mean of (p_b - label)^2; 0 is perfect, always saying 1/2 gives 1/4.
"""
_INPUTS = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    groups: reader of every pair (optional); adds an interval from resampling readers.
    draws, seed: of that interval.
Returns:
    brier; with groups also brier_low, brier_high and workers.
"""


class Brier(evaluate.Metric):  # type: ignore[misc]
    """Mean squared distance of the predicted probability from the label."""

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
            "brier": core.brier_score(references, predictions),
            **core.interval_columns(
                "brier", references, predictions, groups, draws=draws, seed=seed
            ),
        }
