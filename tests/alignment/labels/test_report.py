from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.alignment.labels.noise import ASSUMPTION
from tests.helpers.alignment.written_labels import awkward, label, small


def test_report_is_json_and_prints(tmp_path: Path) -> None:
    _, report = label(awkward(), tmp_path / "x.parquet", nu=0.1)
    record = json.loads(report.to_json())
    assert record["ledger"]["seen"] == 120
    assert record["likert"]["n"] > 0
    text = report.text()
    for part in (ASSUMPTION, "contradict", "no_preference 2", "gap ", "0.02", "0.20", "judge_fold"):
        assert part in text
    explicit = label(awkward(), tmp_path / "y.parquet", source="explicit")[1].text()
    assert ASSUMPTION not in explicit


def test_pairs_without_behaviour_are_counted(tmp_path: Path) -> None:
    features = pytest.importorskip("ifllm_hf.behavior.features.table")
    name = next(c for c in features.FEATURE_COLUMNS if c.endswith("_a"))
    turns = small().with_columns(
        pl.Series(name, [float("nan")] * 5 + [1.0] * 115), pl.lit(0.0).alias(name[:-1] + "b")
    )
    turns = turns.with_columns(
        pl.when(pl.col("query_id") < 1005).then(float("nan")).otherwise(0.0).alias(name[:-1] + "b")
    )
    _, report = label(turns, tmp_path / "x.parquet")
    assert report.without_behavior == 5
    assert "5 pairs have no behaviour" in report.text()
    assert label(small(), tmp_path / "y.parquet")[1].without_behavior is None
