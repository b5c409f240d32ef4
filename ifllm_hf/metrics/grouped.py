"""Scores as functions of how often each *group* was drawn: the bootstrap over workers, fast.

Most scores need only sums per group (and, for the AUC, per pair of groups), so a draw costs the
number of groups instead of the number of rows. Results equal those of
`ifllm_hf.metrics.weighted` to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ifllm_hf.metrics import weighted
from ifllm_hf.metrics.weighted import FloatArray

# Maps counts, shape (draws, groups), to one score per draw.
CountStatistic = Callable[[FloatArray], FloatArray]
# The AUC compares every b-row with every a-row once: 8 bytes x 2500 x 2500 = 50 MB.
_MOST_ROWS_AUC = 5000


def mean_statistic(
    values: FloatArray, index: npt.NDArray[np.int64], n_groups: int
) -> CountStatistic:
    """Return the mean of `values` (rows,) over the drawn groups; `index` is each row's group."""
    total = np.bincount(index, values, n_groups)
    rows = np.bincount(index, minlength=n_groups).astype(np.float64)
    return lambda counts: weighted.ratio(counts @ total, counts @ rows)


def auc_statistic(
    labels: FloatArray, p_b: FloatArray, index: npt.NDArray[np.int64], n_groups: int
) -> CountStatistic:
    """Return the AUC over the drawn groups, from the wins between every two groups."""
    one_hot = np.zeros((len(labels), n_groups))
    one_hot[np.arange(len(labels)), index] = 1.0
    positive, negative = labels == 1.0, labels == 0.0
    above, below = p_b[positive][:, None], p_b[negative][None, :]
    wins = (above > below) + 0.5 * (above == below)
    between = one_hot[positive].T @ wins @ one_hot[negative]
    n_positive, n_negative = one_hot[positive].sum(axis=0), one_hot[negative].sum(axis=0)

    def statistic(counts: FloatArray) -> FloatArray:
        won = ((counts @ between) * counts).sum(axis=1)
        return weighted.ratio(won, (counts @ n_positive) * (counts @ n_negative))

    return statistic


def ece_statistic(
    labels: FloatArray, p_b: FloatArray, index: npt.NDArray[np.int64], n_groups: int, bins: int = 10
) -> CountStatistic:
    """Return the calibration error over the drawn groups."""
    gap = np.zeros((n_groups, bins))
    np.add.at(gap, (index, weighted.bin_of(p_b, bins)), labels - p_b)
    rows = np.bincount(index, minlength=n_groups).astype(np.float64)
    return lambda counts: weighted.ratio(np.abs(counts @ gap).sum(axis=1), counts @ rows)


def statistic(
    metric: str, labels: FloatArray, p_b: FloatArray, index: npt.NDArray[np.int64], n_groups: int
) -> CountStatistic | None:
    """Return the fast form of a metric, or None where there is none (ranks; very many rows)."""
    if metric == "accuracy":
        return mean_statistic(weighted.correct(labels, p_b), index, n_groups)
    if metric in ("brier", "mse"):
        return mean_statistic((p_b - labels) ** 2, index, n_groups)
    if metric == "log_loss":
        return mean_statistic(weighted.surprise(labels, p_b), index, n_groups)
    if metric == "auc" and len(labels) <= _MOST_ROWS_AUC:
        return auc_statistic(labels, p_b, index, n_groups)
    if metric == "ece":
        return ece_statistic(labels, p_b, index, n_groups)
    return None
