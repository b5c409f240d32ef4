"""The figure of waves: the rise of the true score after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifllm_hf.alignment.known_truth.rises import Rises

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#444444", "#7b3fa0", "#1f6fb2", "#c27b22", "#7a9a3a", "#aaaaaa")
_APART = 0.06


def wave_figure(rises: Rises) -> Figure:
    """Draw a line for each arm; a cross is where seeds of it stopped."""
    from ifllm_hf.benchmark.report.figures import blank_figure

    canvas, (axis,) = blank_figure(6.4, 4.6)
    arms = list(dict.fromkeys(setting[0] for setting in rises.by_setting))
    for k, arm in enumerate(arms):
        colour = _COLOURS[k % len(_COLOURS)]
        waves = sorted(setting[1] for setting in rises.by_setting if setting[0] == arm)
        found = [rises.rise((arm, wave)) for wave in waves]
        at = [wave + _APART * (k - (len(arms) - 1) / 2) for wave in waves]
        for x, one in zip(at, found, strict=True):
            axis.plot([x, x], [one.low, one.high], color=colour, lw=2)
        estimates = [one.estimate for one in found]
        axis.plot([0, *at], [0, *estimates], "o-", color=colour, ms=4, label=arm)
        for x, wave, height in zip(at, waves, estimates, strict=True):
            if any(one["stopped"] for one in rises.by_setting[arm, wave].values()):
                axis.plot([x], [height], "x", color=colour, ms=12, mew=2)
    axis.axhline(0, color="black", lw=0.8, ls=":")
    axis.set_xlabel("wave; 0: the base model")
    axis.set_ylabel("rise of the true score,\n95 % over seeds and readers")
    axis.set_xticks(range(1 + max(setting[1] for setting in rises.by_setting)))
    canvas.legend(fontsize=8, loc="outside lower center", ncols=2)
    return canvas
