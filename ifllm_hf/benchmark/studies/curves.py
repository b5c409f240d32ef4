"""Learning curves: more readers, more labels, and the first labels of a new reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.rows import Labelled, groups_of
from ifllm_hf.benchmark.protocol.runner import fit_predict
from ifllm_hf.benchmark.protocol.scores import Record, Scored, score
from ifllm_hf.benchmark.protocol.splits import IndexArray, Split, make_splits
from ifllm_hf.errors import DataError
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.baselines.protocol import Model

# Positions of the rows to train on and to test, fit by fit, at one step of a curve.
_Fits = Sequence[tuple[IndexArray, IndexArray]]


def worker_curve(
    model: Model,
    data: Labelled,
    sizes: Sequence[int] | None = None,
    *,
    repeats: int = 20,
    seed: int = 0,
    draws: int = 2000,
    progress: bool = True,
) -> list[Record]:
    """Score a model trained on fewer workers, tested on the same held-out workers throughout.

    Args:
        model: The model.
        data: Labelled rows.
        sizes: Numbers of training workers; by default four steps up to all of them. Sizes above
            the number available in a training set use all of it.
        repeats: Repeats of the `worker` protocol; smaller sets are parts of larger ones.
        seed: Seed of splits and draws.
        draws: Bootstrap draws.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        One record per size: `curve, model, x` (training workers) and the scores.
    """
    groups = groups_of(data.rows)
    splits = make_splits(data.rows, "worker", repeats=repeats, seed=seed)
    most = min(len(np.unique(groups[s.train])) for s in splits)
    steps = sorted({max(2, round(most * f)) for f in (1 / 6, 1 / 3, 2 / 3, 1)})
    chosen = steps if sizes is None else list(sizes)

    def at(split: Split, size: int) -> IndexArray:
        names = _fold_generator(split, seed).permutation(np.unique(groups[split.train]))[:size]
        return split.train[np.isin(groups[split.train], names)]

    fits = [(size, [(at(s, int(size)), s.test) for s in splits]) for size in chosen]
    return _curve("training workers", model, data, fits, seed, draws, progress)


def label_curve(
    model: Model,
    data: Labelled,
    fractions: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    *,
    repeats: int = 20,
    seed: int = 0,
    draws: int = 2000,
    progress: bool = True,
) -> list[Record]:
    """Score a model trained on a random share of the explicit labels, held out by worker.

    Run it for a text model and for the same model with behaviour: where the second lies above the
    first at few labels, behaviour stands in for clicks.

    Returns:
        One record per fraction: `curve, model, x` (share of the labels) and the scores.
    """
    splits = make_splits(data.rows, "worker", repeats=repeats, seed=seed)

    def at(split: Split, share: float) -> IndexArray:
        keep = max(2, round(share * len(split.train)))
        return np.sort(_fold_generator(split, seed).permutation(split.train)[:keep])

    fits = [(share, [(at(s, share), s.test) for s in splits]) for share in fractions]
    return _curve("share of labels", model, data, fits, seed, draws, progress)


def _fold_generator(split: Split, seed: int) -> np.random.Generator:
    """Return the same one for every step: a smaller training set lies inside a larger one."""
    return np.random.default_rng([seed, split.repeat, split.fold])


def _curve(
    curve: str,
    model: Model,
    data: Labelled,
    steps: Sequence[tuple[float, _Fits]],
    seed: int,
    draws: int,
    progress: bool,
) -> list[Record]:
    ids = data.rows["query_id"]
    records = []
    total = sum(len(fits) for _, fits in steps)
    with progress_bar(total, f"{model.name} · {curve}", progress) as bar:
        for step, fits in steps:
            parts = []
            for train, test in fits:
                p = fit_predict(model, data, train, test)
                parts.append(pl.DataFrame({"query_id": ids[test], "p_b": p}))
                bar.update(1)
            scores = score(Scored(pl.concat(parts), data), draws=draws, seed=seed)
            records.append({"curve": curve, "model": model.name, "x": step, **scores})
    return records


def new_reader_curve(
    model: Model,
    data: Labelled,
    shots: Sequence[int] = (0, 1, 3, 5),
    *,
    seed: int = 0,
    draws: int = 2000,
    progress: bool = True,
) -> list[Record]:
    """Score a model after the first labels of a reader it has never seen.

    Each worker in turn is the new reader. Everybody else is trained on, with the new reader's
    first k labelled turns (by date, then id); the turns after the first max(shots) are tested,
    so that every k is scored on the same rows.

    Returns:
        One record per k: `curve, model, x` (labels of the new reader), `readers_without_test`
        (workers with too few turns to be tested) and the scores.

    Raises:
        DataError: No worker has more labelled turns than the largest k.
    """
    groups = groups_of(data.rows)
    keys = [c for c in ("asked_at", "query_id") if c in data.rows.columns]
    in_time = data.rows.with_row_index("at").sort(keys, nulls_last=False)["at"].to_numpy()
    order = {w: in_time[groups[in_time] == w] for w in np.unique(groups)}
    testable = {w: rows for w, rows in order.items() if len(rows) > max(shots)}
    if not testable:
        raise DataError(
            f"no worker has more than {max(shots)} labelled turns, so nothing is left to test; "
            "use fewer shots"
        )

    def train_on(worker: Any, first: IndexArray) -> IndexArray:
        return np.sort(np.r_[np.flatnonzero(groups != worker), first])

    test = {w: np.sort(mine[max(shots) :]) for w, mine in testable.items()}
    fits = [(k, [(train_on(w, mine[:k]), test[w]) for w, mine in testable.items()]) for k in shots]
    found = _curve("labels of the new reader", model, data, fits, seed, draws, progress)
    untested = len(order) - len(testable)
    return [{**record, "readers_without_test": untested} for record in found]


def extrapolate(
    records: Sequence[Record],
    at: Sequence[int] = (100, 200, 500),
    *,
    metric: str = "accuracy",
    exponents: Sequence[float] = (0.25, 0.5, 1.0),
) -> list[dict[str, Any]]:
    """Continue a worker curve: metric(n) = a - b n^-c by least squares, for several fixed c.

    Few points cannot identify the exponent, so the answer is a range over plausible ones, not an
    interval.

    Args:
        records: Output of `worker_curve`, at least two sizes.
        at: Numbers of training workers to look ahead to.
        metric: `accuracy` or `auc`.
        exponents: Values of c.

    Returns:
        One row per entry of `at`: `workers, low, high` over the exponents.

    Raises:
        DataError: Fewer than two different sizes.
    """
    n = np.array([r["x"] for r in records], dtype=np.float64)
    values = np.array([r[metric] for r in records], dtype=np.float64)
    if len(np.unique(n)) < 2:
        raise DataError("a curve needs at least two numbers of workers to be continued")
    ahead = np.asarray(at, dtype=np.float64)
    found = []
    for c in exponents:
        design = np.column_stack([np.ones(len(n)), -(n**-c)])
        a, b = np.linalg.lstsq(design, values, rcond=None)[0]
        found.append(a - b * ahead**-c)
    table = np.array(found)
    return [
        {"workers": int(w), "low": float(table[:, i].min()), "high": float(table[:, i].max())}
        for i, w in enumerate(ahead)
    ]
