"""The figures that `ifllm benchmark --out` hands in."""

from __future__ import annotations

import json
from pathlib import Path

from ifllm_hf.benchmark.protocol.suite import Results
from ifllm_hf.plot.benchmark_report import CHANNEL_MODELS, draw_report

REPORT = Path(__file__).parents[2] / "docs" / "benchmark" / "report.json"


def test_the_committed_report_has_a_forest_for_each_set_and_its_channels(tmp_path: Path) -> None:
    told = json.loads(REPORT.read_text())
    records = [r for r in told if r.get("subset")]
    assert set(CHANNEL_MODELS) <= {r["model"] for r in records}
    few = ("length rule", "behaviour LR", *CHANNEL_MODELS[:3])  # all of them take seconds
    curves = [r for r in told if r.get("curve")][:4]
    made = draw_report(Results([r for r in records if r["model"] in few]), curves, tmp_path)
    assert [path.name for path in made.values()] == [
        "forest-1.png",
        "forest-2.png",
        "forest-3.png",
        "curves.png",
        "importance.png",
    ]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in made.values())
    first = list(made)[0]
    assert first.startswith("Accuracy by model: the paper's pairs") and "(n = 675)" in first


def test_a_report_without_channel_models_has_no_figure_of_them(tmp_path: Path) -> None:
    records = [
        r
        for r in json.loads(REPORT.read_text())
        if r.get("subset") and not r["model"].endswith("alone")
    ]
    few = [r for r in records if r["set"] == "all labelled pairs" and r["protocol"] == "worker"]
    made = draw_report(Results(few[:2]), (), tmp_path)
    assert [path.name for path in made.values()] == ["forest-1.png"]
