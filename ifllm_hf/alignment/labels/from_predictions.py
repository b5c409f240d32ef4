"""Labels from predictions made elsewhere: a reward model of any kind, held out by reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.calibration import JUDGED, OutOfFold, fit_slope
from ifllm_hf.benchmark.protocol.predictions import check_predictions, read_predictions
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.metrics.ridge import logit, sigmoid
from ifllm_hf.metrics.weighted import FloatArray

_PROTOCOL = "worker"


def probabilities_from(
    path: Path | str,
    turns: pl.DataFrame,
    rows: pl.DataFrame,
    y: FloatArray,
    *,
    judge_fold: int | None,
) -> tuple[OutOfFold, str]:
    """Return the calibrated predictions of a file that `ifllm benchmark --predictions` takes.

    Logits are averaged over repeats. The slope of a fold is fitted on the clicks of the other
    folds: their predictions are out of fold too. A row without a prediction gets 1/2.

    Args:
        path: The file; its protocol `worker` is used, and held to (no reader in two folds).
        turns: All turns.
        rows: The rows to label.
        y: 1 where b was clicked, 0 where a was, NaN without a click, shape (n,).
        judge_fold: Must be None: the models that label other readers were trained on the judges.

    Returns:
        The predictions of `rows`, and the name of what made them.

    Raises:
        ConfigError: A `judge_fold`.
        DataError: Not such a file, or one that breaks its protocol.
    """
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
    p, slopes, trained = np.full(len(z), 0.5), {}, {}
    known = np.isfinite(y) & (fold != JUDGED)
    for number in sorted(set(fold.tolist()) - {JUDGED}):
        others = known & (fold != number)
        slopes[number] = fit_slope(z[others], y[others])
        trained[number] = int(others.sum())
        mine = fold == number
        p[mine] = sigmoid(slopes[number] * z[mine])
    return OutOfFold(p, fold, slopes, trained), f"{name} {frame['config_hash'][0]}"
