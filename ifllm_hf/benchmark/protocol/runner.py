"""Fit a model inside the training folds of a protocol and collect its out-of-fold predictions.

Finished repeats are kept in a folder, so that a killed run goes on where it stopped.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.rows import Labelled, groups_of, refuse_raw, swap_sides, visible
from ifllm_hf.benchmark.protocol.splits import IndexArray, Split, make_splits
from ifllm_hf.benchmark.protocol.walls import refuse_asymmetry
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet, write_parquet
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.baselines.protocol import Model, code_hash, config_hash

logger = logging.getLogger(__name__)

Swap = Callable[[pl.DataFrame], pl.DataFrame]
PREDICTION_SCHEMA = {
    "query_id": pl.Int64,
    "protocol": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "p_b": pl.Float64,
    "config_hash": pl.String,
}


def fit_predict(model: Model, data: Labelled, train: IndexArray, test: IndexArray) -> FloatArray:
    """Fit a copy of the model on some rows and return its predictions for others.

    A training set with one class teaches nothing: the answer is then 1/2.

    Args:
        model: The model; it is copied, never changed.
        data: All rows.
        train: Positions of the training rows.
        test: Positions of the rows to predict.

    Returns:
        One prediction per test row, shape (n,).

    Raises:
        DataError: The model returned NaN, values outside [0, 1] or the wrong number of values.
    """
    return _fit(model, data, train, test)[1]


def _fit(
    model: Model, data: Labelled, train: IndexArray, test: IndexArray
) -> tuple[Model | None, FloatArray]:
    fitted = fit_copy(model, data.rows[train], data.y[train], binary=data.task.binary)
    if fitted is None:
        return None, np.full(len(test), 0.5)
    return fitted, predict_checked(fitted, visible(data.rows[test]), binary=data.task.binary)


def fit_copy(model: Model, rows: pl.DataFrame, y: FloatArray, *, binary: bool) -> Model | None:
    """Return a copy of the model fitted on rows; None where one class teaches nothing."""
    if binary and len(np.unique(y)) < 2:
        return None
    fitted = copy.deepcopy(model)
    fitted.fit(rows, y, groups_of(rows))
    return fitted


def predict_checked(model: Model, rows: pl.DataFrame, *, binary: bool) -> FloatArray:
    """Return the predictions of a fitted model, shape (n,).

    Raises:
        DataError: NaN, values outside [0, 1] where they are probabilities, or the wrong number.
    """
    p = np.asarray(model.predict_proba(rows), dtype=np.float64)
    if p.shape != (len(rows),):
        raise DataError(
            f"{model.name} returned an array of shape {p.shape} for {len(rows)} rows; expected "
            "one value per row, the probability that b is preferred"
        )
    wrong = ~np.isfinite(p)
    if binary:
        wrong |= (p < 0) | (p > 1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{model.name} predicted {p[first]} for query {rows['query_id'][first]}; expected "
            f"{'a probability in [0, 1]' if binary else 'a finite rating'}"
        )
    return p


def cross_validate(
    model: Model,
    data: Labelled,
    protocol: str,
    *,
    repeats: int | None = None,
    folds: int = 5,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
    swap: Swap = swap_sides,
) -> pl.DataFrame:
    """Return the out-of-fold predictions of a model under a protocol.

    Args:
        model: The model; every fold starts from a fresh copy.
        data: The labelled rows.
        protocol: `rows`, `conversation`, `worker` or `future`.
        repeats: Repeats of the folds; by default those of the full benchmark.
        folds: Folds per repeat.
        seed: Seed of the splits.
        cache: Folder of finished repeats; each is read instead of computed if settings, code of
            the model, protocol, seed and data are the same.
        progress: Whether to draw a progress bar on stderr.
        swap: Exchanges left and right, to hold antisymmetric models to their word.

    Returns:
        `query_id, protocol, repeat, fold, p_b, config_hash`, one row per tested row and repeat.
        For the task `likert`, `p_b` holds the predicted rating.

    Raises:
        DataError: Rows or predictions that cannot be used, or sides that do not mirror.
        ConfigError: Unknown protocol, or raw ticks among the columns.
    """
    refuse_raw(data.rows)
    splits = make_splits(data.rows, protocol, repeats=repeats, folds=folds, seed=seed)
    _warn_of_one_class(model, data, protocol, splits)
    folder = None if cache is None else cache / _cache_key(model, data, protocol, folds, seed)
    parts = []
    with progress_bar(len(splits), f"{model.name} · {protocol}", progress) as bar:
        for repeat, group in groupby(splits, key=lambda split: split.repeat):
            members = list(group)
            store = None if folder is None else folder / f"repeat-{repeat:04d}.parquet"
            if store is not None and store.exists():
                parts.append(read_parquet(store))
                bar.update(len(members))
                continue
            parts.append(_repeat(model, data, protocol, members, swap, bar.update))
            if store is not None:
                write_parquet(store, parts[-1])
    return pl.concat(parts)


def _warn_of_one_class(model: Model, data: Labelled, protocol: str, splits: list[Split]) -> None:
    if not data.task.binary:
        return
    single = sum(len(np.unique(data.y[split.train])) < 2 for split in splits)
    if single:
        said = "%s, %s: %d of %d training sets hold one class only; their test rows get 1/2"
        logger.warning(said, model.name, protocol, single, len(splits))


def _repeat(
    model: Model,
    data: Labelled,
    protocol: str,
    splits: list[Split],
    swap: Swap,
    done: Callable[[int], Any],
) -> pl.DataFrame:
    predictions = []
    for split in splits:
        fitted, p = _fit(model, data, split.train, split.test)
        if fitted is not None and model.antisymmetric and split.repeat == 0 and data.task.binary:
            refuse_asymmetry(fitted, visible(data.rows[split.test]), p, swap)
        predictions.append(p)
        done(1)
    tested = np.concatenate([split.test for split in splits])
    n = len(tested)
    columns = {
        "query_id": data.rows["query_id"].to_numpy()[tested],
        "protocol": [protocol] * n,
        "repeat": np.full(n, splits[0].repeat),
        "fold": np.repeat([s.fold for s in splits], [len(s.test) for s in splits]),
        "p_b": np.concatenate(predictions),
        "config_hash": [config_hash(model)] * n,
    }
    return pl.DataFrame(columns, schema=PREDICTION_SCHEMA, strict=False)


def _cache_key(model: Model, data: Labelled, protocol: str, folds: int, seed: int) -> str:
    slug = "".join(c if c.isalnum() else "-" for c in model.name.lower())
    settings = f"{config_hash(model)}-{code_hash(model)}"
    return f"{slug}-{settings}-{protocol}-{folds}x{seed}-{data.fingerprint}"
