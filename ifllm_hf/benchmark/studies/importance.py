"""A figure: what gaze and mouse tell by themselves and beside the length of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.benchmark.report.figures import blank_figure

_CHANNELS = ("gaze", "mouse", "gaze and mouse")
SHOWN = (
    *("length LR", "gaze alone", "mouse alone", "gaze and mouse"),
    *(f"length + {channels}" for channels in _CHANNELS),
    "TF-IDF LR",
    *(f"text + {channels}" for channels in _CHANNELS),
)
_SUBSETS = ("all", "similar length")


def importance_figure(records: Sequence[Record], path: Path) -> None:
    """Write the AUC of every channel model, held out by worker, for all pairs and similar ones.

    Args:
        records: Rows of the report.
        path: PNG file to write.
    """
    found = {
        (r["model"], r["subset"]): r
        for r in records
        if r["set"] == HEADLINE and r["protocol"] == "worker" and r["model"] in SHOWN
    }
    names = [name for name in SHOWN if (name, "all") in found]
    figure, (axis,) = blank_figure(7.0, 1.4 + 0.42 * len(names))
    for k, subset in enumerate(_SUBSETS):
        rows = [(i, found[name, subset]) for i, name in enumerate(names) if (name, subset) in found]
        height = [len(names) - 1 - i - 0.18 * k for i, _ in rows]
        colour = ("#1f6fb2", "#d98c1f")[k]
        ends = ([r[end] for _, r in rows] for end in ("auc_low", "auc_high"))
        axis.hlines(height, *ends, colour)
        axis.plot([r["auc"] for _, r in rows], height, "o", color=colour, ms=4, label=subset)
    axis.axvline(0.5, color="black", lw=0.8, ls=":")
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_xlabel("AUC held out by worker, 95 % over workers")
    axis.legend(fontsize=7)
    figure.savefig(path, dpi=130, metadata={"Software": None})
