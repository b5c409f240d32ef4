"""Labelled rows: which turns a task scores, and what of a turn a model may see.

Raw ticks never enter: a model sees named features and text, because the raw pointer saw the click
on the rating. Labels are hidden from the rows that a model predicts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from ifllm_hf.behavior.features.table import refuse_doubled
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.protocol import PREFERENCE, Task

KEY_COLUMNS = ("query_id", "conversation_id", "user_id")
LABEL_COLUMNS = (
    "preference",
    "better_than_previous",
    "likert_a",
    "likert_b",
    "understand_before",
    "understand_after",
)
# The only list columns that are not ticks: the dialogue so far.
_HISTORY = ("history_a", "history_b")


@dataclass(frozen=True)
class Labelled:
    """The rows of a task with their truth, in order of `query_id`.

    Attributes:
        rows: One row per labelled turn, raw ticks removed.
        y: Truth, shape (n,): 1 where `b` was preferred (or the answer was better), or the rating.
        task: What `y` is.
        ledger: Turns seen, kept, and dropped by reason.
    """

    rows: pl.DataFrame
    y: FloatArray
    task: Task
    ledger: Ledger

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits that name the content of the rows and their truth, in any order."""
        frame = self.rows.sort("query_id")
        frame = frame.select(sorted(frame.columns))
        digest = hashlib.sha256(self.task.name.encode())
        for column in frame.iter_columns():
            nan = int(column.is_nan().sum()) if column.dtype.is_float() else 0
            digest.update(f"{column.name}|{column.dtype}|{column.null_count()}|{nan}\n".encode())
        digest.update(frame.write_ndjson().encode())
        return digest.hexdigest()[:12]


def tick_columns(frame: pl.DataFrame) -> list[str]:
    """Return the names of list columns other than the dialogue history: raw ticks."""
    return [
        name
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List | pl.Array) and name not in _HISTORY
    ]


def labelled(
    turns: pl.DataFrame, task: Task = PREFERENCE, ids: Collection[int] | None = None
) -> Labelled:
    """Return the turns that carry the label of `task`.

    Args:
        turns: One row per turn: the `turns` table (or the `pairwise` / `pointwise` config), with
            any feature columns joined to it.
        task: What is predicted.
        ids: Query ids to score, for a fixed set; all labelled turns by default.

    Raises:
        DataError: A column is missing, an id is doubled or unknown, or nothing is labelled.
    """
    missing = [c for c in (*KEY_COLUMNS, task.column) if c not in turns.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; expected the columns of the `turns` "
            f"table for the task {task.name!r}"
        )
    refuse_doubled(turns["query_id"])
    ledger = Ledger(task.name)
    frame = turns.drop(tick_columns(turns)).sort("query_id")
    if "kind" in frame.columns:
        other = frame.filter(pl.col("kind") != task.kind)
        ledger.drop(f"not {task.kind}", len(other))
        frame = frame.filter(pl.col("kind") == task.kind)
    label = pl.col(task.column)
    ledger.drop("no label", int(frame[task.column].is_null().sum()))
    frame = frame.filter(label.is_not_null())
    if task is PREFERENCE:
        ledger.drop("tie", len(frame.filter(label == "tie")))
        frame = frame.filter(label != "tie")
        unknown = frame.filter(~label.is_in(["a", "b"]))
        if len(unknown):
            row = unknown.row(0, named=True)
            raise DataError(
                f"query {row['query_id']} has the preference {row[task.column]!r}; "
                "expected 'a', 'b', 'tie' or nothing"
            )
    if ids is not None:
        unknown_ids = sorted(set(ids) - set(frame["query_id"].to_list()))
        if unknown_ids:
            raise DataError(
                f"{len(unknown_ids)} of the {len(set(ids))} ids of the set are not labelled turns "
                f"of the task {task.name!r}; the first is {unknown_ids[0]}"
            )
        inside = pl.col("query_id").is_in(list(ids))
        ledger.drop("outside the set", len(frame.filter(~inside)))
        frame = frame.filter(inside)
    ledger.keep(len(frame))
    ledger.check()
    if not len(frame):
        raise DataError(
            f"none of the {ledger.seen} turns carries a label of the task {task.name!r} "
            f"(dropped: {ledger.dropped})"
        )
    values = frame[task.column]
    truth = (values == "b") if task is PREFERENCE else values
    return Labelled(frame, truth.cast(pl.Float64).to_numpy().copy(), task, ledger)


def visible(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what a model may see of the rows that it predicts: everything but the labels."""
    return rows.drop([c for c in LABEL_COLUMNS if c in rows.columns])


def refuse_raw(rows: pl.DataFrame) -> None:
    """Refuse rows that carry raw ticks or infinite features.

    Raises:
        ConfigError: Raw tick columns are present.
        DataError: A number is infinite (NaN is allowed and means missing).
    """
    ticks = tick_columns(rows)
    if ticks:
        raise ConfigError(
            f"the rows carry raw ticks ({', '.join(ticks[:4])}, ...); models are benchmarked on "
            "named features, since the raw pointer saw the click on the rating. Compute features "
            "from the reading phase, or write a predictions file"
        )
    infinite = rows.select(pl.selectors.float().is_infinite().any())
    for name in [column.name for column in infinite.iter_columns() if column[0]]:
        query = rows.filter(pl.col(name).is_infinite())["query_id"][0]
        raise DataError(
            f"feature {name!r} is infinite at query {query}; expected a finite number, or NaN "
            "where it is missing"
        )


def swap_sides(rows: pl.DataFrame, antisymmetric: Collection[str] = ()) -> pl.DataFrame:
    """Return the rows with left and right exchanged.

    Args:
        rows: Rows whose per-side columns end in `_a` and `_b`.
        antisymmetric: Per-pair columns whose sign turns (for example a log ratio).

    Raises:
        ConfigError: An antisymmetric column does not exist.
    """
    missing = [c for c in antisymmetric if c not in rows.columns]
    if missing:
        raise ConfigError(f"there is no column {missing[0]!r} to turn the sign of")
    names = set(rows.columns)
    stems = [c.removesuffix("_a") for c in rows.columns if c.endswith("_a")]
    pairs = [(f"{stem}_a", f"{stem}_b") for stem in stems if f"{stem}_b" in names]
    partner = {name: other for a, b in pairs for name, other in ((a, b), (b, a))}
    swapped = rows.rename(partner).select(rows.columns)
    signs = [(-pl.col(c)).alias(c) for c in antisymmetric]
    if "preference" in names:
        signs.append(pl.col("preference").replace({"a": "b", "b": "a"}))
    return swapped.with_columns(signs)


def groups_of(rows: pl.DataFrame) -> np.ndarray:
    """Return the worker of every row as an array, for models and intervals."""
    return rows["user_id"].to_numpy()
