"""The figures of the report: intervals as a forest, reliability, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.benchmark.protocol.scores import Record, Scored
from ifllm_hf.benchmark.protocol.suite import Results
from ifllm_hf.errors import ConfigError
from ifllm_hf.metrics import weighted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REFERENCE, _MODEL, _TAINTED = "#888888", "#1f6fb2", "#c23b22"


def blank_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure that needs no display and leaves matplotlib's global state alone."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(
            "figures need matplotlib, which is not installed; install the extra `plot`"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def _colour(record: Record) -> str:
    if record.get("contaminated"):
        return _TAINTED
    return _REFERENCE if record.get("reference") else _MODEL


def forest(records: Sequence[Record], title: str) -> Figure:
    """Draw accuracy with its interval for every record, the first on top."""
    figure, (axis,) = blank_figure(7.0, 1.2 + 0.32 * len(records))
    for y, record in enumerate(reversed(records)):
        low, high, value = record["low"], record["high"], record["accuracy"]
        axis.plot([low, high], [y, y], color=_colour(record), lw=2)
        axis.plot([value], [y], "o", color=_colour(record), ms=5)
    axis.axvline(0.5, color="black", lw=0.8, ls=":")
    rule = [r["accuracy"] for r in records if r["model"] == "length rule"]
    if rule:
        axis.axvline(rule[0], color=_REFERENCE, lw=0.8, ls="--")
    axis.set_yticks(range(len(records)), [str(r["model"]) for r in reversed(records)])
    axis.set_xlabel("accuracy, 95 % over workers (dashed: length rule)")
    axis.set_title(title, fontsize=10)
    return figure


def reliability(scored: dict[str, Scored], bins: int = 10) -> Figure:
    """Draw the share of `b` against the predicted probability, by equal-width bins."""
    figure, (axis, counts) = blank_figure(8.0, 4.0, columns=2)
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
    for name, one in scored.items():
        member = weighted.bin_of(one.p, bins)
        filled = [k for k in range(bins) if (member == k).any()]
        x = [one.p[member == k].mean() for k in filled]
        y = [one.y[member == k].mean() for k in filled]
        axis.plot(x, y, "o-", ms=4, lw=1.2, label=name)
        counts.plot(
            (np.arange(bins) + 0.5) / bins, np.bincount(member, minlength=bins), "o-", ms=4, lw=1.2
        )
    axis.set_xlabel("predicted probability of b")
    axis.set_ylabel("share of b")
    axis.legend(fontsize=7)
    counts.set_xlabel("predicted probability of b")
    counts.set_ylabel("pairs per bin")
    return figure


def learning_curves(records: Sequence[Record], metric: str = "accuracy") -> Figure:
    """Draw one panel per curve and one line per model, with intervals over workers."""
    kinds = list(dict.fromkeys(r["curve"] for r in records))
    figure, axes = blank_figure(4.2 * len(kinds), 3.6, columns=len(kinds))
    low_name, high_name = ("low", "high") if metric == "accuracy" else ("auc_low", "auc_high")
    for axis, kind in zip(axes, kinds, strict=True):
        mine = [r for r in records if r["curve"] == kind]
        for name in dict.fromkeys(r["model"] for r in mine):
            points = sorted((r for r in mine if r["model"] == name), key=lambda r: float(r["x"]))
            x = [p["x"] for p in points]
            (line,) = axis.plot(x, [p[metric] for p in points], "o-", ms=4, label=name)
            ends = ([p[end] for p in points] for end in (low_name, high_name))
            axis.fill_between(x, *ends, color=line.get_color(), alpha=0.12, lw=0)
        axis.set_xlabel(kind)
        axis.set_ylabel(metric)
        axis.legend(fontsize=7)
    return figure


def draw_all(results: Results, curves: Sequence[Record], folder: Path) -> dict[str, Path]:
    """Write the figures of a report as PNG files.

    Returns:
        Paths by caption.
    """
    made: dict[str, Path] = {}

    def save(figure: Figure, name: str, caption: str) -> None:
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=130, metadata={"Software": None})
        made[caption] = path

    shown = [
        r
        for r in results.records
        if r.get("accuracy") is not None and r["subset"] == "all" and r["protocol"] == "worker"
    ]
    for i, set_name in enumerate(dict.fromkeys(r["set"] for r in shown)):
        mine = [r for r in shown if r["set"] == set_name]
        title = f"{set_name}, held out by worker (n = {mine[0]['n']})"
        save(forest(mine, title), f"forest-{i + 1}", f"Accuracy by model: {title}")
        scored = {
            name: one
            for (name, s, protocol), one in results.scored.items()
            if s == set_name and protocol == "worker" and name != "majority" and one.task.binary
        }
        if scored:
            caption = f"Reliability: {title}"
            save(reliability(scored), f"reliability-{i + 1}", caption)
    if curves:
        save(learning_curves(curves), "curves", "Learning curves, accuracy")
    return made
