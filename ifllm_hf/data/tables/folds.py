"""Five folds of whole workers, the same in every table."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ifllm_hf.files import digest

#: Number of folds.
FOLDS = 5


def assign_folds(turns: pl.DataFrame) -> dict[str, int]:
    """Deal whole workers into folds so that each fold has about as many labelled pairs.

    Workers come in the order of their labelled pairs, most first, ties by `user_id`. Each goes to
    the fold with the fewest labelled pairs so far, then the fewest workers, then the lowest number.
    Adding a worker can therefore move others; a published release keeps its folds because the
    release does not change.

    Args:
        turns: `user_id`, `kind` and `preference`, one row per question.

    Returns:
        The fold, 0 to 4, of every worker in `turns`.
    """
    labelled = (pl.col("kind") == "pairwise") & pl.col("preference").is_not_null()
    workers = (
        turns.group_by("user_id")
        .agg(labelled.sum().alias("pairs"))
        .sort(["pairs", "user_id"], descending=[True, False])
    )
    pairs_in = [0] * FOLDS
    workers_in = [0] * FOLDS
    folds: dict[str, int] = {}
    for user_id, pairs in workers.iter_rows():
        fold = min(range(FOLDS), key=lambda f: (pairs_in[f], workers_in[f], f))
        folds[user_id] = fold
        pairs_in[fold] += pairs
        workers_in[fold] += 1
    return folds


def fold_of_unknown(user_id: str) -> int:
    """Return the fold of a worker without a question in the release, from the id alone.

    >>> fold_of_unknown("reader_1") == fold_of_unknown("reader_1")
    True
    """
    return int(digest(user_id), 16) % FOLDS


def add_fold(frame: pl.DataFrame, folds: Mapping[str, int]) -> pl.DataFrame:
    """Append the column `fold` (i8) to a table with `user_id`.

    Args:
        frame: Any table with `user_id`.
        folds: What `assign_folds` returned; a worker who is not in it gets `fold_of_unknown`.

    Returns:
        The table with `fold` as its last column.
    """
    users = frame["user_id"].to_list()
    of_user = {u: folds[u] if u in folds else fold_of_unknown(u) for u in set(users)}
    return frame.with_columns(pl.Series("fold", [of_user[u] for u in users], dtype=pl.Int8))
