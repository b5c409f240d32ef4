"""Marks with intervals, files that do not depend on the user's style, and no matplotlib at all."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from ifllm_hf.cli import main
from ifllm_hf.plot.canvas import BLUE, blank_figure, draw_intervals, file_style, save_png
from ifllm_hf.plot.judge_report import judge_figure
from ifllm_hf.plot.tick_intervals import interval_figure


@pytest.mark.parametrize("upright", [False, True])
def test_what_is_not_known_is_left_out(upright: bool) -> None:
    _, (axes,) = blank_figure(3, 3)
    draw_intervals(
        axes, [0, 1, 2], [0.5, None, 0.7], [0.4, None, None], [0.6, None, None],
        color=BLUE, label="x", upright=upright,
    )  # fmt: skip
    (marks,) = axes.lines
    values = marks.get_ydata() if upright else marks.get_xdata()
    assert np.isnan(values).tolist() == [False, True, False] and marks.get_label() == "x"
    first, *others = axes.collections[0].get_segments()
    at = 1 if upright else 0
    assert first[:, at].tolist() == [0.4, 0.6] and first[:, 1 - at].tolist() == [0, 0]
    assert not any(len(segment) and np.isfinite(segment).all() for segment in others)


def test_a_file_looks_the_same_in_every_style() -> None:
    def drawn() -> bytes:
        with file_style():
            figure, (axes,) = blank_figure(2, 2)
            axes.plot([0, 1])
            axes.set_title("title")
            out = BytesIO()
            save_png(figure, out, 50, made_up=True)
        return out.getvalue()

    plain = drawn()
    with matplotlib.rc_context({"font.size": 3.0, "axes.facecolor": "black", "text.color": "red"}):
        assert drawn() == plain


def test_a_report_is_refused_before_the_work_where_nothing_can_draw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for more in ([], ["--readers"]):
        given = ["benchmark", *more, "--from", str(tmp_path / "none"), "--out", str(tmp_path / "r")]
        assert main(given) == 1
        assert "extra `plot`" in capsys.readouterr().err


def test_a_judging_report_has_a_mark_for_each_candidate() -> None:
    rate = {"estimate": 0.6, "low": 0.5, "high": 0.7}
    candidate = {
        "n": 9,
        "win_rate": rate,
        "length_controlled_win_rate": None,
        "relative_improvement": None,
        "by_baseline_length": {"short": {"win_rate": rate}},
    }
    report = {
        "candidates": {"one": candidate, "two": candidate, "unasked": {"n": 0}},
        "prompts": {"n": 9, "workers": 3},
        "baseline": "base",
    }
    win, better, thirds = judge_figure(report).axes
    marks = {line.get_label(): len(line.get_xdata()) for line in win.lines[:2]}
    assert marks == {"all": 2, "at equal length": 0}
    assert [text.get_text() for text in win.get_yticklabels()] == ["two", "one"]
    assert better.texts[0].get_text() == "not defined for this judge"
    assert [len(line.get_xdata()) for line in thirds.lines[:3]] == [2, 0, 0]


def test_intervals_between_ticks_are_shares_of_all() -> None:
    above, below = interval_figure([50.0, 9000.0], [3, 1], {50: 50.0}, [60.0, 70.0]).axes
    values, edges, _ = above.patches[0].get_data()
    assert values.sum() == pytest.approx(100) and values[-1] == pytest.approx(25)
    assert edges[0] == pytest.approx(20) and "4 intervals" in above.get_title("left")
    assert "2 conversations" in below.get_title("left")
    assert sum(patch.get_height() for patch in below.patches) == 2
