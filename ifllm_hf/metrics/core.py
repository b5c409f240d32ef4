"""Scores of a preference model in plain numpy: inputs checked, formulas in the docstrings.

`labels` are 1 where the right answer (`b`) was preferred and 0 where the left one was; `p_b` is
the predicted probability of `b`. All functions take one value per row and return one float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ifllm_hf.errors import DataError
from ifllm_hf.metrics import grouped, weighted
from ifllm_hf.metrics.grouped import CountStatistic
from ifllm_hf.metrics.weighted import FloatArray

# Poisson-binomial sums above this many rows per bin are taken as normal: the difference is then
# below 1e-4 of the value, and the exact sum costs the square of the rows.
_EXACT_ROWS = 2000
# Bootstrap draws are scored in blocks of at most this many weights (32 MB).
_BLOCK_WEIGHTS = 4_000_000


def _vector(values: npt.ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}; expected one value per row")
    if not len(array):
        raise DataError(f"{name} is empty; at least one row is needed for a score")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise DataError(
            f"{name} has {len(bad)} values that are NaN or infinite; first at row {bad[0]}. "
            "Give every row a finite value, or leave the row out of both inputs"
        )
    return array


def _same_length(first: FloatArray, second: FloatArray, names: str) -> None:
    if len(first) != len(second):
        raise DataError(f"{names} have {len(first)} and {len(second)} rows; expected as many")


def checked(labels: npt.ArrayLike, p_b: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return labels and predictions as float arrays.

    Raises:
        DataError: A label other than 0 or 1, a prediction outside [0, 1] or not finite, no rows,
            or different lengths.
    """
    y, p = _vector(labels, "labels"), _vector(p_b, "p_b")
    _same_length(y, p, "labels and p_b")
    bad = np.flatnonzero((y != 0) & (y != 1))
    if len(bad):
        raise DataError(
            f"labels has {len(bad)} values other than 0 and 1; first at row {bad[0]} "
            f"({y[bad[0]]:g}). Leave ties out, or score them by a rating"
        )
    bad = np.flatnonzero((p < 0) | (p > 1))
    if len(bad):
        raise DataError(
            f"p_b has {len(bad)} values outside [0, 1]; first at row {bad[0]} ({p[bad[0]]:g}). "
            "Turn scores into probabilities first, for example by a sigmoid"
        )
    return y, p


def _once(rows: int) -> FloatArray:
    return np.ones((1, rows))


def pairwise_accuracy(labels: npt.ArrayLike, p_b: npt.ArrayLike) -> float:
    """Return the share of pairs whose preferred side has the larger probability.

    mean of 1[p_b > 1/2] where the label is 1, 1[p_b < 1/2] where it is 0, and 1/2 where p_b is
    exactly 1/2.

    >>> pairwise_accuracy([1, 0, 1, 0], [0.9, 0.2, 0.5, 0.7])
    0.625
    """
    y, p = checked(labels, p_b)
    return float(weighted.accuracy(y, p, _once(len(y)))[0])


def roc_auc(labels: npt.ArrayLike, p_b: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, NaN if only one side was ever preferred.

    Mann-Whitney: P(p of a b-row > p of an a-row) + P(they are equal) / 2.

    >>> roc_auc([1, 0, 1, 0], [0.9, 0.2, 0.5, 0.5])
    0.875
    """
    y, p = checked(labels, p_b)
    return float(weighted.auc(y, p, _once(len(y)))[0])


def brier_score(labels: npt.ArrayLike, p_b: npt.ArrayLike) -> float:
    """Return the mean of (p_b - label)^2: 0 is perfect, always saying 1/2 gives 1/4."""
    y, p = checked(labels, p_b)
    return float(weighted.brier(y, p, _once(len(y)))[0])


def log_loss(labels: npt.ArrayLike, p_b: npt.ArrayLike) -> float:
    """Return the mean of -log P(label) in nats, where no P is taken below 1e-15."""
    y, p = checked(labels, p_b)
    return float(weighted.log_loss(y, p, _once(len(y)))[0])


def expected_calibration_error(labels: npt.ArrayLike, p_b: npt.ArrayLike, bins: int = 10) -> float:
    """Return the calibration error over equal-width bins of p_b.

    sum over bins k of (n_k / n) |mean label in k - mean p_b in k|. A finite sample is never
    perfectly calibrated: read it beside `expected_ece_if_calibrated`.
    """
    y, p = checked(labels, p_b)
    return float(weighted.ece(y, p, _once(len(y)), bins)[0])


def _mean_absolute_deviation(p: FloatArray) -> float:
    """Return E|S - E S| for S the sum of independent Bernoulli(p_i)."""
    if len(p) > _EXACT_ROWS:
        return float(np.sqrt(2.0 / np.pi * np.sum(p * (1.0 - p))))
    pmf = np.zeros(len(p) + 1)
    pmf[0] = 1.0
    for i, q in enumerate(p):
        pmf[1 : i + 2] = pmf[1 : i + 2] * (1.0 - q) + pmf[: i + 1] * q
        pmf[0] *= 1.0 - q
    return float(pmf @ np.abs(np.arange(len(p) + 1) - p.sum()))


def expected_ece_if_calibrated(p_b: npt.ArrayLike, bins: int = 10) -> float:
    """Return the mean ECE that these predictions would have if they were exactly right.

    If every label were drawn with its own p_b, bin k would contribute E|S_k - E S_k| / n, where
    S_k is the sum of the labels in the bin (Poisson-binomial). The mean is exact, by convolution;
    bins of more than 2000 rows use the normal law, E|S - E S| = sqrt(2 var / pi).

    >>> expected_ece_if_calibrated([0.5])
    0.5
    """
    p = _vector(p_b, "p_b")
    if ((p < 0) | (p > 1)).any():
        raise DataError("p_b has values outside [0, 1]; turn scores into probabilities first")
    member = weighted.bin_of(p, bins)
    return sum(_mean_absolute_deviation(p[member == k]) for k in np.unique(member)) / len(p)


@dataclass(frozen=True)
class LikertScores:
    """How well ratings are predicted.

    Attributes:
        n: Rows.
        mse: Mean squared error of the prediction.
        mse_mean: Mean squared error of the baseline that knows only the mean rating.
        pearson: Linear correlation of prediction and rating; NaN if either is constant.
        spearman: Rank correlation, ties at their mean rank; NaN if either is constant.
    """

    n: int
    mse: float
    mse_mean: float
    pearson: float
    spearman: float


def likert_scores(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, mean: npt.ArrayLike | None = None
) -> LikertScores:
    """Score predicted ratings against the given ones.

    Args:
        truth: Ratings given, shape (n,), usually 1 to 5.
        predicted: Ratings predicted, shape (n,); they must be out of fold to mean anything.
        mean: What "predicting the mean" says for every row, for instance the mean of each row's
            training fold, shape (n,); by default the mean of `truth`, which no fair baseline can
            beat on squared error.

    Raises:
        DataError: No rows, different lengths, NaN or infinity.
    """
    y, x = _vector(truth, "truth"), _vector(predicted, "predicted")
    _same_length(y, x, "truth and predicted")
    base = np.full(len(y), y.mean()) if mean is None else _vector(mean, "mean")
    _same_length(y, base, "truth and mean")
    once = _once(len(y))
    return LikertScores(
        n=len(y),
        mse=float(weighted.mse(y, x, once)[0]),
        mse_mean=float(weighted.mse(y, base, once)[0]),
        pearson=float(weighted.pearson(y, x, once)[0]),
        spearman=float(weighted.spearman(y, x, once)[0]),
    )


@dataclass(frozen=True)
class Interval:
    """A score and its percentile interval.

    Attributes:
        estimate: The score of the rows as they are.
        low: Lower end; NaN when fewer than two groups exist.
        high: Upper end; NaN when fewer than two groups exist.
        level: Coverage aimed at.
        groups: Groups that were resampled.
        undefined: Draws without a score (for example one class only), left out of the interval.
    """

    estimate: float
    low: float
    high: float
    level: float
    groups: int
    undefined: int


def bootstrap_by_group(
    statistic: Callable[[FloatArray], FloatArray],
    groups: npt.ArrayLike,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a percentile interval from resampling whole groups (workers) with replacement.

    Rows of one worker are not independent, so workers are drawn, each with all of its rows. The
    same seed and groups give the same draws: a statistic that subtracts two scores under the same
    weights has a *paired* interval.

    Args:
        statistic: Maps weights, shape (draws, rows), to one score per draw; see
            `ifllm_hf.metrics.weighted`.
        groups: Group of every row, shape (rows,); any sortable values.
        draws: Bootstrap draws.
        level: Coverage of the interval.
        seed: Seed of the draws.

    Raises:
        DataError: No rows.
    """
    names, index = _groups(groups)
    return _interval(_by_count(statistic, index), len(names), draws, level, seed)


def _by_count(
    statistic: Callable[[FloatArray], FloatArray], index: npt.NDArray[np.int64]
) -> CountStatistic:
    """Return a statistic of row weights as one of group counts, computed block by block."""
    block = max(1, _BLOCK_WEIGHTS // len(index))
    return lambda counts: np.concatenate(
        [statistic(counts[start : start + block, index]) for start in range(0, len(counts), block)]
    )


def _groups(groups: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    member = np.asarray(groups)
    if member.ndim != 1 or not len(member):
        raise DataError(f"groups has shape {member.shape}; expected one group per row")
    names, index = np.unique(member, return_inverse=True)
    return names, index


def _interval(
    statistic: CountStatistic, n_groups: int, draws: int, level: float, seed: int
) -> Interval:
    estimate = float(statistic(np.ones((1, n_groups)))[0])
    if n_groups < 2:
        return Interval(estimate, np.nan, np.nan, level, n_groups, 0)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=draws)
    scores = statistic(counts.astype(np.float64))
    defined = scores[np.isfinite(scores)]
    if not len(defined):
        return Interval(estimate, np.nan, np.nan, level, n_groups, draws)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, n_groups, draws - len(defined))


Kernel = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
KERNELS: dict[str, Kernel] = {
    "accuracy": weighted.accuracy,
    "auc": weighted.auc,
    "brier": weighted.brier,
    "ece": weighted.ece,
    "log_loss": weighted.log_loss,
}
RATING_KERNELS: dict[str, Kernel] = {
    "mse": weighted.mse,
    "pearson": weighted.pearson,
    "spearman": weighted.spearman,
}


def score_interval(
    metric: str,
    labels: npt.ArrayLike,
    p_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    versus: npt.ArrayLike | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a score with its interval over groups, or the paired difference of two predictions.

    Args:
        metric: One of `KERNELS` (labels 0/1, probabilities) or `RATING_KERNELS` (ratings).
        labels: Truth, shape (n,).
        p_b: Predictions, shape (n,).
        groups: Worker of every row, shape (n,).
        versus: Second predictions of the same rows; the result is then score(p_b) -
            score(versus) under the same draws.
        draws: Bootstrap draws.
        level: Coverage.
        seed: Seed of the draws.

    Raises:
        DataError: Values that cannot be scored, an unknown metric, or different lengths.
    """
    if metric in KERNELS:
        kernel = KERNELS[metric]
        y, p = checked(labels, p_b)
        other = None if versus is None else checked(labels, versus)[1]
    elif metric in RATING_KERNELS:
        kernel = RATING_KERNELS[metric]
        y, p = _vector(labels, "labels"), _vector(p_b, "predicted")
        _same_length(y, p, "labels and predicted")
        other = None if versus is None else _vector(versus, "versus")
        if other is not None:
            _same_length(y, other, "labels and versus")
    else:
        known = ", ".join([*KERNELS, *RATING_KERNELS])
        raise DataError(f"there is no metric named {metric!r}; expected one of {known}")
    if len(np.asarray(groups)) != len(y):
        raise DataError(f"groups has {len(np.asarray(groups))} rows, labels has {len(y)}")
    names, index = _groups(groups)

    def of(predicted: FloatArray) -> CountStatistic:
        fast = grouped.statistic(metric, y, predicted, index, len(names))
        return fast or _by_count(lambda weight: kernel(y, predicted, weight), index)

    first = of(p)
    if other is None:
        return _interval(first, len(names), draws, level, seed)
    second = of(other)
    return _interval(lambda counts: first(counts) - second(counts), len(names), draws, level, seed)


def interval_columns(
    metric: str,
    labels: npt.ArrayLike,
    p_b: npt.ArrayLike,
    groups: npt.ArrayLike | None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Return `{metric}_low, {metric}_high, workers` of `score_interval`; nothing without groups."""
    if groups is None:
        return {}
    found = score_interval(metric, labels, p_b, groups, draws=draws, seed=seed)
    ends = {f"{metric}_low": found.low, f"{metric}_high": found.high}
    return {**ends, "workers": float(found.groups)}
