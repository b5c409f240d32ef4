"""`plot_reading` marks the regressions that the features count, and the dwell of every part."""

from __future__ import annotations

import numpy as np
import pytest

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import ConfigError
from ifllm_hf.plot import plot_reading
from ifllm_hf.plot.canvas import bare_figure
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.reading_figure import draw_reading
from tests.helpers.reading_turns import random_turns, turn


def test_marks_are_the_regressions_of_the_features() -> None:
    rows = random_turns(5, n=5)
    told = behavior_features(rows)
    marked = 0
    for row, features in zip(rows.iter_rows(named=True), told.iter_rows(named=True), strict=True):
        drawn = drawn_turn(row)
        panels = draw_reading(drawn, bare_figure)
        assert panels.shape == (len(drawn.answers), 2)
        for answer, (lane, beside) in zip(drawn.answers, panels, strict=True):
            for channel in ("gaze", "mouse"):
                (line,) = (
                    one for one in lane.lines if str(one.get_label()).startswith(f"{channel}: regr")
                )
                count = features[f"{channel}_regressions_{answer.side}"]
                assert len(line.get_xdata()) == np.nan_to_num(count)
                marked += len(line.get_xdata())
            # The dwell of all parts is the dwell of the answer.
            gaze, mouse = beside.patches
            for patch, channel in ((gaze, "gaze"), (mouse, "mouse")):
                values, edges, _ = patch.get_data()
                total = drawn.dwell_ms(channel, answer).sum()
                assert float((values * np.diff(edges)).sum()) == pytest.approx(total)
    assert marked > 10


def test_titles_say_what_the_features_say() -> None:
    row = turn(
        [0, 100, 200, 300], ["a5", "a80", "a20", "-"], preference="a", a="x" * 100, b="y" * 9
    )
    panels = draw_reading(drawn_turn(row), bare_figure)
    title = panels[0, 0].get_title("left")
    assert title.startswith("Left answer (a), preferred: gaze not recorded while reading; ")
    assert title.endswith("mouse 0.3 s, 1 regression, 33% read again")
    assert panels[1, 0].get_title("left").endswith("mouse never here")
    assert panels[-1, 0].get_xlabel() == "time since the first tick (s)"
    assert panels[-1, 1].get_xlabel() == "dwell (ms a character)"


def test_axes_of_ones_own_are_used() -> None:
    row = turn([0, 100], ["a5", "a9"], b=None)
    own = bare_figure(8, 3).subplots(1, 2)
    assert plot_reading(row, axes=own).tolist() == [own.tolist()]
    with pytest.raises(ConfigError, match="expected 2"):
        plot_reading(row, axes=own[0])
