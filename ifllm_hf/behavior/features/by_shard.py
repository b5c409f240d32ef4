"""The features of a dataset, computed and written shard by shard: what `ifllm features` writes.

What a turn's own ticks say is computed for one shard at a time and kept beside the output. Then the
readers' own baseline, which looks across turns, is added column by column. Memory holds the ticks
of one shard and, of each turn, who read it when.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from ifllm_hf.behavior.declaration import FloatArray
from ifllm_hf.behavior.features.baseline import baseline
from ifllm_hf.behavior.features.table import (
    FEATURE_COLUMNS,
    READING,
    behavior_features,
    own_features,
    read_shards,
    refuse_doubled,
    turn_files,
    with_baseline,
)
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.files import (
    digest,
    read_parquet,
    scan_parquet,
    whole_file,
    write_parquet,
)
from ifllm_hf.progress import progress_bar
from ifllm_hf.table_parts import check_table_place, drop_torn, kept_beside, table_files, write_table
from ifllm_hf.version import __version__

_SCHEMA = pa.schema(
    [
        ("query_id", pa.int64()),
        ("contaminated", pa.bool_()),
        *((name, pa.float64()) for name in FEATURE_COLUMNS),
    ]
)


def write_features(
    source: Any,
    out: str | os.PathLike[str],
    *,
    phases: Sequence[str] = READING,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> pl.LazyFrame:
    """Compute the features of a dataset and write them, whole or not at all.

    A run on a prepared folder that was interrupted goes on where it stopped.

    Args:
        source: A prepared folder, or what `behavior_features` takes.
        out: The `.parquet` file to write; a name without an ending: a folder with a shard for each
            shard of `source`, pairs first.
        phases: See `behavior_features`.
        workers: Shards at once, each in a process of its own; the result is the same.
        overwrite: Replace what is there.
        progress: Draw a bar on stderr.

    Returns:
        What was written, to be read lazily: one row per turn.

    Raises:
        ConfigError: `out` has another ending.
        OutputError: `out` is taken or cannot be written.
        TableError: `source` is a folder, but not a prepared one.
        DataError: See `behavior_features`.
        UnfinishedError: A process was killed; the same call does what is left.
    """
    out = check_table_place(out, overwrite=overwrite)
    if isinstance(source, str | os.PathLike):
        files = turn_files(source)
        write_features_of(files, out, phases=phases, workers=workers, progress=progress)
    else:
        table = behavior_features(source, phases=phases).to_arrow()
        write_table(out, [table], table.schema)
    return scan_parquet(table_files(out))


def write_features_of(
    files: Sequence[str],
    out: Path,
    *,
    phases: Sequence[str] = READING,
    workers: int = 1,
    progress: bool = False,
    kept: Path | None = None,
) -> None:
    """Write the features of some shards of turns; see `write_features`.

    Args:
        files: All shards, in order.
        out: Where `table_parts.write_table` may write.
        phases: See `behavior_features`.
        workers: See `write_features`.
        progress: Draw a bar on stderr.
        kept: A folder that keeps what the ticks of each shard say, by the shard's content: of
            shards that were there before they are not read again. Other files in it are deleted.
    """
    refuse_doubled(scan_parquet(files).select("query_id").collect()["query_id"])
    with kept_beside(out, state_of(files, phases)) as aside:
        own = [aside / f"{number}.parquet" for number in range(len(files))]
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            drop_torn(kept)
            own = [kept / f"{_content_of(file, phases)}.parquet" for file in files]
            for former in set(kept.iterdir()) - set(own):
                former.unlink()
        todo = [number for number, place in enumerate(own) if not place.exists()]
        run = engine_for(workers, rank=partial(_write_own, files, own, phases))
        done = len(files) - len(todo)
        with progress_bar(len(files), "features", progress, unit="shard", initial=done) as bar:
            run(aside, todo, lambda _: bar.update(1))
        columns = dict(_kept_columns(scan_parquet(own), aside))
        write_table(out, _joined(own, columns), _SCHEMA)


def _write_own(
    files: Sequence[str], own: Sequence[Path], phases: Sequence[str], _: Path, number: int
) -> None:
    """Keep what the ticks of one shard say."""
    write_parquet(own[number], own_features(read_shards([files[number]]), phases))


def _content_of(file: str, phases: Sequence[str]) -> str:
    """Return what names the features of a shard by all that they depend on."""
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    return digest([__version__, FEATURE_COLUMNS, phases, found], 32)


def state_of(files: Sequence[str], *more: Any) -> str:
    """Return what names these shards as they are now, and whatever else is given."""
    stats = [(file, os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]
    return digest([__version__, stats, FEATURE_COLUMNS, more], 12)


def _kept_columns(own: pl.LazyFrame, aside: Path) -> Iterator[tuple[str, FloatArray]]:
    """Yield the columns of the baseline, of all turns, as they lie on the disk."""
    for name, values in baseline(own):
        kept = aside / f"{name}.npy"
        with whole_file(kept) as part, part.open("wb") as file:
            np.save(file, values)
        yield name, np.load(kept, mmap_mode="r")


def _joined(own: Sequence[Path], columns: Mapping[str, FloatArray]) -> Iterator[pa.Table]:
    """Yield the features of one shard after the other."""
    start = 0
    for file in own:
        part = read_parquet(file)
        end = start + part.height
        features = with_baseline(part, {k: v[start:end] for k, v in columns.items()})
        yield features.to_arrow().cast(_SCHEMA)
        start = end
