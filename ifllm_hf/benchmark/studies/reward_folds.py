"""The reward model under the benchmark's protocol: one model per fold of workers, predictions out.

Finished folds are kept, so that a killed run goes on where it stopped.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.predictions import write_predictions
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import PREDICTION_SCHEMA
from ifllm_hf.benchmark.protocol.scores import Record, Scored, score
from ifllm_hf.benchmark.protocol.splits import Split, make_splits
from ifllm_hf.benchmark.report.report import finite
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import digest, read_parquet, write_parquet
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.training import trainer as tr
from ifllm_hf.reward.training.config import (
    INPUTS,
    RewardDataConfig,
    RewardInputConfig,
    RewardTrainingConfig,
)
from ifllm_hf.reward.training.run import (
    RewardData,
    check_inputs_fit,
    fit_reward_model,
    load_reward_data,
    reads_text_once,
    run_record,
    score_pairs,
)
from ifllm_hf.training.run_record import write_run

logger = logging.getLogger(__name__)

PREDICTIONS_FILE = "predictions.parquet"
SHOTS = (0, 1, 3, 5)
_PROTOCOL = "worker"
_NEWTON_STEPS = 200
_SMALL_STEP = 1e-8


def cross_validate_reward(
    backbone: Any,
    inputs: RewardInputConfig,
    training: RewardTrainingConfig,
    data: RewardDataConfig,
    *,
    turns: RewardData | None = None,
) -> Path:
    """Train one model per fold of the protocol `worker` and write its predictions.

    The folds are those of `ifllm benchmark`: same seed, same workers. Everything that is fitted or
    chosen (normalisation, best epoch) comes from the training workers of a fold.

    Args:
        backbone: TRL's `ModelConfig`.
        inputs: What the model reads.
        training: How it is trained; folds are kept under its `output_dir`.
        data: On what, with the number of repeats.
        turns: The loaded turns, to share between runs on the same data.

    Returns:
        The predictions file, for `ifllm benchmark --predictions`.

    Raises:
        IFLLMError: Anything a user can act on.
    """
    if training.world_size > 1:
        raise ConfigError(
            f"cross_validate was started in {training.world_size} processes; folds are small and "
            "follow one another: use one process"
        )
    check_inputs_fit(inputs, data)
    folder = Path(str(training.output_dir))
    turns = load_reward_data(data) if turns is None else turns
    pairs = labelled_pairs(turns)
    record = run_record(backbone, inputs, training, data, turns, turns.usable)
    name = config_digest(record)
    splits = make_splits(pairs, _PROTOCOL, repeats=data.repeats)
    parts = []
    for number, split in enumerate(splits):
        store = folder / "folds" / f"{name}-{split.repeat:03d}-{split.fold}.parquet"
        if not store.exists():
            logger.info("fold %d of %d", number + 1, len(splits))
            part = _fold(backbone, inputs, training, turns, pairs, split, name)
            write_parquet(store, part)
        parts.append(read_parquet(store))
    found = pl.concat(parts)
    out = folder / PREDICTIONS_FILE
    write_predictions(found, out)
    epochs = found.group_by("repeat", "fold", maintain_order=True).agg(pl.col("best_epoch").first())
    record["result"] = {
        "config_hash": name,
        "best_epochs": epochs["best_epoch"].to_list(),
        "new_readers": new_reader_records(found, turns),
    }
    write_run(folder, record)
    return out


def labelled_pairs(turns: RewardData) -> pl.DataFrame:
    """Return the keys of the labelled pairs, which the folds are drawn from."""
    columns = ("query_id", "conversation_id", "user_id", "asked_at")
    rows = [{c: turns.rows[q].get(c) for c in columns} for q in sorted(turns.preferences)]
    return pl.DataFrame(rows, infer_schema_length=None)


def config_digest(record: dict[str, Any]) -> str:
    """Return 12 hex digits that name the settings and the data of a run, for its predictions."""
    known = {
        name: value
        for name, value in record["settings"].items()
        if not name.startswith(
            ("logging", "report", "hub", "repeats", "project", "trackio", "trust")
        )
    }
    data = [record["data"][name] for name in ("fingerprint", "behavior_fingerprint")]
    version = record["versions"].get("ifllm-hf")
    return digest([known, data, version], 12)


def _fold(
    backbone: Any,
    inputs: RewardInputConfig,
    training: RewardTrainingConfig,
    turns: RewardData,
    pairs: pl.DataFrame,
    split: Split,
    name: str,
) -> pl.DataFrame:
    tested = pairs["query_id"].gather(split.test).to_list()
    readers = set(pairs["user_id"].gather(split.test).to_list())
    # Rated single answers of the tested readers teach nothing either.
    ids = [q for q in turns.usable if turns.rows[q]["user_id"] not in readers]
    arguments = copy(training)
    arguments.seed = training.seed + 1000 * split.repeat + split.fold
    work = Path(str(training.output_dir)) / "folds" / f"{name}-work"
    shutil.rmtree(work, ignore_errors=True)  # what a killed fold left
    arguments.output_dir = str(work)
    trainer, processor = fit_reward_model(backbone, inputs, arguments, turns, ids)
    kept = reads_text_once(inputs)
    with_behavior = score_pairs(trainer.model, processor, turns, tested, kept_text=kept)
    text = np.zeros(len(tested))
    if INPUTS[inputs.inputs]["use_text"] or inputs.evidence_head:  # length is of the text
        text = score_pairs(trainer.model, processor, turns, tested, behavior=False, kept_text=kept)
    shutil.rmtree(work, ignore_errors=True)
    return pl.DataFrame(
        {
            "query_id": tested,
            "protocol": [_PROTOCOL] * len(tested),
            "repeat": [split.repeat] * len(tested),
            "fold": [split.fold] * len(tested),
            "p_b": sigmoid(with_behavior),
            "config_hash": [name] * len(tested),
            "text": text,
            "behavior": with_behavior - text,
            "best_epoch": [tr.best_epoch(trainer)] * len(tested),
        },
        schema={
            **PREDICTION_SCHEMA,
            **dict.fromkeys(("text", "behavior", "best_epoch"), pl.Float64),
        },
    )


def adapted(
    text: FloatArray, behavior: FloatArray, labels: FloatArray, penalty: float = 4.0
) -> FloatArray:
    """Return how much a new reader's scores count: weights of the text's and behaviour's part.

    p = sigmoid(w_text text + w_behavior behavior), with penalty / 2 |w - 1|^2 added to the log
    loss: without labels both are 1, each label moves them.

    Args:
        text: r(b) - r(a) without behaviour, of the reader's labelled pairs, shape (k,).
        behavior: What behaviour adds to it, shape (k,).
        labels: 1 where b was preferred, shape (k,).
        penalty: How slowly to move.

    Returns:
        The two weights.

    Raises:
        DataError: A score is not finite.
    """
    x = np.column_stack([text, behavior])
    if not np.isfinite(x).all():
        raise DataError(
            "scores of a new reader's pairs are not finite; expected numbers. Look at the model's "
            "training: its loss is likely NaN."
        )

    def loss(w: FloatArray) -> float:
        logits = np.logaddexp(0.0, -(2 * labels - 1) * (x @ w))
        return float(logits.sum() + penalty / 2 * ((w - 1) ** 2).sum())

    weights = np.ones(2)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - labels) + penalty * (weights - 1)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        # Large scores make a whole step jump to and fro over the minimum.
        while loss(weights - step) > loss(weights) and np.abs(step).max() >= _SMALL_STEP:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < _SMALL_STEP:
            return weights
    raise DataError(
        f"the weights of a new reader did not settle in {_NEWTON_STEPS} steps (scores up to "
        f"{np.abs(x).max():.3g}); expected log odds of a few units. Look at the model's training."
    )


def new_reader_records(
    found: pl.DataFrame, turns: RewardData, shots: Sequence[int] = SHOTS
) -> list[Record]:
    """Score the predictions after a new reader's first labels.

    Of every reader, none of whose turns was trained on, the first k labelled pairs (by date)
    set the weights of `adapted`; all pairs after the first max(shots) are tested for every k.

    Args:
        found: Predictions with the columns `text` and `behavior`.
        turns: The labelled turns.
        shots: Values of k.

    Returns:
        One record per k, with accuracy, n, workers and interval (None for what one reader does not
        give); empty if no reader has enough.
    """
    rows = pl.DataFrame(
        [dict(turns.rows[q]) for q in sorted(turns.preferences)], infer_schema_length=None
    )
    side = pl.Series([turns.preferences[q].side for q in rows["query_id"]])
    data = labelled(rows.with_columns(preference=side))
    truth = dict(zip(data.rows["query_id"].to_list(), data.y, strict=True))
    keyed = found.join(data.rows.select("query_id", "user_id", "asked_at"), on="query_id")
    records = []
    for k in shots:
        parts = []
        for _, mine in keyed.group_by("repeat", "user_id", maintain_order=True):
            mine = mine.sort("asked_at", "query_id")
            if len(mine) <= max(shots):
                continue
            y = np.array([truth[q] for q in mine["query_id"]])
            text, behavior = (mine[c].to_numpy() for c in ("text", "behavior"))
            weights = adapted(text[:k], behavior[:k], y[:k])
            rest = mine[max(shots) :]
            p = sigmoid(np.column_stack([text, behavior])[max(shots) :] @ weights)
            parts.append(rest.select("query_id", "repeat").with_columns(p_b=pl.Series(p)))
        if parts:
            records.append({"labels": k, **score(Scored(pl.concat(parts), data))})
    return finite(records)
