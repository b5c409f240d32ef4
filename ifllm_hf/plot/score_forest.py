"""`plot_report`: what the benchmark says, model by model, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.benchmark.report.answer import PROTOCOL, SUBSETS
from ifllm_hf.benchmark.report.report import shown_interval
from ifllm_hf.errors import DataError, require_one_of
from ifllm_hf.plot.canvas import (
    BLUE,
    GREY,
    VERMILION,
    draw_intervals,
    draw_reference,
    given_axes,
    shown_figure,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ifllm_hf.plot.canvas import Axes, Figure

_Record = Mapping[str, Any]
METRICS: dict[str, tuple[str, str, float, str]] = {
    "accuracy": ("low", "high", 0.5, "accuracy"),
    "auc": ("auc_low", "auc_high", 0.5, "AUC"),
    "d_length": ("d_length_low", "d_length_high", 0.0, "accuracy over the length rule's"),
}
"""Metric -> columns of its interval, the value of no skill, and its name on the axis."""
_RULE = "length rule"
# Shape tells them apart as well as colour.
_KINDS = {
    "model": (BLUE, "o"),
    "reference, knows no behaviour": (GREY, "D"),
    "saw the click": (VERMILION, "s"),
    "from a file": (BLUE, "^"),
}


def plot_report(
    records: Sequence[_Record],
    *,
    metric: str = "accuracy",
    set_name: str = HEADLINE,
    protocol: str = PROTOCOL,
    subsets: Sequence[str] = tuple(SUBSETS),
    axes: Any = None,
) -> Any:
    """Draw the scores of every model with their intervals, a panel for each subset.

    Args:
        records: What `ifllm benchmark --json` prints, `report.json`, or the `records` of a
            `BenchmarkRun`; rows of other tables are passed over. The first model stands on top.
        metric: "accuracy", "auc" or "d_length", the gain in accuracy over the length rule.
        set_name: The set of pairs.
        protocol: How they were held out; "worker" holds whole readers out.
        subsets: Subsets of the pairs, one panel each; those without a record are left out.
        axes: Axes to draw into, one for each subset; a new figure of pyplot by default.

    Returns:
        `[panels]` matplotlib Axes.

    Raises:
        DataError: No record is of that set, protocol and subset.
        ConfigError: An unknown metric, matplotlib is not installed, or axes are too few.
    """
    panels = panels_of(records, metric, set_name=set_name, protocol=protocol, subsets=subsets)
    if axes is None:
        return draw_panels(panels, metric, shown_figure)
    places = given_axes(axes, len(panels), f"one for each of {', '.join(panels)}")
    return _draw(panels, metric, places)


def draw_panels(
    panels: Mapping[str, list[_Record]], metric: str, new_figure: Callable[..., Figure]
) -> Any:
    """Draw panels into a new figure.

    Args:
        panels: From `panels_of`.
        metric: Of `METRICS`.
        new_figure: `canvas.bare_figure` or `canvas.shown_figure`.

    Returns:
        `[panels]` matplotlib Axes.
    """
    most = len(_names(panels))
    figure = new_figure(3.6 + 3.3 * len(panels), 1.5 + 0.27 * most, layout="constrained")
    places = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    drawn = _draw(panels, metric, list(places))
    handles = {
        label: handle
        for axes in places
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=8.5,
        frameon=False,
    )  # fmt: skip
    return drawn


def panels_of(
    records: Sequence[_Record],
    metric: str,
    *,
    set_name: str = HEADLINE,
    protocol: str = PROTOCOL,
    subsets: Sequence[str] = tuple(SUBSETS),
) -> dict[str, list[_Record]]:
    """Return the records to draw, by subset; see `plot_report`."""
    require_one_of("metric", metric, METRICS)
    low, high, _, _ = METRICS[metric]
    usable = [
        r for r in records if all(r.get(k) is not None for k in ("subset", metric, low, high))
    ]
    panels: dict[str, list[_Record]] = {}
    for subset in subsets:
        mine = [
            r
            for r in usable
            if (r["subset"], r.get("set"), r.get("protocol")) == (subset, set_name, protocol)
        ]
        if mine:
            panels[subset] = mine
    if not panels:
        found = sorted({(str(r.get("set")), str(r.get("protocol"))) for r in usable})
        there = "; ".join(f"{s}, protocol {p}" for s, p in found) or "none with that metric"
        raise DataError(
            f"no record of {set_name!r}, protocol {protocol!r}, has {metric!r} with an interval; "
            f"of {len(records)} records there are: {there}. Give what `ifllm benchmark --json` "
            "prints."
        )
    return panels


def _names(panels: Mapping[str, list[_Record]]) -> list[str]:
    """Return the models of all panels in the order of the records."""
    return list(dict.fromkeys(str(r["model"]) for rows in panels.values() for r in rows))


def _draw(panels: Mapping[str, list[_Record]], metric: str, places: list[Axes]) -> Any:
    low, high, none, called = METRICS[metric]
    names = _names(panels)
    height = {name: len(names) - 1 - i for i, name in enumerate(names)}
    for axes, (subset, rows) in zip(places, panels.items(), strict=True):
        draw_reference(axes, none)
        rule = [r[metric] for r in rows if r["model"] == _RULE]
        if rule and metric != "d_length":
            axes.axvline(rule[0], color=GREY, lw=0.9, ls="--", label=_RULE)
        for kind, (color, marker) in _KINDS.items():
            mine = [r for r in rows if _kind(r) == kind]
            if mine:
                draw_intervals(
                    axes,
                    [height[str(r["model"])] for r in mine],
                    *([r[key] for r in mine] for key in (metric, low, high)),
                    color=color, marker=marker, label=kind,
                )  # fmt: skip
        for r in rows:
            axes.annotate(
                shown_interval(dict(r), metric, low, high, sign=metric == "d_length"),
                (1, height[str(r["model"])]), (4, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=7.5, va="center", annotation_clip=False,
            )  # fmt: skip
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.set_yticks(range(len(names)), names[::-1])
        axes.tick_params(labelsize=8.5, length=3)
        axes.set_xlabel(f"{called}, 95 % over readers", fontsize=9)
        title = rows[0]["set"] if subset == "all" else subset
        axes.set_title(f"{title}: {_sizes(rows)}", fontsize=9.5, loc="left")
        axes.grid(axis="y", lw=0.4, alpha=0.4)
        axes.set_axisbelow(True)
    return np.array(places, dtype=object)


def _kind(record: _Record) -> str:
    if record.get("contaminated"):
        return "saw the click"
    if record.get("file"):
        return "from a file"
    return "reference, knows no behaviour" if record.get("reference") else "model"


def _sizes(rows: Sequence[_Record]) -> str:
    """Say how many pairs and readers the scores of a panel rest on; a range where they differ."""

    def span(name: str) -> str:
        counts = [int(r[name]) for r in rows if r.get(name) and math.isfinite(r[name])]
        low, high = min(counts, default=0), max(counts, default=0)
        return f"{low}" if low == high else f"{low} to {high}"

    return f"n = {span('n')} of {span('workers')} readers"
