"""`plot_turn` shows the answers, what was recorded and what was not."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
import pytest

from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.plot import plot_turn
from ifllm_hf.plot.canvas import bare_figure
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.text_heat import GAZE_SPREAD, set_text, smoothed
from ifllm_hf.plot.turn_figure import draw_turn
from tests.helpers.reading_turns import turn

matplotlib.use("agg")

ROW = turn(
    [0, 100, 200, 300, 400],
    ["a5", "a9", "b7", "b8", "-"],
    ["a50", "a60", "-", "b30", "b40"],
    phase=["reading"] * 4 + ["rating"],
    a="left words " * 20,
    b="right words\n" * 90,
    prompt="What costs $5 or $6?",
    preference="b",
    likert_a=2,
    likert_b=4,
    model_a="who/some-model",
    domain="Money",
)


def test_both_answers_with_their_heat_and_lanes() -> None:
    axes = plot_turn(ROW)
    left, right, above, below = axes
    assert left.get_title("left") == "Left answer (a)" and left.get_title("center") == ""
    assert right.get_title("center") == "✓ preferred"
    assert left.get_title("right") == "●●○○○ 2 of 5"
    assert left.get_xlabel() == "gaze 0.2 s · mouse 0.2 s"
    assert [text.get_text() for text in left.texts] == ["some-model"]
    assert right.texts[0].get_text() == "… 732 more characters"
    said = [text.get_text() for text in left.figure.texts]
    assert said[0] == ROW["prompt"] and "Money" in said[1] and "right preferred" in said[1]
    # Heat is the smoothed dwell, on one scale for both.
    drawn = drawn_turn(ROW)
    columns = left.images[0].get_array().shape[1]
    heats = [
        smoothed(set_text(a.text, columns), drawn.dwell_ms("gaze", a), GAZE_SPREAD)
        for a in drawn.answers
    ]
    for one, heat in zip((left, right), heats, strict=True):
        image = one.images[0]
        assert np.asarray(image.get_array()) == pytest.approx(heat[: image.get_array().shape[0]])
        assert image.norm.vmax == pytest.approx(max(h.max() for h in heats))
    # Lanes: every sampled moment, rating included; time and characters on the axes.
    lanes = {line.get_label(): line for line in above.lines}
    gaze, mouse = lanes["gaze"], lanes["mouse"]
    assert gaze.get_xydata().tolist() == [[0.0, 50.0], [pytest.approx(0.1), 60.0]]
    assert np.isnan(mouse.get_ydata()).tolist() == [False, False, True, True, True]
    assert below.get_xlabel() == "time since the first tick (s)"
    assert above.get_ylabel() == "left\ncharacter" and above.yaxis_inverted()
    assert [t.get_text() for t in above.get_yticklabels()] == ["0", f"{len(ROW['response_a'])}"]
    assert len(above.patches) == 1  # the rating is shaded
    close(axes)


def test_an_answer_alone_and_what_was_not_recorded() -> None:
    row = turn([0, 100], ["a5", "a9"], b=None, preference=None)
    axes = draw_turn(drawn_turn(row), bare_figure)
    answer, lane = axes
    assert answer.get_title("left") == "Answer" and not answer.images
    assert answer.get_xlabel() == "gaze not recorded while reading · mouse 0.1 s"
    (legend,) = answer.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mouse"]
    nothing = draw_turn(drawn_turn(turn()), bare_figure)
    assert nothing[0].get_xlabel() == "gaze not recorded · mouse not recorded"
    assert "nothing was recorded" in nothing[2].texts[-1].get_text()
    assert lane.get_ylabel() == "character"


def test_axes_of_ones_own_are_used_and_no_pyplot() -> None:
    figure = bare_figure(12, 8)
    own = figure.subplots(2, 2)
    assert plot_turn(ROW, axes=own).tolist() == own.ravel().tolist()
    assert own[0, 0].images and own[1, 1].lines
    with pytest.raises(ConfigError, match="axes holds 3 Axes; expected 4"):
        plot_turn(ROW, axes=own.ravel()[:3])
    with pytest.raises(DataError, match="turns"):
        plot_turn({"response_a": "x"}, axes=own)


def test_the_style_of_the_user_is_kept() -> None:
    with matplotlib.rc_context({"text.color": "white", "figure.facecolor": "black"}):
        left = draw_turn(drawn_turn(ROW), bare_figure)[0]
    assert left.collections[1].get_facecolor()[0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert left.figure.get_facecolor() == (0.0, 0.0, 0.0, 1.0)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="extra `plot`"):
        plot_turn(ROW)


def close(axes: object) -> None:
    from matplotlib import pyplot

    pyplot.close(np.ravel(axes)[0].figure)
