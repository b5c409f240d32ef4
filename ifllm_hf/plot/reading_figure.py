"""`plot_reading`: how one turn was read, over time and over the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.behavior.declaration import CHANNELS, FloatArray
from ifllm_hf.behavior.features.scanpath import regressive_ticks, scanpath
from ifllm_hf.plot.canvas import CHANNEL_COLOURS, given_axes, shown_figure
from ifllm_hf.plot.drawn_turn import DrawnAnswer, DrawnTurn, drawn_turn
from ifllm_hf.plot.headings import title_height, write_title
from ifllm_hf.plot.lanes import draw_lane

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes, Figure

_BINS = 30
_WIDTH = 10.0


def plot_reading(row: Mapping[str, Any], *, axes: Any = None) -> Any:
    """Draw how one turn was read: the way through each answer, and how long each part of it held.

    On the left the character under gaze and mouse over time, with every regression while reading
    (a step back by more than 10 characters within one visit) marked where it landed. On the right
    how long each thirtieth of the answer was looked at and pointed at while reading.

    Args:
        row: A row of the config `pairwise` or `pointwise`, of the release, of collected sessions or
            made up: `load_dataset("ifllm", split="train")[5]`.
        axes: `[answers, 2]` axes to draw into; a new figure of pyplot by default.

    Returns:
        `[answers, 2]` matplotlib Axes.

    Raises:
        DataError: `row` is no turn with ticks.
        ConfigError: matplotlib is not installed, or there are too few axes.
    """
    turn = drawn_turn(row)
    if axes is None:
        return draw_reading(turn, shown_figure)
    count = len(turn.answers)
    places = given_axes(axes, 2 * count, "a lane and its dwell for each answer")
    return _draw(turn, np.array(places, dtype=object).reshape(count, 2))


def draw_reading(turn: DrawnTurn, new_figure: Callable[[float, float], Figure]) -> Any:
    """Draw a turn into a figure of its own, as `plot_reading` does.

    Args:
        turn: The turn.
        new_figure: `canvas.bare_figure` or `canvas.shown_figure`.
    """
    count = len(turn.answers)
    head = title_height(turn) + 0.42
    height = head + 2.35 * count + 0.8
    figure = new_figure(_WIDTH, height)
    write_title(figure, turn)
    places = figure.subplots(count, 2, squeeze=False, sharex="col", width_ratios=(4.2, 1))
    figure.subplots_adjust(
        left=0.085, right=0.985, top=1 - head / height, bottom=0.78 / height, hspace=0.3,
        wspace=0.06,
    )  # fmt: skip
    drawn = _draw(turn, places)
    handles, labels = places[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower left", ncols=4, fontsize=8.5, frameon=False,
        bbox_to_anchor=(0.012, 0.08 / height), borderaxespad=0,
    )  # fmt: skip
    return drawn


def _draw(turn: DrawnTurn, places: Any) -> Any:
    for i, answer in enumerate(turn.answers):
        lane, beside = places[i]
        draw_lane(lane, turn, answer, phase_names=i == 0, size=1.25)
        _mark_regressions(lane, turn, answer)
        lane.set_ylabel("character of the answer", fontsize=9)
        lane.set_title(
            f"{answer.name}{', preferred' if answer.liked else ''}: {_in_words(turn, answer)}",
            loc="left", fontsize=9.5, pad=18 if i == 0 else 6,
        )  # fmt: skip
        _draw_dwell(beside, turn, answer)
    most = max(axes.dataLim.x1 for axes in places[:, 1])
    for axes in places[:, 1]:
        axes.set_xlim(0, 1.05 * most if most > 0 else 1)
    places[-1, 0].set_xlabel("time since the first tick (s)", fontsize=9)
    places[-1, 1].set_xlabel("dwell (ms a character)", fontsize=9)
    return places


def _mark_regressions(axes: Axes, turn: DrawnTurn, answer: DrawnAnswer) -> None:
    """Mark where each regression of a channel landed."""
    for name in CHANNELS:
        ticks = turn.channel(name)
        back = regressive_ticks(ticks)
        back = back[ticks.slot[back] == answer.slot]
        axes.plot(
            turn.reading_s[ticks.row[back]], ticks.char[back], marker=6, ls="", ms=5.5,
            mfc="none", mec=CHANNEL_COLOURS[name], mew=0.9, zorder=4,
            label=f"{name}: regression, where it landed",
        )  # fmt: skip


def _draw_dwell(axes: Axes, turn: DrawnTurn, answer: DrawnAnswer) -> None:
    """Draw how long each part of an answer held gaze and mouse while reading."""
    length = max(1, len(answer.text))
    edges = np.linspace(0, length, min(_BINS, length) + 1)
    for name in CHANNELS:
        mean = _by_part(turn.dwell_ms(name, answer), edges)
        axes.stairs(
            mean, edges, orientation="horizontal", fill=name == "gaze", lw=1.4,
            color=CHANNEL_COLOURS[name], alpha=0.55 if name == "gaze" else 1.0,
        )  # fmt: skip
    axes.set_ylim(length * 1.03, -length * 0.03)
    axes.set_yticks([])
    axes.tick_params(labelsize=8.5)


def _by_part(dwell_ms: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the mean per character of each part of a text."""
    total, _ = np.histogram(np.arange(len(dwell_ms)) + 0.5, bins=edges, weights=dwell_ms)
    mean: FloatArray = total / np.diff(edges)
    return mean


def _in_words(turn: DrawnTurn, answer: DrawnAnswer) -> str:
    """Return what the features say of an answer: dwell, regressions, what was read again."""
    said = []
    for name in CHANNELS:
        words = turn.seconds_said(name, answer)
        ticks = turn.channel(name)
        if ticks.by_slot()[0, answer.slot]:
            values = scanpath(ticks)
            count, again = (
                float(values[key][0, answer.slot]) for key in ("regressions", "reread_share")
            )
            words += f", {count:.0f} regression{'s' * (count != 1)}"
            words += f", {again:.0%} read again" if np.isfinite(again) else ""
        said.append(words)
    return "; ".join(said)
