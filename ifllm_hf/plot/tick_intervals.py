"""How often we know where gaze and mouse are: the time from one tick to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.plot.canvas import GREEN, bare_figure

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Figure

_EDGES_MS = np.geomspace(20, 5000, 73)
_TICKS = {20: "20 ms", 50: "50", 100: "100", 200: "200", 500: "500"}
_TICKS |= {1000: "1 s", 2000: "2 s", 5000: "5 s"}


def interval_figure(
    intervals_ms: Any, counts: Any, percentiles_ms: Mapping[int, float], medians_ms: Any
) -> Figure:
    """Draw the time between ticks, of all ticks and as the median of each conversation.

    Args:
        intervals_ms: `[k]` intervals that occur.
        counts: `[k]` how often each does.
        percentiles_ms: Percentiles to mark, by percent.
        medians_ms: `[conversations]` the median interval of each.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = bare_figure(7.4, 5.0, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    clipped = np.clip(intervals_ms, _EDGES_MS[0], _EDGES_MS[-1])
    binned, _ = np.histogram(clipped, bins=_EDGES_MS, weights=counts)
    share = 100 * binned / binned.sum()
    above.stairs(share, _EDGES_MS, fill=True, color=GREEN)
    above.set_ylabel("% of intervals")
    highest = float(share.max()) * 1.3
    above.set_ylim(0, highest)
    for percent, at in percentiles_ms.items():
        above.axvline(at, color="black", lw=1.1, ls=(0, (4, 2)))
        align, shift = ("right", 0.97) if percent < 25 else ("left", 1.03)
        above.text(at * shift, highest, f"{percent}%\n{at:.0f} ms", ha=align, va="top", fontsize=9)
    above.set_title(
        f"all {int(np.sum(counts)):,} intervals (dashed: percentiles)", fontsize=10, loc="left"
    )
    medians = np.clip(medians_ms, _EDGES_MS[0], _EDGES_MS[-1])
    below.hist(medians, bins=list(_EDGES_MS), color=GREEN)
    below.set_title(
        f"the median interval of each of {len(medians):,} conversations", fontsize=10, loc="left"
    )
    below.set_ylabel("conversations")
    below.set_xscale("log")
    below.set_xticks(list(_TICKS), list(_TICKS.values()))
    below.minorticks_off()
    below.set_xlabel("time from one tick to the next (log scale; longer ones stand at 5 s)")
    return figure
