"""`ifllm features --set paper`, and what reading every row changes."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.behavior.paper.features import METRIC_COLUMNS, PAPER_COLUMNS
from ifllm_hf.cli import main


def test_the_file_holds_the_papers_columns_and_the_repairs_are_told(
    synthetic_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "paper.parquet"
    command = ["features", str(out), "--set", "paper", "--from", str(synthetic_release)]
    assert main([*command, "--repairs"]) == 0
    table = pl.read_parquet(out)
    assert set(PAPER_COLUMNS) | set(METRIC_COLUMNS) <= set(table.columns)
    said = capsys.readouterr().out
    counts = re.findall(r"(features|metrics): ([\d,]+) of ([\d,]+) cells", said)
    assert [name for name, *_ in counts] == ["features", "metrics"]
    for _, changed, cells in counts:  # the made-up release has rows that the paper's reader loses
        assert 0 < int(changed.replace(",", "")) < int(cells.replace(",", ""))


def test_repairs_belong_to_the_papers_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["features", str(tmp_path / "x.parquet"), "--repairs"]) == 1
    assert "add --set paper" in capsys.readouterr().err
