"""What labels are made from: a small table of all turns, and their texts one shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ifllm_hf.behavior.features.by_shard import state_of, write_features_of
from ifllm_hf.behavior.features.table import (
    FEATURE_COLUMNS,
    refuse_doubled,
    turn_files,
)
from ifllm_hf.benchmark.protocol.rows import tick_columns
from ifllm_hf.data.schema import SCHEMAS, TURNS
from ifllm_hf.data.tables.preferences import unfit
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet, scan_parquet
from ifllm_hf.reward.baselines.inputs import CHARS, chars
from ifllm_hf.reward.baselines.protocol import Model
from ifllm_hf.table_parts import kept_beside, table_files

UNFIT, BEHAVED = "unfit", "has behavior"
"""Columns of the facts: see `preferences.unfit`; whether any feature of a turn is known."""

# What a pair needs of its turn: columns that it keeps, and what decides on it.
_NEEDED = (
    *(name for name in SCHEMAS["preferences"].names if name in TURNS.names),
    *("kind", "preference", "has_error_answer"),
    *("response_a", "response_b", "history_a", "history_b"),
)
_PAST = ("history_a", "history_b")
# Of a model that says what it reads, the facts are these and no more.
_FACTS = (
    *("query_id", "conversation_id", "user_id", "turn", "fold", "kind"),
    *("preference", "likert_a", "likert_b"),
)


@dataclass(frozen=True)
class TurnFacts:
    """Turns to label.

    Attributes:
        facts: One row for each: keys, labels, features, `UNFIT` and (with features) `BEHAVED`.
        parts: Yields the turns with their texts, in the same order.
    """

    facts: pl.DataFrame
    parts: Callable[[], Iterator[pl.DataFrame]]


def facts_of_table(turns: pl.DataFrame) -> TurnFacts:
    """Return the facts of turns in memory.

    Args:
        turns: The `turns` table with features joined; raw ticks are ignored.

    Raises:
        DataError: A column is missing, an id is doubled, or an unknown preference.
    """
    missing = [name for name in _NEEDED if name not in turns.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; expected the columns of the `turns` "
            "table, with features joined by query_id"
        )
    turns = turns.drop(tick_columns(turns))
    facts = turns.with_columns(unfit().alias(UNFIT), *_behaved(turns.columns))
    return TurnFacts(_checked(facts), lambda: iter([turns]))


@contextmanager
def facts_of_folder(
    folder: Path | str,
    out: Path,
    *,
    features: bool,
    reads: Sequence[str] | None,
    workers: int,
    progress: bool,
) -> Iterator[TurnFacts]:
    """Compute the facts of a prepared folder, shard by shard.

    Args:
        folder: A folder written by `ifllm prepare`.
        out: Where labels will be written. Features lie beside it while the block runs; if it is
            interrupted the next run goes on.
        features: Whether features are needed.
        reads: Those that the model looks at, in which case it sees no texts; None: all.
        workers: Shards whose features are computed at once.
        progress: Draw a bar on stderr.

    Raises:
        TableError: It is not a prepared folder.
        DataError: See `behavior_features`.
    """
    files = turn_files(folder)
    if not features:
        yield facts_of_shards(files, None, reads)
        return
    with kept_beside(out, state_of(files)) as aside:
        place = aside / "features"
        if not place.exists():
            write_features_of(files, place, workers=workers, progress=progress)
        yield facts_of_shards(files, table_files(place), reads)


def reads_of(model: Model | None) -> Sequence[str] | None:
    """Return the features that a model looks at, none without a model; None: it does not say."""
    return () if model is None else getattr(model, "reads", None)


def facts_of_shards(
    files: Sequence[str], features: Sequence[str] | None, reads: Sequence[str] | None
) -> TurnFacts:
    """Return the facts of shards of turns.

    Args:
        files: The shards, in order; of the turns themselves one is in memory at a time.
        features: Those of the same turns, a shard for each; None: the model needs none.
        reads: See `facts_of_folder`.

    Raises:
        DataError: An id is doubled, or an unknown preference.
    """

    def parts() -> Iterator[pl.DataFrame]:
        return (read_parquet(file, TURNS.names) for file in files)

    shards: Sequence[str | None] = features or [None] * len(files)
    both = zip(parts(), shards, strict=True)
    return TurnFacts(_checked(pl.concat([_facts(part, reads, of) for part, of in both])), parts)


def _facts(
    turns: pl.DataFrame, reads: Sequence[str] | None, features: str | None = None
) -> pl.DataFrame:
    """Return the facts of one shard; of a model that does not say what it reads, with its texts."""
    facts = turns.drop(_PAST).with_columns(unfit().alias(UNFIT))
    if reads is not None:
        facts = facts.select(*_FACTS, UNFIT, *(chars(text) for text in CHARS))
    if features is None:
        return facts
    wanted = FEATURE_COLUMNS if reads is None else [c for c in FEATURE_COLUMNS if c in reads]
    (behaved,) = _behaved(FEATURE_COLUMNS)
    return facts.hstack(scan_parquet([features]).select(*wanted, behaved).collect())


def _behaved(columns: Sequence[str]) -> list[pl.Expr]:
    there = [pl.col(c) for c in FEATURE_COLUMNS if c in columns]
    known = [column.is_not_null() & column.is_not_nan() for column in there]
    return [pl.any_horizontal(known).alias(BEHAVED)] if known else []


def _checked(facts: pl.DataFrame) -> pl.DataFrame:
    refuse_doubled(facts["query_id"])
    known = facts["preference"].is_null() | facts["preference"].is_in(["a", "b", "tie"])
    if not known.all():
        row = facts.filter(~known).row(0, named=True)
        raise DataError(
            f"query {row['query_id']} has the preference {row['preference']!r}; expected 'a', 'b', "
            "'tie' or nothing"
        )
    return facts
