"""The figure of a judging report: win rates and improvements with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ifllm_hf.plot.canvas import BLUE, ORANGE, blank_figure, draw_intervals, draw_reference

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes, Figure

_THIRDS = {"short": ("#9ecae1", "o"), "middling": ("#4292c6", "s"), "long": ("#084594", "^")}


def judge_figure(report: Mapping[str, Any]) -> Figure:
    """Draw win rates, at equal length too, relative improvements, and thirds by length.

    Args:
        report: What `report.json` of a judging run holds.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    rows = {name: r for name, r in report["candidates"].items() if r["n"]}
    names = list(rows)[::-1]
    canvas, axes = blank_figure(13.0, 1.6 + 0.55 * max(len(names), 2), columns=3)
    win, better, thirds = axes
    found = [rows[name] for name in names]
    _marks(win, [r["win_rate"] for r in found], 0.13, BLUE, "all")
    _marks(
        win, [r["length_controlled_win_rate"] for r in found], -0.13, ORANGE, "at equal length", "s"
    )
    _marks(better, [r["relative_improvement"] for r in found], 0.0, BLUE, None)
    for k, (part, (color, marker)) in enumerate(_THIRDS.items()):
        of_part = [r["by_baseline_length"].get(part) for r in found]
        rates = [one and one["win_rate"] for one in of_part]
        _marks(thirds, rates, 0.2 - 0.2 * k, color, part, marker)
    for axis, title, line in (
        (win, "win rate (ties half)", 0.5),
        (better, "relative improvement of the score", 0.0),
        (thirds, "win rate by length of the baseline's answer", 0.5),
    ):
        draw_reference(axis, line)
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.set_yticks(range(len(names)), names if axis is win else [""] * len(names))
        axis.set_title(title, fontsize=10)
    if not any(r["relative_improvement"] for r in found):
        better.text(0.5, 0.5, "not defined for this judge", transform=better.transAxes, ha="center")
        better.set_xticks([])
    better.xaxis.set_major_formatter(lambda x, position: f"{x:+.0%}")
    for axis in (win, thirds):
        axis.legend(fontsize=8, loc="best")
    canvas.suptitle(
        f"{report['prompts']['n']} questions of {report['prompts']['workers']} readers against "
        f"{report['baseline']}; 95 % over readers",
        fontsize=10,
    )
    return canvas


def _marks(
    axes: Axes,
    estimates: list[Mapping[str, Any] | None],
    above: float,
    color: str,
    label: str | None,
    marker: str = "o",
) -> None:
    """Draw the estimates that there are, one for each candidate."""
    known = [(y + above, one) for y, one in enumerate(estimates) if one is not None]
    draw_intervals(
        axes,
        [y for y, _ in known],
        *([one[key] for _, one in known] for key in ("estimate", "low", "high")),
        color=color, label=label, marker=marker,
    )  # fmt: skip
