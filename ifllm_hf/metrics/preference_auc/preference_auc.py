"""Area under the ROC curve of the probability of the right answer, as an `evaluate` module."""

from __future__ import annotations

from typing import Any

import evaluate

from ifllm_hf.metrics import core
from ifllm_hf.metrics.preference_info import preference_info

_DESCRIPTION = """\
P(p_b of a pair where b was preferred > p_b of a pair where a was) + P(equal) / 2; NaN if only
one side was ever preferred.
"""
_INPUTS = """\
Args:
    predictions: probability that the right answer (b) is preferred, in [0, 1].
    references: 1 where b was preferred, 0 where a was.
    groups: reader of every pair (optional); adds an interval from resampling readers.
    draws, seed: of that interval.
Returns:
    auc; with groups also auc_low, auc_high and workers.
"""


class PreferenceAUC(evaluate.Metric):  # type: ignore[misc]
    """Area under the ROC curve of the probability of the right answer."""

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
            "auc": core.roc_auc(references, predictions),
            **core.interval_columns("auc", references, predictions, groups, draws=draws, seed=seed),
        }
