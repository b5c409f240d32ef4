"""`plot_report` draws the committed report: every model, its interval, n and readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifllm_hf.benchmark.protocol.suite import PAPER
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.plot import plot_report
from ifllm_hf.plot.canvas import bare_figure
from ifllm_hf.plot.score_forest import METRICS, draw_panels, panels_of

RECORDS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "benchmark" / "report.json").read_text()
)


@pytest.mark.parametrize("metric", METRICS)
def test_every_model_stands_in_its_row(metric: str) -> None:
    panels = panels_of(RECORDS, metric)
    assert list(panels) == ["all", "similar length"]
    drawn = draw_panels(panels, metric, bare_figure)
    names = [text.get_text() for text in drawn[0].get_yticklabels()]
    for axes, (subset, rows) in zip(drawn, panels.items(), strict=True):
        assert names[-1] == rows[0]["model"]  # the first of the records on top
        values = {
            names[round(y)]: x
            for line in axes.lines
            if line.get_marker() not in (None, "None")
            for x, y in line.get_xydata()
        }
        assert values == {r["model"]: pytest.approx(r[metric]) for r in rows}
        low, high, _, _ = METRICS[metric]
        lines = sorted(
            tuple(np.round(segment[:, 0], 6))
            for c in axes.collections
            for segment in c.get_segments()
        )
        assert lines == sorted((round(r[low], 6), round(r[high], 6)) for r in rows)
        first = rows[0]
        assert f"n = {first['n']} of {first['workers']} readers" in axes.get_title("left")
        assert "95 % over readers" in axes.get_xlabel()
        assert subset in ("all", "similar length")


def test_kinds_are_told_apart_by_shape_and_named() -> None:
    axes = draw_panels(panels_of(RECORDS, "accuracy"), "accuracy", bare_figure)
    (legend,) = axes[0].figure.legends
    said = {text.get_text() for text in legend.get_texts()}
    assert said == {"length rule", "model", "reference, knows no behaviour", "saw the click"}
    shapes = {line.get_marker() for line in axes[0].lines} - {"None"}
    assert shapes == {"o", "D", "s"}


def test_axes_of_ones_own_and_what_is_not_there() -> None:
    own = bare_figure(6, 9).subplots()
    (axes,) = plot_report(RECORDS, set_name=PAPER, subsets=["all"], axes=own)
    assert axes is own and "n = 675 of 46 readers" in own.get_title("left")
    with pytest.raises(DataError, match="no record of 'nobody'.*all labelled pairs, protocol rows"):
        plot_report(RECORDS, set_name="nobody")
    with pytest.raises(DataError, match="none with that metric"):
        plot_report([{"model": "x", "accuracy": 0.5}])
    with pytest.raises(ConfigError, match="metric is 'f1'"):
        plot_report(RECORDS, metric="f1")
