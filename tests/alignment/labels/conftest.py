"""Turns with their features."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.alignment.labels.write import read_turns_with_features


@pytest.fixture(scope="module")
def turns(prepared_synthetic: Path) -> pl.DataFrame:
    return read_turns_with_features(prepared_synthetic)
