"""The protocols: which rows are trained on and which are tested, repeat by repeat.

A split depends on the seed and on the ids of the rows, never on their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.errors import ConfigError, DataError, require_one_of

IndexArray = npt.NDArray[np.int64]

# Repeats of the full benchmark and of `--quick`.
REPEATS = {"rows": 100, "conversation": 20, "worker": 20, "future": 1}
QUICK_REPEATS = {"rows": 5, "conversation": 3, "worker": 5, "future": 1}
# What may not stand on both sides of a split.
GROUP_COLUMN = {
    "rows": "query_id",
    "conversation": "conversation_id",
    "worker": "user_id",
    "future": "user_id",
}


@dataclass(frozen=True)
class Split:
    """One training and test set.

    Attributes:
        repeat: Number of the repeat, from 0.
        fold: Number of the fold within the repeat, from 0.
        train: Positions of the training rows, ascending.
        test: Positions of the test rows, ascending.
    """

    repeat: int
    fold: int
    train: IndexArray
    test: IndexArray


def make_splits(
    rows: pl.DataFrame, protocol: str, *, repeats: int | None = None, folds: int = 5, seed: int = 0
) -> list[Split]:
    """Return the splits of a protocol.

    * `rows`: rows shuffled into folds, the paper's protocol; one person's turns fall on both sides.
    * `conversation`: whole conversations; a person's other conversations are still trained on.
    * `worker`: whole workers; the headline.
    * `future`: fold k trains on everything asked before date k and tests all turns of the workers
      first seen between date k and date k+1 (dates at equal numbers of rows). The rows before the
      first date are never tested; there is one repeat.

    Groups are shuffled, then each goes to the fold with the fewest rows so far.

    Args:
        rows: `query_id, conversation_id, user_id` and, for `future`, `asked_at`.
        protocol: Name of the protocol.
        repeats: How often to draw folds anew; by default that of the full benchmark.
        folds: Folds per repeat.
        seed: Seed; repeat r draws from (seed, r).

    Raises:
        ConfigError: Unknown protocol, fewer than 2 folds or 1 repeat.
        DataError: Doubled ids, fewer groups than folds, or no date to split at.
    """
    require_one_of("protocol", protocol, REPEATS)
    repeats = REPEATS[protocol] if repeats is None else repeats
    if folds < 2 or repeats < 1:
        raise ConfigError(f"{folds} folds and {repeats} repeats; expected at least 2 and 1")
    if rows["query_id"].is_duplicated().any():
        raise DataError("the rows to split have doubled query ids; expected one row per turn")
    position = np.argsort(rows["query_id"].to_numpy(), kind="stable")
    ordered = rows[position]
    if protocol == "future":
        return _future(ordered, position, folds)
    groups, member = np.unique(ordered[GROUP_COLUMN[protocol]].to_numpy(), return_inverse=True)
    if len(groups) < folds:
        raise DataError(
            f"{len(groups)} different values of {GROUP_COLUMN[protocol]} cannot fill {folds} folds "
            f"of the protocol {protocol!r}; use fewer folds or more data"
        )
    sizes = np.bincount(member)
    out = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        fold_of = _deal(sizes, rng.permutation(len(groups)), folds)[member]
        for fold in range(folds):
            train, test = (np.sort(position[part]) for part in (fold_of != fold, fold_of == fold))
            out.append(Split(repeat, fold, train, test))
    return out


def _deal(sizes: IndexArray, order: IndexArray, folds: int) -> IndexArray:
    """Give each group, in this order, to the fold with the fewest rows so far."""
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = [(0, fold) for fold in range(folds)]
    for group in order:
        rows, fold = min(filled)
        fold_of[group] = fold
        filled[fold] = (rows + int(sizes[group]), fold)
    return fold_of


def _future(ordered: pl.DataFrame, position: IndexArray, folds: int) -> list[Split]:
    if "asked_at" not in ordered.columns:
        raise DataError("the protocol 'future' needs the column asked_at, which the rows lack")
    # A turn without a readable date was still logged in order: it gets its predecessor's date.
    asked = ordered["asked_at"].forward_fill().backward_fill()
    if asked.null_count():
        raise DataError("no turn has a date (asked_at); the protocol 'future' cannot be run")
    when = asked.to_physical().to_numpy()
    _, worker = np.unique(ordered["user_id"].to_numpy(), return_inverse=True)
    first_seen = np.full(worker.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first_seen, worker, when)
    cuts = np.sort(when)[[len(when) * k // folds for k in range(1, folds)]]
    ends = np.append(cuts[1:], np.iinfo(np.int64).max)
    out = []
    for fold, (cut, end) in enumerate(zip(cuts, ends, strict=True)):
        test = (first_seen[worker] >= cut) & (first_seen[worker] < end)
        train = when < cut
        if test.any() and train.any():
            out.append(Split(0, fold, np.sort(position[train]), np.sort(position[test])))
    if not out:
        raise DataError(
            "every worker was first seen at the start, so no later worker is left to test; "
            "the protocol 'future' cannot be run on these rows"
        )
    return out
