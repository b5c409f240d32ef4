"""The figure of waves: the rise of the true score after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifllm_hf.alignment.known_truth.rises import Rises
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
    from ifllm_hf.plot.canvas import Figure

_COLOURS = ("#444444", PURPLE, BLUE, ORANGE, GREEN, GREY)
_APART = 0.06


def wave_figure(rises: Rises) -> Figure:
    """Draw a line for each arm; a cross is where seeds of it stopped."""
    canvas, (axis,) = blank_figure(6.4, 4.6)
    arms = list(dict.fromkeys(setting[0] for setting in rises.by_setting))
    for k, arm in enumerate(arms):
        colour = _COLOURS[k % len(_COLOURS)]
        waves = sorted(setting[1] for setting in rises.by_setting if setting[0] == arm)
        found = [rises.rise((arm, wave)) for wave in waves]
        at = [wave + _APART * (k - (len(arms) - 1) / 2) for wave in waves]
        estimates = [one.estimate for one in found]
        draw_intervals(
            axis,
            [0, *at],
            [0, *estimates],
            [0, *(one.low for one in found)],
            [0, *(one.high for one in found)],
            color=colour, label=arm, upright=True, marker="o-", size=4,
        )  # fmt: skip
        for x, wave, height in zip(at, waves, estimates, strict=True):
            if any(one["stopped"] for one in rises.by_setting[arm, wave].values()):
                axis.plot([x], [height], "x", color=colour, ms=12, mew=2)
    draw_reference(axis, 0, upright=True)
    axis.set_xlabel("wave; 0: the base model")
    axis.set_ylabel("rise of the true score,\n95 % over seeds and readers")
    axis.set_xticks(range(1 + max(setting[1] for setting in rises.by_setting)))
    canvas.legend(fontsize=8, loc="outside lower center", ncols=2)
    return canvas
