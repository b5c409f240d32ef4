"""The label file: its columns, and where it may be written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ifllm_hf.data.schema import SCHEMAS
from ifllm_hf.table_parts import LINES, PARQUET, check_table_place

ACTIONS = "actions"
"""The source of labels that are made from what readers did with answers."""

METADATA_KEY = b"ifllm_label"
"""Key of the report, as JSON, in the metadata of every Parquet file."""

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
        ConfigError: An unknown ending.
        OutputError: The place is taken.
    """
    check_table_place(out, overwrite=overwrite, endings=(PARQUET, LINES))
