from __future__ import annotations

import json
from pathlib import Path

import pytest

from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.benchmark.report.report import markdown_table, terminal_table, to_json, write_report
from ifllm_hf.benchmark.studies.curves import worker_curve
from ifllm_hf.errors import OutputError
from ifllm_hf.plot.benchmark_report import draw_report
from tests.helpers.dwell_turns import DwellModel


def test_json_has_null_for_what_is_undefined(results) -> None:
    back = json.loads(to_json(results.records))
    assert len(back) == len(results.records)
    future = [r for r in back if r["protocol"] == "future" and r["model"] == "dwell"]
    assert future[0]["repeat_sd"] is None
    needed = {"model", "protocol", "n", "workers", "conversations", "accuracy", "low", "high"}
    needed |= {"auc", "auc_low", "auc_high", "brier", "ece", "ece_perfect"}
    assert all(needed <= set(r) for r in back)


def test_tables_line_up(results) -> None:
    worker = [r for r in results.records if r["protocol"] == "worker" and r["subset"] == "all"]
    text = terminal_table(worker)
    title, header, *rows = text.splitlines()
    assert title.startswith(
        f"preference: {HEADLINE}, protocol worker (n = 108, 12 workers, 36 conv"
    )
    assert len(rows) == 5
    starts = header.index("AUC")
    assert all(row[starts - 1] == " " and row[starts] in ".1" for row in rows)
    assert markdown_table(worker).count("\n") == 6


def test_report_is_written_with_figures(results, turns, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = worker_curve(DwellModel(), labelled(turns), repeats=1, draws=20, progress=False)
    page = write_report(
        results, tmp_path / "out", command="ifllm benchmark", curves=curves, draw=draw_report
    )
    text = page.read_text(encoding="utf-8")
    assert "`ifllm benchmark`" in text
    assert "| length rule |" in text
    assert "training workers" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "out" / line.split("(")[-1].rstrip(")")).stat().st_size > 5000
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"report.md", "report.json", "forest-1.png", "reliability-1.png", "curves.png"}
    assert json.loads((tmp_path / "out" / "report.json").read_text())
    with pytest.raises(OutputError, match="exists"):
        write_report(results, tmp_path / "out", command="ifllm benchmark")
    write_report(results, tmp_path / "out", command="ifllm benchmark", overwrite=True)
