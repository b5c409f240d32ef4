"""The figure of a grid: the rise of the true score against the strength of behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.alignment.known_truth.cells import ALL, ALL_GAZE_MOUSE, EXPLICIT, ORACLE, REWARD, TEXT
from ifllm_hf.alignment.known_truth.release_place import release_place
from ifllm_hf.alignment.known_truth.rises import Rises, Setting
from ifllm_hf.plot.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    blank_figure,
    draw_intervals,
    draw_reference,
)

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes, Figure

_LINES = {
    REWARD: ("behaviour and length", ORANGE),
    ALL: ("clicks, behaviour and length elsewhere", BLUE),
    ALL_GAZE_MOUSE: ("clicks, behaviour alone elsewhere", PURPLE),
}
_LEVELS = {
    EXPLICIT: ("clicks alone", "#444444"),
    TEXT: ("text alone", GREEN),
    ORACLE: ("the truly better answer", GREY),
}
_EDGES = (0.55, 1.0)


def rise_figure(rises: Rises) -> Figure:
    """Draw a panel for each share of clicks; a grey band is where the public release stands.

    That is by labels of behaviour alone: lengths tell something else on the release than here.
    """
    plain = [s for s in rises.by_setting if s[3:] == ("cdpo", None)]
    shares = sorted({s[1] for s in plain if s[1] is not None}) or [1.0]
    canvas, axes = blank_figure(5.0 * len(shares), 4.8, columns=len(shares))
    place = release_place(rises, ALL_GAZE_MOUSE)
    for axis, share in zip(axes, shares, strict=True):
        if place is not None:  # inf is drawn as the edge
            ends = np.clip([place.low, place.high], *_EDGES)
            axis.axvspan(*ends, color="#eeeeee", zorder=0, label="public release")
        for source, (name, colour) in _LEVELS.items():
            for setting in plain:
                if setting[0] == source and setting[1] in (share, None):
                    _level(axis, rises, setting, name, colour)
        for source, (name, colour) in _LINES.items():
            points = [s for s in plain if s[0] == source and s[1] == share]
            _line(axis, rises, sorted(points, key=lambda s: s[2] or 0), name, colour)
        draw_reference(axis, 0, upright=True)
        axis.set_xlabel("strength of behaviour")
        axis.set_title(f"a click on {share:.0%} of the turns", fontsize=10)
        axis.set_xlim(*_EDGES)
    axes[0].set_ylabel("rise of the true score,\n95 % over seeds and readers")
    shown: dict[str, Any] = {}  # no panel has every line
    for axis in axes:
        handles, names = axis.get_legend_handles_labels()
        shown |= dict(zip(names, handles, strict=True))
    canvas.legend(
        list(shown.values()), list(shown), fontsize=8, loc="outside lower center", ncols=2
    )
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)
    return canvas


def _level(axis: Axes, rises: Rises, setting: Setting, name: str, colour: str) -> None:
    found = rises.rise(setting)
    axis.axhline(found.estimate, color=colour, lw=1.5, ls="--", label=name)
    axis.axhspan(found.low, found.high, color=colour, alpha=0.12, lw=0)


def _line(axis: Axes, rises: Rises, settings: list[Setting], name: str, colour: str) -> None:
    if not settings:
        return
    found = [rises.rise(setting) for setting in settings]
    strengths = [setting[2] for setting in settings]
    draw_intervals(
        axis,
        strengths,
        *([getattr(one, end) for one in found] for end in ("estimate", "low", "high")),
        color=colour, label=name, upright=True, marker="o-",
    )  # fmt: skip
