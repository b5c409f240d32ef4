"""Out-of-fold probabilities of a click, grouped by worker, calibrated inside the training folds.

Calibration is a slope on the logit, p -> sigmoid(s logit(p)), and nothing else: without an
intercept, exchanging left and right still turns p into 1 - p. The slope comes from an inner
cross-validation, again grouped by worker, of the training part alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.benchmark.protocol.rows import refuse_raw, visible
from ifllm_hf.benchmark.protocol.runner import fit_copy, predict_checked
from ifllm_hf.benchmark.protocol.splits import IndexArray, make_splits
from ifllm_hf.benchmark.protocol.walls import refuse_asymmetry
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.metrics.ridge import logit, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.baselines.protocol import Model

logger = logging.getLogger(__name__)

Swap = Callable[[pl.DataFrame], pl.DataFrame]
Predict = Callable[[pl.DataFrame], FloatArray]

JUDGED = -1
"""The `label_fold` of workers who are kept for judging and train no model."""

_PREDICTED_AT_ONCE = 5_000  # rows; what a model makes of one takes some 10 kB
_SLOPE_MAX = 1e9  # logits that need more are rounding


def fit_slope(z: FloatArray, y: FloatArray) -> float:
    """Fit the slope that calibrates logits (temperature scaling; Platt's without an intercept).

    s = argmin over s >= 0 of sum of -t log sigmoid(s z) - (1 - t) log sigmoid(-s z), where
    t = (n + 1) / (n + 2) for y = 1 and 1 / (n + 2) for y = 0, as Platt smooths it, but the same for
    both sides. The smoothing keeps s finite when z separates the classes. Logits that point the
    wrong way get 0: they are worth nothing, not the opposite.

    https://en.wikipedia.org/wiki/Platt_scaling

    Args:
        z: Out-of-fold logits of P(b), shape (n,).
        y: 1 where b was clicked, else 0, shape (n,).

    Returns:
        The slope, about `_SLOPE_MAX` at most; below 1 if the model was too sure of itself.
    """
    # Both less one half: then swapping the sides changes not even the rounding.
    target = (y - 0.5) * len(y) / (len(y) + 2.0)

    def gradient(s: float) -> float:
        return float(np.sum((0.5 * np.tanh(0.5 * s * z) - target) * z))

    if not gradient(0.0) < 0:
        return 0.0
    low, high = 0.0, 1.0
    while gradient(high) < 0 and high < _SLOPE_MAX:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if gradient(middle) < 0 else (low, middle)
    return (low + high) / 2.0


@dataclass(frozen=True)
class OutOfFold:
    """Calibrated predictions of rows by models that, as a rule, never saw their worker.

    Attributes:
        p_b: P(click = b | what the model sees), shape (n,).
        label_fold: Number of the model that predicted each row, shape (n,); `JUDGED` for workers
            who train no model.
        slopes: Slope of the calibration by `label_fold`.
        trained: Rows that each model was trained on, by `label_fold`.
        held_out: Of each row, whether its model never saw the worker, shape (n,); None: all.
    """

    p_b: FloatArray
    label_fold: npt.NDArray[np.int8]
    slopes: dict[int, float]
    trained: dict[int, int]
    held_out: npt.NDArray[np.bool_] | None = None


def out_of_fold(
    model: Model,
    rows: pl.DataFrame,
    y: FloatArray,
    *,
    swap: Swap,
    folds: int = 5,
    inner_folds: int = 5,
    seed: int = 0,
    judge_fold: int | None = None,
    progress: bool = True,
) -> OutOfFold:
    """Predict every row with a model that never saw its worker, and calibrate.

    Args:
        model: The model; it is copied, never changed. If it is not antisymmetric, its logits for
            the pair and for the swapped pair are averaged (with a change of sign).
        rows: Turns with features, no raw ticks, labelled or not.
        y: 1 where b was clicked, 0 where a was, NaN without a click (never trained on), shape (n,).
        swap: Exchanges left and right.
        folds: Models; each labels the workers of one fold and is trained on the others.
        inner_folds: Folds of the inner cross-validation (fewer if there are fewer workers).
        seed: Of the splits.
        judge_fold: Workers with this `fold` are trained on by no model.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        DataError: Too few workers or clicks, or rows or predictions that cannot be used.
        ConfigError: Raw ticks among the columns, no such `judge_fold`, or fewer than 2 folds.
    """
    refuse_raw(rows)
    if folds < 2 or inner_folds < 2:
        raise ConfigError(f"{folds} folds and {inner_folds} inner folds; expected at least 2 each")
    clicked = np.isfinite(y)
    p = np.full(rows.height, np.nan)
    label_fold = np.full(rows.height, JUDGED, dtype=np.int8)
    slopes: dict[int, float] = {}
    trained: dict[int, int] = {}
    plan = list(_plan(rows, clicked, folds, seed, judge_fold))
    with progress_bar(len(plan) * (1 + inner_folds), f"{model.name} · labels", progress) as bar:
        for number, train, test in plan:
            z = _inner_logits(model, rows[train], y[train], swap, inner_folds, seed)
            bar.update(inner_folds)
            slopes[number] = fit_slope(z, y[train])
            trained[number] = len(train)
            predict = _fit(model, rows[train], y[train], swap, check=True)
            p[test] = sigmoid(slopes[number] * predict(rows[test]))
            label_fold[test] = number
            bar.update(1)
    if not all(slopes.values()):
        silent = [number for number, slope in slopes.items() if not slope]
        said = (
            "%s: %d of %d models predict clicks no better than chance within their training "
            "workers (label folds %s); their pairs get a probability of 1/2"
        )
        named = ", ".join(map(str, silent))
        logger.warning(said, model.name, len(silent), len(slopes), named)
    return OutOfFold(p, label_fold, slopes, trained)


def _plan(
    rows: pl.DataFrame,
    clicked: npt.NDArray[np.bool_],
    folds: int,
    seed: int,
    judge_fold: int | None,
) -> Iterator[tuple[int, IndexArray, IndexArray]]:
    """Yield the number, training rows and labelled rows of each model."""
    judged = np.zeros(rows.height, dtype=bool)
    if judge_fold is not None:
        judged = (rows["fold"] == judge_fold).to_numpy()
        if not judged.any():
            raise ConfigError(
                f"no pair has fold {judge_fold}; the pairs have folds "
                f"{rows['fold'].unique().sort().to_list()}. Set judge_fold to one of them"
            )
    rest = np.flatnonzero(~judged)
    splits = make_splits(rows[rest], "worker", repeats=1, folds=folds, seed=seed)
    parts = [(split.fold, rest[split.train], rest[split.test]) for split in splits]
    if judged.any():
        parts.append((JUDGED, rest, np.flatnonzero(judged)))
    for number, known, test in parts:
        train = known[clicked[known]]
        workers = rows["user_id"].gather(train).n_unique()
        if workers < 2:
            raise DataError(
                f"label fold {number}: clicks of {workers} workers to train on; expected at least "
                "2, since the model is calibrated on workers that it was not trained on. Add data, "
                "or use --source explicit"
            )
        yield number, train, test


def _inner_logits(
    model: Model, rows: pl.DataFrame, y: FloatArray, swap: Swap, folds: int, seed: int
) -> FloatArray:
    """Return out-of-fold logits of the training rows, by models fitted on other workers of them."""
    z = np.zeros(rows.height)
    folds = min(folds, rows["user_id"].n_unique())
    for split in make_splits(rows, "worker", repeats=1, folds=folds, seed=seed):
        predict = _fit(model, rows[split.train], y[split.train], swap, check=False)
        z[split.test] = predict(rows[split.test])
    return z


def _fit(model: Model, rows: pl.DataFrame, y: FloatArray, swap: Swap, *, check: bool) -> Predict:
    """Fit a copy of the model; return what gives the symmetric logits of rows."""
    fitted = fit_copy(model, rows, y, binary=True)
    if fitted is None:
        return lambda seen: np.zeros(seen.height)

    def logits(rows: pl.DataFrame) -> FloatArray:
        seen = visible(rows)
        p = predict_checked(fitted, seen, binary=True)
        if not model.antisymmetric:
            swapped = predict_checked(fitted, swap(seen), binary=True)
            return (logit(p) - logit(swapped)) / 2.0
        if check:
            refuse_asymmetry(fitted, seen, p, swap)
        return logit(p)

    def predict(rows: pl.DataFrame) -> FloatArray:
        parts = np.array_split(np.arange(rows.height), 1 + rows.height // _PREDICTED_AT_ONCE)
        return np.concatenate([logits(rows[part]) for part in parts])

    return predict
