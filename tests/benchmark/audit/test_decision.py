from __future__ import annotations

import pytest

from ifllm_hf.benchmark.audit.confidence_sequence import AnytimeInterval
from ifllm_hf.benchmark.audit.decision import judge

QUIET = [{"learner": "booster", "auc": 0.5, "auc_low": 0.45, "auc_high": 0.55}]
LOUD = [*QUIET, {"learner": "logistic", "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8}]


def gain(low: float, high: float, n: int = 50) -> AnytimeInterval:
    return AnytimeInterval(n, (low + high) / 2, low, high, 0.95)


@pytest.mark.parametrize(
    ("interval", "leaks", "needed", "verdict", "word"),
    [
        (gain(0.01, 0.2), QUIET, 300, "yes", r"\+\.010"),
        (gain(0.01, 0.2), LOUD, 300, "not yet", r"click.*rating"),
        (gain(0.01, 0.2), [], 300, "not yet", "probe"),
        (gain(0.0, 0.2), QUIET, 300, "not yet", "about 250 more readers until ±.050"),
        (gain(-0.3, 0.3), QUIET, None, "not yet", "cannot be told"),
        (gain(-0.3, 0.3, 0), [], None, "not yet", "holds 0"),
        (gain(-0.02, 0.04), LOUD, 40, "no gain above +.040", "holds 0 and ends below"),
        (gain(-0.02, 0.06), QUIET, 40, "not yet", "as narrow as wanted; .*--width"),
        (gain(-0.4, -0.01), QUIET, 300, "no gain above -.010", "length alone does better"),
        (gain(0.1, 0.05), QUIET, 300, "not yet", "later readers"),
    ],
)
def test_what_an_interval_allows_to_say(
    interval: AnytimeInterval, leaks: list, needed: int | None, verdict: str, word: str
) -> None:
    import re

    found, why = judge(interval, leaks, 0.05, needed)
    assert found == verdict
    assert re.search(word, why), why
