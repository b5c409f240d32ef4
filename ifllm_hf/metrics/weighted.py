"""Scores under row weights: one call scores every bootstrap draw at once.

`weight` has shape (draws, rows): how often each row was drawn. Every function returns one score
per draw, shape (draws,), NaN where the score is undefined (no rows, one class, no variance).
Whole-number weights give exactly the score of the rows repeated that often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    """Divide where the denominator is positive, NaN elsewhere."""
    out: FloatArray = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def weighted_mean(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean of `values` (rows,) under every draw."""
    return ratio(weight @ values, weight.sum(axis=1))


def correct(labels: FloatArray, p_b: FloatArray) -> FloatArray:
    """Return 1 where the side is right, 0 where it is wrong, 1/2 where p_b is exactly 1/2."""
    said_b = np.where(p_b > 0.5, 1.0, np.where(p_b < 0.5, 0.0, 0.5))
    return 1.0 - np.abs(labels - said_b)


def accuracy(labels: FloatArray, p_b: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the share of right sides; p_b == 1/2 counts half."""
    return weighted_mean(correct(labels, p_b), weight)


def auc(labels: FloatArray, p_b: FloatArray, weight: FloatArray) -> FloatArray:
    """Return P(score of a b-row > score of an a-row) + P(equal) / 2 under every draw."""
    order = np.argsort(p_b, kind="stable")
    scores, ordered, label = p_b[order], weight[:, order], labels[order]
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    positive = np.add.reduceat(ordered * label, starts, axis=1)
    negative = np.add.reduceat(ordered * (1.0 - label), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    won = (positive * (below + 0.5 * negative)).sum(axis=1)
    return ratio(won, positive.sum(axis=1) * negative.sum(axis=1))


def brier(labels: FloatArray, p_b: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean squared distance of p_b from the label."""
    return weighted_mean((p_b - labels) ** 2, weight)


def surprise(labels: FloatArray, p_b: FloatArray) -> FloatArray:
    """Return -log P(label) of every row, where no P is taken below 1e-15."""
    given = np.where(labels == 1.0, p_b, 1.0 - p_b)
    return np.asarray(-np.log(np.maximum(given, 1e-15)), dtype=np.float64)


def log_loss(labels: FloatArray, p_b: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean of -log P(label)."""
    return weighted_mean(surprise(labels, p_b), weight)


def bin_of(p_b: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """Return the equal-width bin of every prediction: [0, 1/k), ..., [(k-1)/k, 1]."""
    return np.minimum((p_b * bins).astype(np.int64), bins - 1)


def ece(labels: FloatArray, p_b: FloatArray, weight: FloatArray, bins: int = 10) -> FloatArray:
    """Return the sum over bins of (share of rows) x |mean label - mean p_b|."""
    member = np.zeros((len(p_b), bins))
    member[np.arange(len(p_b)), bin_of(p_b, bins)] = labels - p_b
    return ratio(np.abs(weight @ member).sum(axis=1), weight.sum(axis=1))


def mse(truth: FloatArray, predicted: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean squared error."""
    return weighted_mean((predicted - truth) ** 2, weight)


def _correlation(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the correlation of x and y, each (draws, rows) or (1, rows)."""
    total = weight.sum(axis=1, keepdims=True)
    dx = x - ratio((weight * x).sum(axis=1, keepdims=True), total)
    dy = y - ratio((weight * y).sum(axis=1, keepdims=True), total)
    var_x = (weight * dx**2).sum(axis=1)
    var_y = (weight * dy**2).sum(axis=1)
    # Rounding leaves a constant column a variance near 1e-32, and a correlation that means nothing.
    floor_x = 1e-20 * (weight * x**2).sum(axis=1)
    floor_y = 1e-20 * (weight * y**2).sum(axis=1)
    scale = np.where((var_x > floor_x) & (var_y > floor_y), np.sqrt(var_x * var_y), 0.0)
    return np.clip(ratio((weight * dx * dy).sum(axis=1), scale), -1.0, 1.0)


def pearson(truth: FloatArray, predicted: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the linear correlation under every draw."""
    return _correlation(truth[None, :], predicted[None, :], weight)


def _mid_ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean rank (less 1/2) that each row has among the drawn rows."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    per_value = np.add.reduceat(weight[:, order], np.flatnonzero(first), axis=1)
    rank = np.cumsum(per_value, axis=1) - per_value / 2.0
    out = np.empty(weight.shape)
    out[:, order] = rank[:, np.cumsum(first) - 1]
    return out


def spearman(truth: FloatArray, predicted: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the rank correlation under every draw, ties at their mean rank."""
    return _correlation(_mid_ranks(truth, weight), _mid_ranks(predicted, weight), weight)
