"""Is the end of reading right? Ten conversations as pictures, and what the pointer still tells.

    python dataset_card/reading_end_page.py --data ./ifllm --out docs

The page is drawn from a prepared folder: for ten conversations the pointer's place over time with
the three phases shaded, and the probes of the benchmark: how well a learner that sees nothing but
where the pointer was tells the preference, over the whole turn and inside `reading`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.studies.probe import run_probes
from ifllm_hf.plot.canvas import BLUE, GREEN, SKY, VERMILION, bare_figure, file_style, save_png
from ifllm_hf.plot.lanes import phase_spans
from ifllm_hf.training.recipe_arguments import recipe_main

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes

_CONVERSATIONS = 10
_COLUMNS = ("t_ms", "mouse_x_px", "mouse_y_px", "mouse_on", "phase", "page_load")
_SHADES = {"reading": SKY, "rating": VERMILION, "after": "#999999"}
_ON, _OFF = BLUE, "#000000"


def write_reading_end(folder: Path, out: Path, *, seed: int = 0, progress: bool = True) -> str:
    """Write `reading-end.md` and its picture.

    Args:
        folder: A prepared folder.
        out: Where to write; made if it is not there.
        seed: Draws the conversations, and seeds the probes.
        progress: Draw progress bars on stderr.

    Returns:
        The text of the page.
    """
    turns = pl.read_parquet(folder / "pairwise" / "*.parquet")
    out.mkdir(parents=True, exist_ok=True)
    with file_style():
        _draw(turns, out / "reading-end.png", seed)
    text = _page(turns, run_probes(turns, seed=seed, progress=progress))
    (out / "reading-end.md").write_text(text, encoding="utf-8")
    return text


def _draw(turns: pl.DataFrame, path: Path, seed: int) -> None:
    found = turns.filter(pl.col("reading_end_source").is_not_null())
    names = found["conversation_id"].unique(maintain_order=True)
    chosen = names.sample(min(_CONVERSATIONS, len(names)), seed=seed, shuffle=True)
    figure = bare_figure(16, 2.1 * len(chosen) + 1, layout="constrained")
    axes = figure.subplots(len(chosen), 2, squeeze=False)
    for number, (name, pair) in enumerate(zip(chosen, axes, strict=True), start=1):
        rows = found.filter(pl.col("conversation_id") == name).sort("turn")
        for axis, column in zip(pair, ("mouse_x_px", "mouse_y_px"), strict=True):
            _panel(axis, rows, column)
        pair[0].set_ylabel(f"conversation {number}\npx from the left", fontsize=9)
        pair[1].set_ylabel("px from the top", fontsize=9)
        pair[1].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("seconds on the page")
    handles = [_dot(axes[0, 0], _ON), _dot(axes[0, 0], _OFF)]
    labels = ["pointer on an answer's text", "pointer elsewhere"]
    for phase, colour in _SHADES.items():
        handles.append(axes[0, 0].axvspan(np.nan, np.nan, color=colour, alpha=0.25))
        labels.append(phase)
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    save_png(figure, path, dpi=60)


def _dot(axis: Axes, colour: str) -> Any:
    return axis.plot([], [], "o", markersize=4, color=colour)[0]


def _panel(axis: Axes, rows: pl.DataFrame, column: str) -> None:
    for row in rows.select(_COLUMNS).iter_rows(named=True):
        t = np.array(row["t_ms"], dtype=float) / 1000
        place = np.array(row[column], dtype=float)
        on = np.array(row["mouse_on"]) != "none"
        phase = np.array(row["phase"])
        for name, begin, end in phase_spans(t, phase):
            axis.axvspan(begin, end, color=_SHADES[name], alpha=0.25, linewidth=0)
        axis.plot(t[~on], place[~on], ".", markersize=2, color=_OFF)
        axis.plot(t[on], place[on], ".", markersize=2, color=_ON)
        axis.axvline(t[0], color=GREEN, linewidth=1)
    axis.tick_params(labelsize=8)
    axis.margins(x=0)


def _page(turns: pl.DataFrame, probes: list[dict[str, Any]]) -> str:
    labelled = turns.filter(pl.col("preference").is_in(["a", "b"]))
    with_ticks = labelled.filter(pl.col("reading_end_source").is_not_null())
    found = with_ticks.filter(pl.col("reading_end_source") == "rating_zone")
    kept = _kept_share(with_ticks)
    lines = [
        "# Where reading ends",
        "",
        "The page went on recording while people clicked their ratings, and a pointer on a radio",
        'button is the label. `phase == "reading"` ends where the way of the pointer to the rating',
        "begins; how it is found, without any label, stands in "
        "`ifllm_hf/data/ticks/reading_end.py`.",
        "",
        f"Of {labelled.height} labelled pairs {with_ticks.height} have ticks; the rating was",
        f"found in {found.height} of them ({found.height / with_ticks.height:.1%}). The others are",
        'marked `reading_end_source == "fallback"` and end with the last text under the pointer:',
        "most often the recording stopped before the rating.",
        "",
        f"Reading holds {kept:.0%} of the ticks with the pointer on an answer; the rest came after",
        "the rating, most of them while the next question was typed and awaited.",
        "",
        "Ten conversations drawn at random; green lines are the moments when answers appeared:",
        "",
        "![Pointer over time with the three phases shaded](reading-end.png)",
        "",
        "## What the pointer tells",
        "",
        "A learner that sees a histogram of pointer positions and nothing else, by worker,",
        "five repeats, 95 % bootstrap intervals over workers. Chance is .5. Inside `reading` the",
        "pointer off the answers must tell nothing; over the whole turn it sees the click.",
        "",
        "| probe | learner | n | workers | AUC [95 %] | accuracy [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for probe in probes:
        lines.append(
            f"| {probe['probe']} | {probe['learner']} | {probe['n']} | {probe['workers']} "
            f"| {probe['auc']:.3f} [{probe['auc_low']:.3f}, {probe['auc_high']:.3f}] "
            f"| {probe['accuracy']:.3f} [{probe['low']:.3f}, {probe['high']:.3f}] |"
        )
    lines += [
        "",
        "Made by `python dataset_card/reading_end_page.py --data ./ifllm --out docs`.",
        "",
    ]
    return "\n".join(lines)


def _kept_share(turns: pl.DataFrame) -> float:
    ticks = turns.select("mouse_on", "phase").explode("mouse_on", "phase")
    on = ticks.filter(pl.col("mouse_on") != "none")
    return int((on["phase"] == "reading").sum()) / max(on.height, 1)


def run() -> str:
    """Parse, draw and write; return the text."""
    parser = argparse.ArgumentParser(description="Draw where reading ends.")
    parser.add_argument("--data", type=Path, default=Path("ifllm"), help="a prepared folder")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    text = write_reading_end(arguments.data, arguments.out, seed=arguments.seed)
    return text.removesuffix("\n")


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted="run it again"))
