"""The figure of a judging report: win rates and improvements with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.judge.report import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(report: Record) -> Figure:
    """Draw win rates, at equal length too, relative improvements, and thirds by length."""
    from ifllm_hf.benchmark.report.figures import blank_figure

    rows = {name: r for name, r in report["candidates"].items() if r["n"]}
    names = list(rows)[::-1]
    canvas, axes = blank_figure(13.0, 1.6 + 0.55 * max(len(names), 2), columns=3)
    win, better, thirds = axes
    for y, name in enumerate(names):
        r = rows[name]
        _bar(win, y + 0.13, r["win_rate"], "#1f6fb2", "all" if not y else None)
        equal = r["length_controlled_win_rate"]
        _bar(win, y - 0.13, equal, "#c27b22", "at equal length" if not y else None)
        _bar(better, y, r["relative_improvement"], "#1f6fb2", None)
        for k, (part, colour) in enumerate(
            zip(("short", "middling", "long"), ("#9ecae1", "#4292c6", "#084594"), strict=True)
        ):
            got = r["by_baseline_length"].get(part)
            _bar(thirds, y + 0.2 - 0.2 * k, got and got["win_rate"], colour, None if y else part)
    for axis, title, line in (
        (win, "win rate (ties half)", 0.5),
        (better, "relative improvement of the score", 0.0),
        (thirds, "win rate by length of the baseline's answer", 0.5),
    ):
        axis.axvline(line, color="black", lw=0.8, ls=":")
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.set_yticks(range(len(names)), names if axis is win else [""] * len(names))
        axis.set_title(title, fontsize=10)
    if not any(r["relative_improvement"] for r in rows.values()):
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


def _bar(axis: Any, y: float, got: Record | None, colour: str, label: str | None) -> None:
    if got is None:
        return
    if got["low"] is not None:
        axis.plot([got["low"], got["high"]], [y, y], color=colour, lw=2)
    axis.plot([got["estimate"]], [y], "o", color=colour, ms=5, label=label)
