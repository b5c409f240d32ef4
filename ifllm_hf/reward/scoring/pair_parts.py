"""The turns with two answers of a dataset, one part at a time: its shards, or slices of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import polars as pl

from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS
from ifllm_hf.behavior.features.table import refuse_doubled
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.ifllm import find_prepared, fingerprint
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import scan_parquet
from ifllm_hf.reward.training.examples import columns_to_read

_NEEDED = ("query_id", "conversation_id", "user_id", "prompt", "response_a", "response_b")
_KEYS = ("query_id", *ORDER_COLUMNS)
_ROWS_AT_ONCE = 500  # of a dataset on the Hub; a turn is about 0.2 MB of ticks


@dataclass(frozen=True)
class PairParts:
    """Pairs in parts.

    Attributes:
        columns: Of every part.
        keys: Of all rows in order, `query_id` and of `ORDER_COLUMNS` what is there.
        ends: Number of rows up to the end of each part.
        state: Names what the data are now.
        read: Returns the rows of a part, by its number; another process can call it.
    """

    columns: Sequence[str]
    keys: pl.DataFrame
    ends: Sequence[int]
    state: str
    read: Callable[[int], pl.DataFrame]

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.ends)

    def length(self, number: int) -> int:
        """Return the number of rows of a part."""
        return self.ends[number] - (self.ends[number - 1] if number else 0)


def open_pair_parts(
    source: str | os.PathLike[str] | None, extra: Sequence[str], say: Callable[[str], object]
) -> PairParts:
    """Open the turns with two answers of a dataset.

    Args:
        source: A folder of sessions, a prepared folder or a release; None: what
            `load_dataset("ifllm")` finds; else a dataset on the Hub with a config `pairwise`.
        extra: Tick columns that are read beside ours.
        say: Takes one line: what was found.

    Raises:
        ConfigError: The dataset on the Hub cannot be read.
        DataError: A column is missing, there are no rows, or ids that tell no turns apart.
    """
    name = "ifllm" if source is None else str(source)
    if source is None or name == "ifllm" or os.path.exists(source):
        given = None if source is None or not os.path.exists(source) else source
        parts = _of_folder(str(find_prepared(given, say=say)), name, extra)
    else:
        parts = _of_hub(name, extra)
    ids = parts.keys["query_id"]
    if not len(ids):
        raise DataError(f"{name}: no turn has two answers, of which one could lead")
    if ids.null_count():
        raise DataError(
            f"{name}: {ids.null_count()} rows have no query_id; expected one for each turn"
        )
    refuse_doubled(ids)
    return parts


def _of_folder(folder: str, name: str, extra: Sequence[str]) -> PairParts:
    files = config_files(folder, "pairwise")
    scanned = scan_parquet(files)
    columns = _wanted(scanned.collect_schema().names(), name, extra)
    lengths = [scan_parquet([file]).select(pl.len()).collect().item() for file in files]
    ends = pl.Series(lengths).cum_sum().to_list()
    keys = scanned.select([c for c in _KEYS if c in columns]).collect()
    return PairParts(columns, keys, ends, fingerprint(folder), partial(_read, files, columns))


def _of_hub(name: str, extra: Sequence[str]) -> PairParts:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        turns = load_dataset(name, "pairwise", split="train")
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        raise ConfigError(
            f"{name}: its config 'pairwise' cannot be read ({error.__cause__ or error}); "
            "expected a folder of sessions, one that `ifllm prepare` wrote, a release, or such a "
            "dataset on the Hub"
        ) from error
    columns = _wanted(turns.column_names, name, extra)
    cuts = [*range(0, len(turns), _ROWS_AT_ONCE), len(turns)]
    slices = [slice(*cut) for cut in pairwise(cuts)]
    keys = _rows(turns.select_columns([c for c in _KEYS if c in columns]), [slice(None)], 0)
    read = partial(_rows, turns.select_columns(columns), slices)
    return PairParts(columns, keys, cuts[1:], str(turns._fingerprint), read)


def _read(files: Sequence[str], columns: Sequence[str], number: int) -> pl.DataFrame:
    return scan_parquet([files[number]]).select(columns).collect()


def _rows(turns: Any, slices: Sequence[slice], number: int) -> pl.DataFrame:
    frame = pl.from_arrow(turns.with_format("arrow")[slices[number]])
    assert isinstance(frame, pl.DataFrame)
    return frame


def _wanted(available: Sequence[str], name: str, extra: Sequence[str]) -> list[str]:
    missing = [column for column in _NEEDED if column not in available]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(missing)}; expected those of the config `pairwise`. "
            "Prepare the data with `ifllm prepare`"
        )
    ticks = columns_to_read(available, extra)
    return list(dict.fromkeys((*_NEEDED, *(c for c in ORDER_COLUMNS if c in available), *ticks)))
