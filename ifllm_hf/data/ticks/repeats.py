"""Uploads that the server wrote twice: which rows of a conversation's files are copies.

A copy equals an earlier row of its file in every field. Not every equal row is one: two ticks of
one instant off the answers look alike in a `rel_*` file. So many ticks were at an instant as some
file of the conversation has different rows for it; what goes beyond that is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.records import AbsRecords, RelRecords

WRITTEN_TWICE = "batch written twice"

Key = TypeVar("Key")
Records = TypeVar("Records", AbsRecords, RelRecords)


def rows_once(files: Mapping[Key, AbsRecords | RelRecords]) -> dict[Key, NDArray[np.int64]]:
    """Return for each file that holds copies the rows that are none, in file order."""
    frames = {key: _frame(of) for key, of in files.items() if _has_ties(of.page_ms)}
    if not frames:
        return {}
    different = [
        frame.filter(~pl.col("again")).group_by("page_ms").len("ticks") for frame in frames.values()
    ]
    ticks_at = pl.concat(different).group_by("page_ms").agg(pl.col("ticks").max())
    kept = {}
    for key, frame in frames.items():
        nth = pl.int_range(pl.len()).over("page_ms")
        rows = (
            frame.join(ticks_at, on="page_ms", how="left")
            .sort("again", "row")  # the different rows of an instant come first
            .filter(nth < pl.col("ticks"))["row"]
            .sort()
        )
        if len(rows) < frame.height:
            kept[key] = rows.to_numpy().astype(np.int64)
    return kept


def without_repeats(records: Records, rows: NDArray[np.int64] | None, ledger: Ledger) -> Records:
    """Keep `rows` of a file, all of them if None, and count the others."""
    if rows is None:
        return records
    repeats = len(records) - len(rows)
    ledger.kept -= repeats
    ledger.dropped[WRITTEN_TWICE] += repeats
    return records.take(rows)


def _has_ties(page_ms: NDArray[np.float64]) -> bool:
    """Tell whether an instant stands there twice; most files run on without a step back."""
    if bool((np.diff(page_ms) > 0).all()):
        return False
    return len(np.unique(page_ms)) < len(page_ms)


def _frame(records: AbsRecords | RelRecords) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "page_ms": records.page_ms,
        "epoch_ms": records.epoch_ms,
        "x": records.x,
        "y": records.y,
    }
    if isinstance(records, RelRecords):
        columns |= {"caret": records.caret, "camera": records.camera}
        columns["window"] = pl.Series(records.window.cast(pa.string()))
    frame = pl.DataFrame(columns)
    again = pl.int_range(pl.len()).over(frame.columns) > 0
    return frame.with_columns(again=again).with_row_index("row").select("row", "page_ms", "again")
