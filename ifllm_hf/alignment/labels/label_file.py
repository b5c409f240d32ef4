"""The label file: its columns, and how it is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from ifllm_hf.alignment.labels.report import LabelReport
from ifllm_hf.data.prepared.shards import conform
from ifllm_hf.data.schema import SCHEMAS
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import check_free, whole_file, write_arrow

SUFFIXES = (".parquet", ".jsonl")
METADATA_KEY = b"ifllm_label"
"""Key of the report, as JSON, in the metadata of a Parquet file."""

LABELS = pa.schema(
    [
        *SCHEMAS["preferences"],
        ("label_model", pa.string()),
        ("label_fold", pa.int8()),
        ("explicit_preference", pa.string()),
        ("p_b_behavior", pa.float64()),
        ("p_b", pa.float64()),
        ("nu", pa.float64()),
        ("origin", pa.string()),
    ]
)
"""Columns of a label file: those of the `preferences` config, then what the label was made from.

`label_model`: name and hash of the settings of the model, null for explicit. `label_fold`: which of
its out-of-fold copies spoke. `explicit_preference`: the click (a, b, tie or null). `p_b_behavior`:
calibrated P(click = b | behaviour). `p_b`: probability of b that was decided on; `confidence` is
max(p_b, 1 - p_b). `nu`: rate of wrong clicks assumed, null unless used. `origin`: what this label
is made from, one of `ORIGINS`.
"""
CLICK, BEHAVIOR, CLICK_AND_BEHAVIOR = "click", "behavior", "click and behavior"
ORIGINS = (CLICK, CLICK_AND_BEHAVIOR, BEHAVIOR)


def check_place(out: Path, overwrite: bool) -> None:
    """Refuse a name that cannot be written, before anything is computed.

    Raises:
        ConfigError: An unknown suffix.
        OutputError: The place is taken.
    """
    if out.suffix not in SUFFIXES:
        raise ConfigError(
            f"{out.name}: cannot write {out.suffix or 'a file without a suffix'}; expected a name "
            f"that ends in {' or '.join(SUFFIXES)}"
        )
    check_free(out, overwrite=overwrite)


def write_label_file(table: pl.DataFrame, out: Path, report: LabelReport) -> None:
    """Write the labels, whole or not at all.

    Args:
        table: The columns of `LABELS`.
        out: `.parquet` (the report travels in its metadata) or `.jsonl`.
        report: What was made.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(out) as aside:
        if out.suffix == ".jsonl":
            table.write_ndjson(aside)
        else:
            arrow = conform(table.to_arrow(), LABELS, out.name)
            metadata = {METADATA_KEY: report.to_json().encode()}
            write_arrow(arrow.replace_schema_metadata(metadata), aside)
