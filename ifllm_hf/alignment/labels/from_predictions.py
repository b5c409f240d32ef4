"""Labels from predictions and scores made elsewhere: any reward model, held out by reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.calibration import JUDGED, OutOfFold, fit_slope
from ifllm_hf.behavior.features.table import refuse_doubled
from ifllm_hf.benchmark.protocol.predictions import check_predictions, read_predictions
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.ridge import logit, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.scoring.held_out import HELD_OUT, refuse_seen
from ifllm_hf.table_parts import PARQUET, table_files

_PROTOCOL = "worker"


def probabilities_from(
    path: Path | str,
    turns: pl.DataFrame,
    rows: pl.DataFrame,
    y: FloatArray,
    *,
    judge_fold: int | None,
) -> tuple[OutOfFold, str]:
    """Return the calibrated predictions of a file of predictions, or of scores.

    Logits are averaged over repeats. The slope of a fold is fitted on the clicks of the other
    folds: their predictions are out of fold too. A row without a prediction gets 1/2.

    Args:
        path: What `ifllm benchmark --predictions` takes; its protocol `worker` is used, and held
            to (no reader in two folds). Or what `ifllm score` wrote; its `held_out` is held to.
        turns: All turns.
        rows: The rows to label.
        y: 1 where b was clicked, 0 where a was, NaN without a click, shape (n,).
        judge_fold: Only with scores of one head that has not seen the readers of that fold. With
            several, as with predictions, those that label other readers were trained on the judges.

    Returns:
        The predictions of `rows`, and the name of what made them.

    Raises:
        ConfigError: A `judge_fold`.
        DataError: Not such a file, or one that breaks its protocol.
    """
    scores = _scores(Path(path))
    if scores is not None:
        return _from_scores(scores, Path(path).name, rows, y, judge_fold)
    if judge_fold is not None:
        raise ConfigError(
            f"judge_fold is {judge_fold}, but the predictions for other readers come from models "
            "that were trained on the readers of that fold. Leave judge_fold out (the language "
            "model must then not be judged on these readers), or label with inputs instead"
        )
    name = Path(path).name
    frame = read_predictions(path).filter(pl.col("protocol") == _PROTOCOL)
    if not frame.height:
        raise DataError(
            f"{name}: no row of the protocol '{_PROTOCOL}'; only predictions that are held out by "
            "reader can label"
        )
    told = check_predictions(frame, labelled(turns), name=name)
    mean = (
        told.with_columns(z=pl.Series(logit(told["p_b"].to_numpy())))
        .sort("repeat")
        .group_by("query_id")
        .agg(pl.col("z").mean(), pl.col("fold").first())
    )
    joined = rows.select("query_id").join(mean, on="query_id", how="left", maintain_order="left")
    z = joined["z"].fill_null(0.0).to_numpy()
    fold = joined["fold"].fill_null(JUDGED).to_numpy().astype(np.int8)
    known = fold != JUDGED
    return _calibrated(z, fold, y, known), f"{name} {frame['config_hash'][0]}"


def _calibrated(z: FloatArray, fold: Any, y: FloatArray, known: Any) -> OutOfFold:
    """Return probabilities; the slope of a fold is fitted on the clicks of the others.

    Args:
        z: Log odds of b, shape (n,).
        fold: `JUDGED` for rows whose clicks fit no slope.
        y: Clicks, NaN without one.
        known: Rows with log odds; the others get 1/2.
    """
    p, slopes, trained = np.full(len(z), 0.5), {}, {}
    clicked = np.isfinite(y) & known & (fold != JUDGED)
    for number in sorted(set(fold[known].tolist())):
        others = clicked & (fold != number)
        slopes[number] = fit_slope(z[others], y[others])
        trained[number] = int(others.sum())
        mine = known & (fold == number)
        p[mine] = sigmoid(slopes[number] * z[mine])
    return OutOfFold(p, fold, slopes, trained)


def _scores(path: Path) -> pl.DataFrame | None:
    """Return a table of scores, None if it is none."""
    if not path.is_dir() and (path.suffix != PARQUET or not path.is_file()):
        return None
    try:
        frame = read_parquet(table_files(path))
    except (pl.exceptions.PolarsError, OSError):
        return None  # refused as predictions are
    return frame if {"query_id", "p_b", HELD_OUT, "head"} <= set(frame.columns) else None


def _refuse_others(scores: pl.DataFrame, name: str, rows: pl.DataFrame) -> None:
    """Refuse scores of other data: ids of turns are small numbers that any data may have."""
    both = rows.select("query_id", reader="user_id").join(
        scores.select("query_id", "user_id"), on="query_id"
    )
    others = both.filter(pl.col("user_id").ne_missing(pl.col("reader")))
    if others.height:
        query, reader, told = others.row(0)
        raise DataError(
            f"{name}: query {query} is told of reader {told!r}, and in the data that are labelled "
            f"it is of {reader!r}; expected scores of these data. Run `ifllm score` on them"
        )
    if both.height < rows.height:
        raise DataError(
            f"{name}: has scores of {both.height} of the {rows.height} pairs that are labelled; "
            "expected all. Run `ifllm score` on the same data"
        )


def _from_scores(
    scores: pl.DataFrame, name: str, rows: pl.DataFrame, y: FloatArray, judge_fold: int | None
) -> tuple[OutOfFold, str]:
    """Return the calibrated predictions of a file that `ifllm score` wrote."""
    refuse_doubled(scores["query_id"])
    _refuse_others(scores, name, rows)
    told_of = rows.select("query_id", reader="user_id", in_fold="fold")
    # All rows of the file, so that a message counts them as they are there.
    read = scores.join(told_of, on="query_id", how="left", maintain_order="left")
    labelled_here = read["reader"].is_not_null()
    judged = labelled_here if judge_fold is None else (read["in_fold"] == judge_fold)
    refuse_seen(
        read[HELD_OUT].to_list(),
        read["reader"].to_list(),
        name=name,
        judged=judged.fill_null(False).to_list(),
        fold=judge_fold,
    )
    used = read.filter(labelled_here)
    heads = used["head"].unique().sort().to_list()
    if judge_fold is not None and len(heads) > 1:
        raise ConfigError(
            f"judge_fold is {judge_fold}, but {name} was scored by {len(heads)} heads, and all but "
            "one were fitted on the readers of that fold. Score all readers by one that was not "
            f"(`ifllm score --head fold_{judge_fold}`), or leave judge_fold out"
        )
    joined = rows.select("query_id", "fold").join(
        used.select("query_id", "p_b", HELD_OUT), on="query_id", how="left", maintain_order="left"
    )
    p_b = joined["p_b"].fill_nan(None)
    outside = ~p_b.is_between(0.0, 1.0).fill_null(True)
    if outside.any():
        row = int(outside.arg_true()[0])
        raise DataError(
            f"{name}: p_b is {p_b[row]} for query {joined['query_id'][row]}; expected probabilities"
        )
    z = logit(p_b.fill_null(0.5).to_numpy())
    fold = joined["fold"].fill_null(JUDGED).to_numpy().astype(np.int8)
    if judge_fold is not None:
        fold = np.where(fold == judge_fold, np.int8(JUDGED), fold)
    made_by = used["model"][0] if "model" in used.columns and used.height else name
    told = _calibrated(z, fold, y, p_b.is_not_null().to_numpy())
    # Without a score nothing is known of the row, and nothing of its reader was used.
    told = replace(told, held_out=joined[HELD_OUT].fill_null(p_b.is_null()).to_numpy())
    return told, f"{name} {made_by} {'by reader' if len(heads) > 1 else heads[0]}"
