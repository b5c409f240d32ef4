"""The figures of the benchmark's reports: forests, reliability, learning curves, habits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ifllm_hf.benchmark.protocol.scores import Record, Scored
from ifllm_hf.benchmark.protocol.suite import HEADLINE, Results
from ifllm_hf.benchmark.report.answer import PROTOCOL
from ifllm_hf.metrics import weighted
from ifllm_hf.plot.canvas import (
    CHANNEL_COLOURS,
    GREY,
    bare_figure,
    blank_figure,
    draw_intervals,
    draw_reference,
    file_style,
    save_png,
)
from ifllm_hf.plot.score_forest import draw_panels, panels_of

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Figure

_CHANNELS = ("gaze", "mouse", "gaze and mouse")
CHANNEL_MODELS = (
    *("length LR", "gaze alone", "mouse alone", "gaze and mouse"),
    *(f"length + {channels}" for channels in _CHANNELS),
    "TF-IDF LR",
    *(f"text + {channels}" for channels in _CHANNELS),
)
"""What gaze and mouse tell by themselves and beside length and text, in the order of the figure."""


def draw_report(results: Results, curves: Sequence[Record], folder: Path) -> dict[str, Path]:
    """Write the figures of `ifllm benchmark --out` as PNG files.

    Args:
        results: What the run found.
        curves: Its learning curves.
        folder: Where they go; it is there.

    Returns:
        Paths by caption.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    made: dict[str, Path] = {}

    def save(figure: Figure, name: str, caption: str) -> None:
        path = folder / f"{name}.png"
        save_png(figure, path)
        made[caption] = path

    shown = [
        r
        for r in results.records
        if r.get("accuracy") is not None and r["subset"] == "all" and r["protocol"] == PROTOCOL
    ]
    with file_style():
        for i, set_name in enumerate(dict.fromkeys(r["set"] for r in shown), start=1):
            mine = [r for r in shown if r["set"] == set_name]
            title = f"{set_name}, held out by reader (n = {mine[0]['n']})"
            figure = forest(results.records, "accuracy", set_name)
            save(figure, f"forest-{i}", f"Accuracy by model: {title}")
            scored = {
                name: one
                for (name, s, protocol), one in results.scored.items()
                if (s, protocol) == (set_name, PROTOCOL) and name != "majority" and one.task.binary
            }
            if scored:
                save(reliability(scored), f"reliability-{i}", f"Reliability: {title}")
        if curves:
            save(learning_curves(curves), "curves", "Learning curves, accuracy")
        channels = [r for name in CHANNEL_MODELS for r in results.records if r["model"] == name]
        if any(r["model"].endswith("alone") and r.get("set") == HEADLINE for r in channels):
            save(forest(channels, "auc", HEADLINE), "importance", "What each channel adds")
    return made


def forest(records: Sequence[Record], metric: str, set_name: str) -> Figure:
    """Draw a metric of every model, held out by reader, as `plot_report` does."""
    figure: Figure = draw_panels(
        panels_of(records, metric, set_name=set_name), metric, bare_figure
    )[0].figure
    return figure


def reliability(scored: Mapping[str, Scored], bins: int = 10) -> Figure:
    """Draw the share of `b` against the predicted probability, by equal-width bins."""
    figure, (axes, counts) = blank_figure(8.0, 4.0, columns=2)
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=":")
    for name, one in scored.items():
        member = weighted.bin_of(one.p, bins)
        filled = [k for k in range(bins) if (member == k).any()]
        x = [one.p[member == k].mean() for k in filled]
        y = [one.y[member == k].mean() for k in filled]
        axes.plot(x, y, "o-", ms=4, lw=1.2, label=name)
        middles = (np.arange(bins) + 0.5) / bins
        counts.plot(middles, np.bincount(member, minlength=bins), "o-", ms=4, lw=1.2)
    axes.set_xlabel("predicted probability of b")
    axes.set_ylabel("share of b")
    axes.legend(fontsize=7)
    counts.set_xlabel("predicted probability of b")
    counts.set_ylabel("pairs per bin")
    return figure


def learning_curves(records: Sequence[Record], metric: str = "accuracy") -> Figure:
    """Draw one panel per curve and one line per model, with intervals over readers."""
    kinds = list(dict.fromkeys(r["curve"] for r in records))
    figure, panels = blank_figure(4.2 * len(kinds), 3.6, columns=len(kinds))
    low_name, high_name = ("low", "high") if metric == "accuracy" else ("auc_low", "auc_high")
    for axes, kind in zip(panels, kinds, strict=True):
        mine = [r for r in records if r["curve"] == kind]
        for name in dict.fromkeys(r["model"] for r in mine):
            points = sorted((r for r in mine if r["model"] == name), key=lambda r: float(r["x"]))
            x = [p["x"] for p in points]
            (line,) = axes.plot(x, [p[metric] for p in points], "o-", ms=4, label=name)
            ends = ([p[end] for p in points] for end in (low_name, high_name))
            axes.fill_between(x, *ends, color=line.get_color(), alpha=0.12, lw=0)
        axes.set_xlabel(kind)
        axes.set_ylabel(metric)
        axes.legend(fontsize=7)
    return figure


def draw_reader_habits(records: Sequence[Record], path: Path) -> None:
    """Write the figure of `ifllm benchmark --readers`: habits and outcomes, within readers.

    Args:
        records: `outcome, channel, habit, r, low, high` of every habit.
        path: PNG file to write.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(r["outcome"] for r in records))
    habits = list(dict.fromkeys(r["habit"] for r in records))
    width, height = 3.6 * max(1, len(names)) + 1.5, 1.4 + 0.34 * len(habits)
    with file_style():
        figure, panels = blank_figure(width, height, max(1, len(names)))
        for axes, outcome in zip(panels, names, strict=False):
            for offset, (channel, color) in enumerate(CHANNEL_COLOURS.items()):
                mine = [r for r in records if (r["outcome"], r["channel"]) == (outcome, channel)]
                draw_intervals(
                    axes,
                    [len(habits) - 1 - habits.index(r["habit"]) - 0.22 * offset for r in mine],
                    *([r[key] for r in mine] for key in ("r", "low", "high")),
                    color=color, marker="os"[offset], size=4, label=channel,
                )  # fmt: skip
            draw_reference(axes, 0)
            labels = habits[::-1] if axes is panels[0] else [""] * len(habits)
            axes.set_yticks(range(len(habits)), labels)
            axes.set_xlabel("correlation within readers, 95 %")
            axes.set_title(outcome, fontsize=10)
        if names:
            handles = panels[0].get_legend_handles_labels()
            figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=8)
        save_png(figure, path)
