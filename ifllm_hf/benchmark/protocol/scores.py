"""From out-of-fold predictions to one row of the report, with intervals over workers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.rows import Labelled, groups_of
from ifllm_hf.errors import DataError
from ifllm_hf.metrics import core, weighted
from ifllm_hf.metrics.weighted import FloatArray

Record = dict[str, Any]


def averaged(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return `query_id, p_b`: each row's mean prediction over the repeats, in order of id."""
    return predictions.group_by("query_id").agg(pl.col("p_b").mean()).sort("query_id")


class Scored:
    """Averaged predictions beside the truth, for the rows that a protocol tested.

    Attributes:
        rows: The tested rows, in order of `query_id`.
        y: Truth, shape (n,).
        p: Mean prediction over repeats, shape (n,).
        groups: Worker of every row, shape (n,).
    """

    def __init__(self, predictions: pl.DataFrame, data: Labelled) -> None:
        """Join predictions to the labelled rows.

        Raises:
            DataError: Predictions for rows that are not labelled.
        """
        mean = averaged(predictions)
        position = data.rows.select("query_id").with_row_index("at")
        joined = mean.join(position, on="query_id", how="left", maintain_order="left")
        if joined["at"].null_count():
            foreign = joined.filter(pl.col("at").is_null())["query_id"][0]
            raise DataError(f"query {foreign} is predicted but is not a labelled row of the set")
        at = joined["at"].to_numpy()
        self.rows = data.rows[at]
        self.y = data.y[at]
        self.p = joined["p_b"].to_numpy()
        self.groups = groups_of(self.rows)
        self.task = data.task

    def keep(self, query_ids: pl.Series) -> Scored:
        """Return the part of the rows whose id is among these."""
        mask = self.rows["query_id"].is_in(query_ids.to_list()).to_numpy()
        part = object.__new__(Scored)
        part.rows, part.y, part.p = self.rows.filter(mask), self.y[mask], self.p[mask]
        part.groups, part.task = self.groups[mask], self.task
        return part


def majority(scored: Scored) -> Scored:
    """Return the same rows with the set's own mean as every prediction.

    It looks at the labels that it is scored on, as a base rate must: a constant learned from
    training folds leans the wrong way in each test fold and falls below it.
    """
    part = scored.keep(scored.rows["query_id"])
    part.p = np.full(len(part.y), part.y.mean())
    return part


def score(scored: Scored, *, draws: int = 2000, seed: int = 0) -> Record:
    """Return the scores of the averaged predictions with intervals over workers.

    Args:
        scored: Predictions beside the truth.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        For probabilities `n, workers, conversations, accuracy, low, high, auc, auc_low, auc_high,
        brier, brier_low, brier_high, log_loss, ece, ece_perfect`; for ratings `mse, mse_mean,
        pearson, spearman` with their ends.
    """
    record: Record = {
        "n": len(scored.y),
        "workers": len(np.unique(scored.groups)),
        "conversations": scored.rows["conversation_id"].n_unique(),
    }

    rows = (scored.y, scored.p, scored.groups)
    interval = partial(core.score_interval, draws=draws, seed=seed)
    if not scored.task.binary:
        likert = core.likert_scores(scored.y, scored.p)
        record["mse_mean"] = likert.mse_mean
        for metric in ("mse", "pearson", "spearman"):
            _put(record, metric, interval(metric, *rows))
        return record
    accuracy = interval("accuracy", *rows)
    record |= {"accuracy": accuracy.estimate, "low": accuracy.low, "high": accuracy.high}
    for metric in ("auc", "brier"):
        _put(record, metric, interval(metric, *rows))
    record["log_loss"] = core.log_loss(scored.y, scored.p)
    record["ece"] = core.expected_calibration_error(scored.y, scored.p)
    record["ece_perfect"] = core.expected_ece_if_calibrated(scored.p)
    return record


def _put(record: Record, name: str, interval: core.Interval) -> None:
    record[name] = interval.estimate
    record[f"{name}_low"], record[f"{name}_high"] = interval.low, interval.high


def difference(
    scored: Scored, versus: Scored, name: str, *, draws: int = 2000, seed: int = 0
) -> Record:
    """Return the paired differences in accuracy and AUC against another model.

    Args:
        scored: The model's predictions.
        versus: The other model's predictions of the same rows.
        name: What to call it: `length` gives `d_length, d_length_low, d_length_high` (accuracy)
            and `d_length_auc, ...`.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        DataError: The two were not tested on the same rows.
    """
    if not scored.rows["query_id"].equals(versus.rows["query_id"]):
        raise DataError(
            f"the model was tested on {len(scored.y)} rows and {name} on {len(versus.y)}; a paired "
            "difference needs the same rows"
        )
    record: Record = {}
    for metric, column in (("accuracy", f"d_{name}"), ("auc", f"d_{name}_auc")):
        found = core.score_interval(
            metric, scored.y, scored.p, scored.groups, versus=versus.p, draws=draws, seed=seed
        )
        _put(record, column, found)
    return record


def by_repeat(predictions: pl.DataFrame, data: Labelled) -> Record:
    """Return the mean and SD over repeats of the score of each single repeat.

    The paper's protocol quotes single shuffles: `repeat_mean` and `repeat_sd` compare with it,
    while `accuracy` scores the predictions averaged over all shuffles.
    """
    scores = []
    for _, part in predictions.group_by("repeat", maintain_order=True):
        one = Scored(part, data)
        if data.task.binary:
            scores.append(core.pairwise_accuracy(one.y, one.p))
        else:
            scores.append(core.likert_scores(one.y, one.p).mse)
    values: FloatArray = np.asarray(scores)
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {"repeats": len(values), "repeat_mean": float(values.mean()), "repeat_sd": spread}


def per_worker(scored: Scored, at_least: int = 5) -> Record:
    """Return the spread of accuracy over workers with at least so many rows.

    Returns:
        `worker_macro` (mean over workers), `worker_sd`, `worker_min`, `worker_max`,
        `worker_count`, and `worker_small` (workers left out for having fewer rows).
    """
    right = weighted.correct(scored.y, scored.p)
    each = [right[scored.groups == worker] for worker in np.unique(scored.groups)]
    values = [mine.mean() for mine in each if len(mine) >= at_least]
    small = len(each) - len(values)
    if not values:
        return {"worker_count": 0, "worker_small": small}
    return {
        "worker_macro": float(np.mean(values)),
        "worker_sd": float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        "worker_min": float(np.min(values)),
        "worker_max": float(np.max(values)),
        "worker_count": len(values),
        "worker_small": small,
    }
