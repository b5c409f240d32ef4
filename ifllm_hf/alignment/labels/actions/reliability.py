"""How far a rule can be trusted: its agreement with what readers said of the same answers.

Of the pairs that a rule names and whose reader also rated the two answers differently, a of n
agree. With n of at least `LEAST_RATED`

    confidence = (a + 10) / (n + 20)

which is the mean of a Beta(10, 10) prior with the data: twenty imagined pairs at a coin's rate pull
it towards 1/2. Below that many, it is a cautious default (`DEFAULT_CONFIDENCE`, at most .6) and
marked as assumed. A thumb agrees with itself, so `like` is never fitted on thumbs or on the stars
that go with them: it stays assumed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ifllm_hf.alignment.labels.actions.acted_answers import ActedAnswer
from ifllm_hf.alignment.labels.noise import posterior_b
from ifllm_hf.data.tables.folds import FOLDS
from ifllm_hf.errors import ConfigError

LEAST_RATED = 50
"""Rated pairs (or answers) from which on a rule's confidence is fitted."""

_PRIOR = 10  # imagined agreements, and as many disagreements
_COIN = 0.5

DEFAULT_CONFIDENCE: Mapping[str, float] = {
    "like": 0.6,
    "switch": 0.6,
    "edited": 0.6,
    "copy": 0.6,
    "regenerated": 0.55,
    "continued": 0.55,
    "stop": 0.55,
}
"""By rule, where nothing is measured."""

NOT_FITTED = ("like",)
"""Rules that are the ratings themselves."""

Told = tuple[str, bool, str, int]
"""Of a pair or answer that was also rated: rule, whether it agrees, reader, fold."""


@dataclass(frozen=True)
class RuleReliability:
    """What is known of a rule.

    Attributes:
        rule: Its name.
        rated: Pairs (or answers) of it that its readers also rated.
        agree: Of those, how many the rating agrees with.
        readers: Who rated.
        confidence: That it is right.
        assumed: `confidence` is a default.
    """

    rule: str
    rated: int
    agree: int
    readers: int
    confidence: float
    assumed: bool

    @property
    def useless(self) -> bool:
        """Whether it is no better than a coin: nothing is labelled by it."""
        return self.confidence <= _COIN

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def fit_reliability(
    told: Iterable[Told], rules: Collection[str], *, judge_fold: int | None = None
) -> dict[str, RuleReliability]:
    """Fit the confidence of each rule.

    Args:
        told: The pairs or answers that were also rated.
        rules: Names.
        judge_fold: Ratings of its readers are left out.

    Returns:
        By rule, in the order of `rules`.

    Raises:
        ConfigError: There is no such fold.
    """
    if judge_fold is not None and judge_fold not in range(FOLDS):
        raise ConfigError(f"judge_fold is {judge_fold}; readers have folds 0 to {FOLDS - 1}")
    of_rule: dict[str, list[tuple[bool, str]]] = {rule: [] for rule in rules}
    for rule, agrees, user_id, fold in told:
        if rule in of_rule and rule not in NOT_FITTED and fold != judge_fold:
            of_rule[rule].append((agrees, user_id))
    found = {}
    for rule, rated in of_rule.items():
        n, agree = len(rated), sum(agrees for agrees, _ in rated)
        fitted = n >= LEAST_RATED
        confidence = shrunk(agree, n) if fitted else DEFAULT_CONFIDENCE[rule]
        readers = len({user_id for _, user_id in rated})
        found[rule] = RuleReliability(rule, n, agree, readers, confidence, assumed=not fitted)
    return found


def shrunk(agree: int, n: int) -> float:
    """Return the mean of Beta(10 + agree, 10 + n - agree).

    >>> shrunk(45, 50)
    0.7857142857142857
    """
    return (agree + _PRIOR) / (n + 2 * _PRIOR)


def rated_better(a: ActedAnswer, b: ActedAnswer) -> bool | None:
    """Return whether the reader rated `a` above `b`; None: neither, or the same.

    By the stars where both have some and they differ, else by the thumbs, of which none is 0.
    """
    if a.stars is not None and b.stars is not None and a.stars != b.stars:
        return a.stars > b.stars
    return None if a.thumb == b.thumb else a.thumb > b.thumb


def with_behavior(confidence: float, p_behavior: float | None) -> float:
    """Weigh an action against behaviour, as `--source both` weighs a click.

    The odds of the named answer are its odds by behaviour times confidence / (1 - confidence): a
    rule of this confidence is a click that is wrong with 1 - confidence. Below 1/2 the other answer
    is the likelier one. Assumes what `noise.ASSUMPTION` says of clicks.

    >>> round(with_behavior(0.6, 0.7), 3), with_behavior(0.6, None)
    (0.778, 0.6)

    Args:
        confidence: Of the rule, in (0.5, 1).
        p_behavior: P(the named answer is preferred | behaviour), calibrated, by a model that never
            saw the reader; None where nothing was recorded: nothing changes.
    """
    if p_behavior is None:
        return confidence
    return float(posterior_b([p_behavior], [True], 1.0 - confidence)[0])
