"""Labels that mean nothing: what a model scores when they are permuted within workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ifllm_hf.benchmark.protocol.rows import Labelled, groups_of
from ifllm_hf.benchmark.protocol.runner import fit_predict
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.splits import make_splits
from ifllm_hf.metrics import core
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.baselines.protocol import Model


def permute_within_workers(data: Labelled, rng: np.random.Generator) -> Labelled:
    """Return the rows with the labels shuffled among each worker's own rows."""
    workers = groups_of(data.rows)
    order = np.arange(len(workers))
    for worker in np.unique(workers):
        mine = np.flatnonzero(workers == worker)
        order[mine] = rng.permutation(mine)
    rows = data.rows.with_columns(data.rows[data.task.column][order])
    return replace(data, rows=rows, y=data.y[order])


def permutation_test(
    model: Model,
    data: Labelled,
    protocol: str = "worker",
    *,
    n: int = 200,
    folds: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> Record:
    """Refit a model on labels permuted within workers and compare with the true labels.

    Both sides use the same single repeat of the splits. Permuting within workers keeps every
    worker's rate of `b`, so only what distinguishes a worker's own turns can be lost.

    Args:
        model: The model.
        data: Labelled rows of a binary task.
        protocol: Protocol of the splits.
        n: Permutations.
        folds: Folds.
        seed: Seed of splits and permutations.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        What a row of the report gains: `permuted_n`; `permuted_accuracy, permuted_auc` with the
        true labels, one repeat of the splits; `permuted_mean_accuracy, permuted_mean_auc` over the
        permutations, at chance and 1/2 if nothing leaks; and `permuted_p_accuracy, permuted_p_auc`,
        (1 + permutations at least as good) / (1 + n).
    """
    splits = make_splits(data.rows, protocol, repeats=1, folds=folds, seed=seed)

    def score(shuffled: Labelled) -> tuple[float, float]:
        p = np.full(len(data.y), np.nan)
        for split in splits:
            p[split.test] = fit_predict(model, shuffled, split.train, split.test)
        tested = np.isfinite(p)
        y = shuffled.y[tested]
        return core.pairwise_accuracy(y, p[tested]), core.roc_auc(y, p[tested])

    accuracy, auc = score(data)
    rng = np.random.default_rng([seed, 1])
    chance = np.empty((n, 2))
    title = f"{model.name} · permuted labels"
    for i in progress_bar(n, title, progress, iterable=range(n)):
        chance[i] = score(permute_within_workers(data, rng))
    return {
        "permuted_n": n,
        "permuted_accuracy": accuracy,
        "permuted_auc": auc,
        "permuted_mean_accuracy": float(chance[:, 0].mean()),
        "permuted_mean_auc": float(chance[:, 1].mean()),
        "permuted_p_accuracy": _p_value(chance[:, 0], accuracy),
        "permuted_p_auc": _p_value(chance[:, 1], auc),
    }


def _p_value(chance: FloatArray, observed: float) -> float:
    # The tolerance keeps equal scores equal after different orders of summation.
    return float((1 + np.sum(chance >= observed - 1e-12)) / (1 + len(chance)))
