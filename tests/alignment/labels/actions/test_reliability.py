"""A confidence is measured where enough was rated, and says so where it is not."""

from __future__ import annotations

import pytest

from ifllm_hf.alignment.labels.actions.reliability import (
    DEFAULT_CONFIDENCE,
    Told,
    fit_reliability,
    with_behavior,
)
from ifllm_hf.alignment.labels.actions.rules import RULES
from ifllm_hf.alignment.labels.noise import combine
from ifllm_hf.errors import ConfigError


def told(rule: str, agree: int, n: int, fold: int = 0) -> list[Told]:
    return [(rule, i < agree, f"reader {i % 7}", fold) for i in range(n)]


def test_fitted_from_fifty_on_and_pulled_towards_a_coin() -> None:
    rules = ("regenerated", "continued", "edited")
    found = fit_reliability(
        [*told("regenerated", 45, 50), *told("continued", 49, 49), *told("switch", 60, 60)], rules
    )
    assert list(found) == list(rules)
    fitted = found["regenerated"]
    assert fitted.confidence == pytest.approx((45 + 10) / (50 + 20))
    assert (fitted.assumed, fitted.rated, fitted.agree, fitted.readers) == (False, 50, 45, 7)
    few = found["continued"]
    assert (few.confidence, few.assumed) == (DEFAULT_CONFIDENCE["continued"], True)
    assert found["edited"].assumed and found["edited"].rated == 0


def test_every_rule_has_a_cautious_default() -> None:
    assert set(DEFAULT_CONFIDENCE) == set(RULES)
    assert all(0.5 < confidence <= 0.6 for confidence in DEFAULT_CONFIDENCE.values())


def test_a_thumb_is_not_held_to_itself() -> None:
    assert fit_reliability(told("like", 80, 80), ("like",))["like"].assumed


def test_readers_who_judge_later_fit_nothing() -> None:
    both = [*told("regenerated", 30, 30, fold=3), *told("regenerated", 40, 50, fold=1)]
    found = fit_reliability(both, ("regenerated",), judge_fold=3)["regenerated"]
    assert (found.rated, found.agree) == (50, 40)


def test_a_rule_no_better_than_a_coin_is_useless() -> None:
    assert fit_reliability(told("regenerated", 25, 50), ("regenerated",))["regenerated"].useless
    assert not fit_reliability(told("regenerated", 26, 50), ("regenerated",))["regenerated"].useless


def test_behaviour_is_weighed_as_against_a_click() -> None:
    """An action of confidence c is a click that is wrong with 1 - c."""
    assert with_behavior(0.7, 0.2) == pytest.approx(
        float(combine([0.2 * 0.4 + 0.3], [True], 0.3)[0])  # un-noised it is .2 again
    )
    assert with_behavior(0.7, 0.5) == pytest.approx(0.7)
    assert with_behavior(0.55, None) == 0.55
    assert with_behavior(0.6, 0.1) < 0.5


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_no_reader_has_is_refused(fold: int) -> None:
    with pytest.raises(ConfigError, match="folds 0 to 4"):
        fit_reliability([], RULES, judge_fold=fold)
