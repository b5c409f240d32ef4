"""Small tables of turns, some of them awkward, and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.alignment.labels.write import write_labels
from tests.helpers.labelled_turns import GapModel, make_turns


def small(**settings: Any) -> pl.DataFrame:
    turns: pl.DataFrame = make_turns(**{"workers": 12, "per_worker": 10, **settings})[0]
    return turns


def label(turns: pl.DataFrame, out: Path, **settings: Any) -> tuple[pl.DataFrame, Any]:
    settings = {"source": "both", "model": GapModel, "progress": False, **settings}
    report = write_labels(turns, out, **settings)
    read = pl.read_ndjson if out.suffix == ".jsonl" else pl.read_parquet
    return read(out), report


def changed(turns: pl.DataFrame, column: str, values: dict[int, Any]) -> pl.DataFrame:
    """Set a column at some row numbers."""
    kept = turns[column].to_list()
    for row, value in values.items():
        kept[row] = value
    return turns.with_columns(pl.Series(column, kept, dtype=turns.schema[column]))


def awkward() -> pl.DataFrame:
    turns = small()
    turns = changed(turns, "preference", {0: None, 13: None, 27: "tie"})
    turns = changed(turns, "has_error_answer", {1: True})
    turns = changed(turns, "response_a", {2: ""})
    turns = changed(turns, "response_b", {3: "left 3"})
    return changed(changed(turns, "kind", {4: "pointwise"}), "preference", {4: None})
