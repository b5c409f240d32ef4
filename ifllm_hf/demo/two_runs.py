"""Two DPO runs in the world of known truth: on clicks alone, and on clicks with behaviour."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.demo.facts import Say, TruthRun, TruthRuns
from ifllm_hf.errors import OutputError
from ifllm_hf.files import shipped_folder
from ifllm_hf.progress import progress_bar

CLICK_SHARE, BEHAVIOR_STRENGTH = 0.2, 0.95
_LABELS = ("clicks alone", "clicks and behaviour")


def run_twice(out: Path, conversations: int, say: Say, *, bar: bool) -> TruthRuns:
    """Train twice and score the answers to what held-out readers ask.

    Args:
        out: Folder for all that is made.
        conversations: Of the world.
        say: Takes a line about each run.
        bar: Show a progress bar.

    Raises:
        OutputError: A run failed.
    """
    from ifllm_hf.alignment.known_truth.cells import ALL, EXPLICIT
    from ifllm_hf.alignment.known_truth.config import Block, TruthGrid
    from ifllm_hf.alignment.known_truth.results_file import read_results
    from ifllm_hf.alignment.known_truth.run import run_grid
    from ifllm_hf.alignment.pipeline.state import Run

    shutil.rmtree(out, ignore_errors=True)  # of an earlier demo
    block = Block("demo", (EXPLICIT, ALL), (CLICK_SHARE,), (BEHAVIOR_STRENGTH,))
    grid = TruthGrid(
        recipe=str(shipped_folder("recipes") / "configs" / "known-truth.yaml"),
        blocks=(block,),
        seeds=(0,),
        conversations=conversations,
        answers=2,
        settings={"disable_tqdm": True, "logging_strategy": "no"},
        output_dir=str(out),
    )
    with progress_bar(len(_LABELS), "DPO", bar, unit="run") as shown:

        def step(text: str) -> None:
            shown.update(1)
            say(text)

        outcome = run_grid(grid, say=step)
    if outcome.errors:
        name, why = next(iter(outcome.errors.items()))
        raise OutputError(f"the DPO run {name} failed: {why}")
    records = list(read_results(grid.results_file).values())
    cells = {grid.key(cell): cell.name for cell in grid.cells()}
    place = grid.out / "seed0" / "cells"
    adapters = [Run(place, cells[r["key"]], {"key": r["key"]}).folder for r in records]
    return _compared(records, adapters)


def table(found: TruthRuns) -> str:
    """Return the runs as the terminal shows them."""
    lines = [f"{'trained on':<24}{'pairs':>7}{'before':>8}{'after':>8}   rise [95 % over readers]"]
    lines += [
        f"{run.labels:<24}{run.pairs:>7}{run.before:>8.2f}{run.after:>8.2f}   "
        f"{run.rise:+.2f} [{run.low:+.2f}, {run.high:+.2f}]"
        for run in found.runs
    ]
    lines.append(
        f"true score from 1 to 10 of {found.answers} answers to what {found.readers} held-out "
        "readers ask"
    )
    return "\n".join(lines)


def _compared(records: Sequence[dict[str, Any]], adapters: Sequence[Path]) -> TruthRuns:
    from ifllm_hf.alignment.known_truth.rises import Rises, setting_of

    rises = Rises(records)
    runs = []
    answers = 0
    for record, labels, adapter in zip(records, _LABELS, adapters, strict=True):
        n, before, after = (sum(sums[k] for sums in record["readers"].values()) for k in range(3))
        rise = rises.rise(setting_of(record))
        answers = int(n)
        runs.append(
            TruthRun(
                labels,
                record["labels"]["pairs"],
                _by_origin(record["labels"]["bins"]),
                before / n,
                after / n,
                rise.estimate,
                rise.low,
                rise.high,
                adapter,
            )
        )
    return TruthRuns(runs, answers, len(records[0]["readers"]))


def _by_origin(bins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how many pairs come from clicks and how many from behaviour, and their confidence."""
    sums: dict[str, list[float]] = {}
    for one in bins:
        of = sums.setdefault(str(one["origin"]), [0, 0.0])
        of[0] += one["pairs"]
        of[1] += one["confidence"]
    return [
        {"source": origin, "pairs": int(n), "mean": confidence / n}
        for origin, (n, confidence) in sums.items()
    ]
