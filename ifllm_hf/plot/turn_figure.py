"""`plot_turn`: both answers with the heat of gaze and mouse, and the time line below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.plot.canvas import CHANNEL_COLOURS, GREY, given_axes, shown_figure
from ifllm_hf.plot.drawn_turn import READING, DrawnTurn, drawn_turn
from ifllm_hf.plot.headings import frame_answer, title_answer, title_height, write_title
from ifllm_hf.plot.lanes import draw_lane, say_nothing
from ifllm_hf.plot.text_heat import (
    FONT_PT,
    GAZE_SPREAD,
    MOUSE_SPREAD,
    SetText,
    columns_in,
    draw_text,
    heat_colours,
    height_pt,
    lines_in,
    set_text,
    smoothed,
)

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes, Figure

MOST_LINES = 30
"""Lines of each answer that a new figure shows."""

# Inches of the whole figure and its parts.
_WIDTH, _SIDE, _BETWEEN = 10.0, 0.2, 0.24
_LANE, _LANE_GAP, _LANE_LEFT = 0.78, 0.12, 0.85
_ANSWER_HEAD, _BELOW_TEXT, _AXIS, _LEGEND = 0.42, 0.62, 0.42, 0.38


def plot_turn(
    row: Mapping[str, Any],
    *,
    axes: Sequence[Any] | None = None,
    most_lines: int = MOST_LINES,
    gaze_spread: tuple[float, float] = GAZE_SPREAD,
) -> Any:
    """Draw one turn: heat on its answers, and where gaze and mouse were over time.

    The longer gaze rested near a character while the reader was reading, the stronger the orange
    behind it; the longer the mouse, the thicker the blue line below. Both scales are those of both
    answers together. The time line has all phases; positions on the answers alone.

    Args:
        row: A row of the config `pairwise` or `pointwise`, of the release, of collected sessions or
            made up: `load_dataset("ifllm", split="train")[5]`.
        axes: Axes to draw into: one for each answer, then one for each answer's time line. A new
            figure of pyplot, 10 inches wide, by default.
        most_lines: Lines of each answer that a new figure shows; what is cut is counted.
        gaze_spread: Standard deviation of the smoothing of gaze in lines and in characters; (0, 0)
            draws it as recorded, more exactly than a webcam knows.

    Returns:
        `[2 * answers]` matplotlib Axes: the answers, then their time lines.

    Raises:
        DataError: `row` is no turn with ticks.
        ConfigError: matplotlib is not installed, or there are too few axes.

    Examples:
        >>> from datasets import load_dataset
        >>> from ifllm_hf.plot import plot_turn
        >>> turns = load_dataset("ifllm", split="train")  # doctest: +SKIP
        >>> plot_turn(turns[5])[0].figure.savefig("turn.png")  # doctest: +SKIP
    """
    turn = drawn_turn(row)
    if axes is None:
        return draw_turn(turn, shown_figure, most_lines=most_lines, gaze_spread=gaze_spread)
    count = len(turn.answers)
    places = given_axes(axes, 2 * count, "one for each answer, then one for each time line")
    sizes = [_size_pt(one) for one in places[:count]]
    texts = [
        set_text(answer.text, columns_in(wide))
        for answer, (wide, _) in zip(turn.answers, sizes, strict=True)
    ]
    _draw(turn, texts, [lines_in(high) for _, high in sizes], places, gaze_spread)
    return np.array(places, dtype=object)


def draw_turn(
    turn: DrawnTurn,
    new_figure: Callable[[float, float], Figure],
    *,
    most_lines: int = MOST_LINES,
    gaze_spread: tuple[float, float] = GAZE_SPREAD,
) -> Any:
    """Draw a turn into a figure of its own, as `plot_turn` does.

    Args:
        turn: The turn.
        new_figure: `canvas.bare_figure` or `canvas.shown_figure`.
        most_lines: See `plot_turn`.
        gaze_spread: See `plot_turn`.
    """
    count = len(turn.answers)
    width = (_WIDTH - 2 * _SIDE - (count - 1) * _BETWEEN) / count
    # One answer has the width of two: its letters are larger.
    columns = columns_in(72 * width, FONT_PT if count == 2 else 1.15 * FONT_PT)
    texts = [set_text(answer.text, columns) for answer in turn.answers]
    lines = min(max(len(text.rows) for text in texts), max(1, most_lines))
    high = height_pt(lines, 72 * width, columns) / 72
    head = title_height(turn) + _ANSWER_HEAD
    lanes = head + high + _BELOW_TEXT
    height = lanes + count * (_LANE + _LANE_GAP) - _LANE_GAP + _AXIS + _LEGEND
    figure = new_figure(_WIDTH, height)

    def place(left: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes(
            (left / _WIDTH, 1 - (top + high) / height, wide / _WIDTH, high / height)
        )

    beside = [place(_SIDE + i * (width + _BETWEEN), head, width, high) for i in range(count)]
    below = [
        place(_LANE_LEFT, lanes + i * (_LANE + _LANE_GAP), _WIDTH - _LANE_LEFT - _SIDE, _LANE)
        for i in range(count)
    ]
    write_title(figure, turn)
    strongest = _draw(turn, texts, [lines] * count, [*beside, *below], gaze_spread)
    _legend(figure, turn, strongest, 0.06 / height)
    for lane in below:
        lane.yaxis.set_label_coords(-0.052, 0.5)
    for lane in below[:-1]:  # the lanes share the time below the last one
        lane.set_xlabel("")
        lane.tick_params(labelbottom=False)
    return np.array([*beside, *below], dtype=object)


def _draw(
    turn: DrawnTurn,
    texts: Sequence[SetText],
    lines: Sequence[int],
    places: Sequence[Axes],
    gaze_spread: tuple[float, float],
) -> float:
    """Draw answers and lanes; return how many ms a character the strongest orange stands for."""
    heats = {
        name: [
            smoothed(text, turn.dwell_ms(name, answer), spread)
            for answer, text in zip(turn.answers, texts, strict=True)
        ]
        for name, spread in (("gaze", gaze_spread), ("mouse", MOUSE_SPREAD))
    }
    count = len(turn.answers)
    shown = [lines[i] - (len(text.rows) > lines[i]) for i, text in enumerate(texts)]
    most = {
        name: max(float(heats[name][i][: shown[i]].max(initial=0)) for i in range(count))
        for name in heats
    }
    for i, (answer, text) in enumerate(zip(turn.answers, texts, strict=True)):
        axes, lane = places[i], places[count + i]
        heat = heats["gaze"][i], heats["mouse"][i]
        draw_text(axes, text, lines[i], *heat, (most["gaze"], most["mouse"]), shown=shown[i])
        title_answer(axes, answer)
        frame_answer(axes, answer)
        if not answer.text:
            say_nothing(axes, "an empty answer")
        said = " · ".join(turn.seconds_said(name, answer) for name in heats)
        axes.set_xlabel(said, loc="left", fontsize=9, labelpad=4)
        hidden = text.hidden_after(shown[i])
        if hidden:
            said = f"… {hidden:,} more characters"
            axes.text(0, shown[i] + 0.5, said, va="center", fontsize=9, style="italic")
        if answer.model:
            axes.annotate(
                answer.model.rpartition("/")[2], (1, 0), (0, -4), xycoords="axes fraction",
                textcoords="offset points", ha="right", va="top", fontsize=9, alpha=0.75,
                parse_math=False,
            )  # fmt: skip
        draw_lane(lane, turn, answer, phase_names=i == 0)
        side = f"{answer.name.split()[0].lower()}\n" if count == 2 else ""
        lane.set_ylabel(f"{side}character", fontsize=9)
        lane.set_xlabel("time since the first tick (s)", fontsize=9)
    return most["gaze"]


def _size_pt(axes: Axes) -> tuple[float, float]:
    box, figure = axes.get_window_extent(), axes.get_figure(root=True)
    dpi = 72.0 if figure is None else figure.dpi
    return 72 * box.width / dpi, 72 * box.height / dpi


def _legend(figure: Figure, turn: DrawnTurn, strongest: float, bottom: float) -> None:
    """Say what is drawn, of what there is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    there = {name: bool((turn.on[name] >= 0).any()) for name in turn.on}
    gaze, mouse = CHANNEL_COLOURS["gaze"], CHANNEL_COLOURS["mouse"]
    entries: list[tuple[bool, Any, str]] = [
        (
            strongest > 0,
            Patch(facecolor=heat_colours()(1.0), edgecolor="none"),
            f"gaze while reading, up to {strongest:.0f} ms a character",
        ),
        (there["gaze"], Line2D([], [], color=gaze, marker="o", ls="", ms=3), "gaze at a moment"),
        (there["mouse"], Line2D([], [], color=mouse, lw=2.4), "mouse"),
        (
            bool((turn.phase != READING).any()),
            Patch(facecolor=GREY, alpha=0.25, edgecolor="none"),
            "not reading: not in the heat",
        ),
    ]
    shown = [(handle, label) for is_there, handle, label in entries if is_there]
    figure.legend(
        *zip(*shown, strict=True) if shown else ([], []),
        loc="lower left", ncols=4, fontsize=8.5, frameon=False, bbox_to_anchor=(0.012, bottom),
        borderaxespad=0, handlelength=1.5, columnspacing=1.8,
    )  # fmt: skip
