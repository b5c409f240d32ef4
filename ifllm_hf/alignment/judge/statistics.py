"""What verdicts say: win rates, improvements, position bias, with intervals over workers.

Everything is averaged over the two orders of a question first, so a judge that looks at places
alone gives every model 50 %. Workers are drawn whole in the bootstrap: questions of one reader are
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ifllm_hf.alignment.judge.verdict import (
    BASELINE,
    CANDIDATE,
    FIRST,
    SECOND,
    TIE,
    Comparison,
    Verdict,
    winner_of,
)
from ifllm_hf.metrics.core import Interval, bootstrap_by_group
from ifllm_hf.metrics.ridge import ridge_logistic, sigmoid
from ifllm_hf.metrics.weighted import FloatArray, ratio

StringArray = npt.NDArray[np.str_]

# Weights of slope² / 2 and intercept² / 2 against the summed log loss, with the difference of
# lengths at a mean square of 1: finite where length separates wins from losses, or all are wins.
_SLOPE_PENALTY, _INTERCEPT_PENALTY = 1.0, 1e-3
LC_DRAWS = 500
"""Each draw of the win rate at equal length is a fit of its own."""


@dataclass(frozen=True)
class Items:
    """Questions with all their verdicts averaged; every array has shape (n,).

    Attributes:
        prompt_id: Id of the question.
        user_id: The reader who asked it.
        win: 1 where the candidate won, 0 where it lost, 1/2 for a tie; the mean over orders.
        baseline: Mean score of the baseline's answer; NaN where the judge gives none.
        candidate: Mean score of the candidate's answer.
        baseline_chars: Characters (code points) of the baseline's answer.
        candidate_chars: Characters of the candidate's answer.
    """

    prompt_id: StringArray
    user_id: StringArray
    win: FloatArray
    baseline: FloatArray
    candidate: FloatArray
    baseline_chars: FloatArray
    candidate_chars: FloatArray

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.win)

    def take(self, rows: npt.NDArray[np.bool_]) -> Items:
        """Return some of the questions."""
        return Items(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def has_scores(self) -> bool:
        """Whether every question was scored."""
        return bool(len(self)) and bool(np.isfinite(self.baseline + self.candidate).all())


def average_orders(
    comparisons: Sequence[Comparison], verdicts: Sequence[Verdict], orders: int
) -> Items:
    """Average the verdicts of each question over its orders.

    Args:
        comparisons: The questions.
        verdicts: All verdicts on them, in any order.
        orders: How many a question needs; one with fewer is left out.
    """
    by_prompt: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_prompt.setdefault(verdict.prompt_id, []).append(verdict)
    whole = [c for c in comparisons if len(by_prompt.get(c.prompt_id, ())) == orders]

    def mean(of: Any) -> FloatArray:
        return np.array([np.mean([of(v) for v in by_prompt[c.prompt_id]]) for c in whole])

    return Items(
        prompt_id=np.array([c.prompt_id for c in whole], dtype=np.str_),
        user_id=np.array([c.user_id for c in whole], dtype=np.str_),
        win=mean(lambda v: v.win),
        baseline=mean(lambda v: v.score_of(BASELINE)),
        candidate=mean(lambda v: v.score_of(CANDIDATE)),
        baseline_chars=np.array([len(c.baseline) for c in whole], dtype=np.float64),
        candidate_chars=np.array([len(c.candidate) for c in whole], dtype=np.float64),
    )


def mean_over_workers(
    values: FloatArray, user_id: StringArray, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return a mean with its interval."""
    return bootstrap_by_group(
        lambda w: ratio(w @ values, w.sum(axis=1)), user_id, draws=draws, seed=seed
    )


def relative_improvement(
    items: Items | Sequence[Items], *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return (mean candidate score - mean baseline score) / mean baseline score.

    Args:
        items: Questions; or those of several language models, whose improvements are averaged.
        draws: Bootstrap draws.
        seed: Of the bootstrap.
    """
    parts = _parts(items)
    return bootstrap_by_group(
        lambda w: _relative(parts, w), _readers(parts), draws=draws, seed=seed
    )


@dataclass(frozen=True)
class Ratio:
    """One improvement divided by another.

    Attributes:
        value: The ratio with its interval; None where it is undefined.
        undefined: Why, where it is undefined.
    """

    value: Interval | None
    undefined: str | None = None


def ratio_of_improvements(
    items: Items | Sequence[Items],
    reference: Items | Sequence[Items],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Ratio:
    """Return the relative improvement of one candidate divided by that of another.

    Both are drawn together, worker by worker. Where the interval of the denominator covers 0, a
    ratio says nothing: it is undefined.
    """
    above, below = _parts(items), _parts(reference)
    divisor = relative_improvement(below, draws=draws, seed=seed)
    if not (divisor.low > 0 or divisor.high < 0):
        return Ratio(
            None,
            f"the improvement that it would be divided by, {divisor.estimate:+.1%}, has an "
            f"interval that covers 0 ({divisor.low:+.1%} to {divisor.high:+.1%})",
        )
    n = sum(map(len, above))
    return Ratio(
        bootstrap_by_group(
            lambda w: _divide(_relative(above, w[:, :n]), _relative(below, w[:, n:])),
            np.concatenate([_readers(above), _readers(below)]),
            draws=draws,
            seed=seed,
        )
    )


def length_controlled_win_rate(items: Items, *, draws: int = LC_DRAWS, seed: int = 0) -> Interval:
    """Return the win rate that answers of equal length would have.

    P(win) = sigmoid(a + b d), with d = ln((1 + characters of the candidate) / (1 + characters of
    the baseline)) divided by its root mean square; a tie is half a win. a and b are fitted by
    penalised maximum likelihood, and the win rate is read off at d = 0: sigmoid(a).
    """
    d = np.log1p(items.candidate_chars) - np.log1p(items.baseline_chars)
    scale = float(np.sqrt(np.mean(d * d))) or 1.0
    x = np.column_stack([np.ones(len(d)), d / scale])
    penalty = np.array([_INTERCEPT_PENALTY, _SLOPE_PENALTY])

    def at_equal_length(weights: FloatArray) -> FloatArray:
        return np.array([sigmoid(ridge_logistic(x, items.win, penalty, w)[:1])[0] for w in weights])

    return bootstrap_by_group(at_equal_length, items.user_id, draws=draws, seed=seed)


def thirds_by_baseline_length(items: Items) -> dict[str, Items]:
    """Split by the length of the *baseline's* answer, which the candidate could not change."""
    low, high = np.quantile(items.baseline_chars, [1 / 3, 2 / 3])
    chars = items.baseline_chars
    parts = {
        "short": items.take(chars <= low),
        "middling": items.take((chars > low) & (chars <= high)),
        "long": items.take(chars > high),
    }
    return {name: part for name, part in parts.items() if len(part)}


@dataclass(frozen=True)
class PositionBias:
    """Whether a judge looks at where an answer stands.

    Attributes:
        first_wins: Share of decided verdicts that name the answer shown first; 1/2 is fair. None
            where nothing was decided, or answers are judged by themselves.
        score_gap: Mean score of the first answer less that of the second; None without scores.
        same_winner: Share of questions whose winner is the same in both orders; None with one.
        contradictory: Share of verdicts whose winner has the lower score of its own.
        found: Whether the interval of `first_wins` leaves 1/2 out.
    """

    first_wins: Interval | None
    score_gap: Interval | None
    same_winner: float | None
    contradictory: float | None
    found: bool


def position_bias(
    comparisons: Sequence[Comparison],
    verdicts: Sequence[Verdict],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> PositionBias:
    """Measure how verdicts depend on the place of an answer.

    Each question is shown in both orders (or in one that was drawn), so the better model stands
    first as often as the worse one.
    """
    reader = {c.prompt_id: c.user_id for c in comparisons}
    decided = [v for v in verdicts if v.winner != TIE]
    scored = [v for v in verdicts if v.scores is not None]

    def mean(of: Callable[[Verdict], float], some: Sequence[Verdict]) -> Interval | None:
        if not some:
            return None
        readers = np.array([reader[v.prompt_id] for v in some])
        return mean_over_workers(np.array([of(v) for v in some]), readers, draws=draws, seed=seed)

    first_wins = mean(lambda v: float(v.winner == FIRST), decided)
    wins: dict[str, list[float]] = {}
    for verdict in verdicts:
        wins.setdefault(verdict.prompt_id, []).append(verdict.win)
    both = [w for w in wins.values() if len(w) == 2]
    return PositionBias(
        first_wins=first_wins,
        score_gap=mean(lambda v: v.scores[0] - v.scores[1] if v.scores else np.nan, scored),
        same_winner=float(np.mean([a == b for a, b in both])) if both else None,
        contradictory=float(np.mean([_contradicts(v) for v in scored])) if scored else None,
        # False too where one reader gives no interval: the ends are NaN.
        found=first_wins is not None and (first_wins.low > 0.5 or first_wins.high < 0.5),
    )


def _contradicts(verdict: Verdict) -> bool:
    assert verdict.scores is not None
    return {verdict.winner, winner_of(*verdict.scores)} == {FIRST, SECOND}


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide, also by what is negative; NaN for a division by 0."""
    there = np.where(denominator == 0, np.nan, denominator)
    return np.asarray(numerator / there, dtype=np.float64)


def _parts(items: Items | Sequence[Items]) -> list[Items]:
    return [items] if isinstance(items, Items) else list(items)


def _readers(parts: Sequence[Items]) -> StringArray:
    return np.concatenate([part.user_id for part in parts])


def _relative(parts: Sequence[Items], weights: FloatArray) -> FloatArray:
    """Return the mean over parts of their relative improvement, one for each draw."""
    found, start = [], 0
    for part in parts:
        w = weights[:, start : start + len(part)]
        before, after = w @ part.baseline, w @ part.candidate
        found.append(ratio(after - before, before))
        start += len(part)
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)
