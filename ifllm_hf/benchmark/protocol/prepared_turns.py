"""From a prepared folder to rows with features: computed once, kept beside the results."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from ifllm_hf.behavior.features.table import ANTISYMMETRIC_COLUMNS, behavior_features
from ifllm_hf.benchmark.protocol.paper_inputs import paper_columns, paper_pairs
from ifllm_hf.benchmark.protocol.rows import swap_sides, tick_columns
from ifllm_hf.benchmark.protocol.runner import Swap
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from ifllm_hf.files import digest, package_folder, read_parquet, write_parquet
from ifllm_hf.reward.baselines.choice import STILL_PREFIX, WHOLE_PREFIX
from ifllm_hf.reward.baselines.forest import PAPER_PREFIX

logger = logging.getLogger(__name__)

STILL_MS = 1500.0
"""The camera's gaze model trains itself on the moving cursor; for this long it must have rested."""
_ALL_PHASES = ("reading", "rating", "after")
_DIALOGUE = ("history_a", "history_b")


@dataclass(frozen=True)
class PreparedTurns:
    """The rows of a benchmark run.

    Attributes:
        turns: One row per turn of both kinds with features joined, without ticks and dialogue.
        pairs: The rows of the `pairwise` config with ticks, for the probes.
        paper_ids: Ids of the paper's pairs.
        antisymmetric: Columns whose sign turns when the sides are swapped.
        notes: What could not be computed, and why.
    """

    turns: pl.DataFrame
    pairs: pl.DataFrame
    paper_ids: list[int]
    antisymmetric: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def swap(self) -> Swap:
        """Return the function that exchanges left and right in `turns`."""
        return partial(swap_sides, antisymmetric=self.antisymmetric)


def load_prepared(
    folder: Path | str, cache: Path | None = None, *, ablations: bool = True
) -> PreparedTurns:
    """Read a prepared folder and compute the features of its turns.

    Args:
        folder: A folder written by `ifllm prepare`.
        cache: Folder that keeps computed features; they are made anew when the data or the code
            that makes them changed.
        ablations: Whether to compute the features of ablations and of the paper's model too.

    Raises:
        TableError: It is not a prepared folder.
        DataError: See `behavior_features`.
    """
    pairs = read_parquet(config_files(folder, "pairwise"))
    single = read_parquet(config_files(folder, "pointwise"))
    rows = pl.concat([pairs, single])
    key = _key(folder) if cache else ""

    def kept(name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        if cache is None:
            return make()
        path = cache / f"features-{name}-{key}.parquet"
        if not path.exists():
            write_parquet(path, make())
        return read_parquet(path)

    tables = [kept("ours", lambda: behavior_features(rows).drop("contaminated"))]
    signed = list(ANTISYMMETRIC_COLUMNS)
    notes = []
    if ablations:
        signed += [prefix + c for prefix in (STILL_PREFIX, WHOLE_PREFIX) for c in signed]
        tables.append(kept("still", lambda: _named(STILL_PREFIX, behavior_features(_still(rows)))))
        tables.append(
            kept("whole", lambda: _named(WHOLE_PREFIX, behavior_features(rows, phases=_ALL_PHASES)))
        )
        try:
            tables.append(kept("paper", lambda: _named(PAPER_PREFIX, paper_columns(folder, pairs))))
        except DataError as error:
            notes.append(f"The paper's features are left out: {error}.")
            logger.warning("%s", notes[-1])
    turns = rows.drop(tick_columns(rows)).drop(_DIALOGUE)
    for table in tables:
        turns = turns.join(table, on="query_id", how="left", maintain_order="left")
    return PreparedTurns(turns, pairs, paper_pairs(pairs), tuple(signed), tuple(notes))


def _still(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the turns with gaze only where the mouse had rested for `STILL_MS`."""
    lists = ["gaze_on", "gaze_char", "mouse_idle_ms"]
    rested = pl.col("mouse_idle_ms") > STILL_MS
    ticks = (
        rows.select("query_id", *lists)
        .filter(pl.col("gaze_on").list.len() > 0)
        .explode(lists)
        .with_columns(
            gaze_on=pl.when(rested).then("gaze_on").otherwise(pl.lit("none")),
            gaze_char=pl.when(rested).then("gaze_char"),
        )
        .group_by("query_id", maintain_order=True)
        .agg("gaze_on", "gaze_char")
    )
    return rows.drop("gaze_on", "gaze_char").join(
        ticks, on="query_id", how="left", maintain_order="left"
    )


def _named(prefix: str, table: pl.DataFrame) -> pl.DataFrame:
    table = table.drop("contaminated", strict=False)
    return table.rename({c: prefix + c for c in table.columns if c != "query_id"})


def _key(folder: Path | str) -> str:
    """Return 12 hex digits that change with the data and the code."""
    configs = ("pairwise", "pointwise", "ticks")
    files = [Path(file) for config in configs for file in config_files(folder, config)]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return digest([source_hash(), stats], 12)


def source_hash() -> str:
    """Return 12 hex digits of the code that makes features, models and scores."""
    rooms = ("behavior", "benchmark", "metrics", "reward")
    files = sorted(file for room in rooms for file in (package_folder() / room).rglob("*.py"))
    return digest(b"".join(file.read_bytes() for file in files), 12)
