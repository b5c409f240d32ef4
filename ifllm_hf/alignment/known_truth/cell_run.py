"""A cell from beginning to end: labels, DPO, answers to held-out questions, their true score."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.known_truth.cell_labels import label_cell
from ifllm_hf.alignment.known_truth.cells import TruthCell
from ifllm_hf.alignment.known_truth.config import TruthGrid
from ifllm_hf.alignment.known_truth.made_world import ask, made_world
from ifllm_hf.alignment.pipeline.state import Run, beside
from ifllm_hf.alignment.pipeline.training import DPO, Training, train
from ifllm_hf.data.known_truth import TrueScore, true_score
from ifllm_hf.training.run_record import versions

PLAIN_SHARE, PLAIN_STRENGTH = 0.2, 0.75
"""Of the release of a cell that looks at neither: any other would give the same labels."""


def run_cell(grid: TruthGrid, cell: TruthCell) -> dict[str, Any]:
    """Run a cell and return its line.

    Returns:
        `key`, `family`, `base` and the fields of the cell; `labels`, see `RightLabels`; `readers`:
        by held-out reader the number of answers and the sums of their true scores, by the base
        model and after training; `parts`: sums of what answers say, before and after; `seconds` by
        step; `versions`.

    Raises:
        IFLLMError: A step failed.
    """
    clock = [time.monotonic()]
    share = PLAIN_SHARE if cell.share is None else cell.share
    strength = PLAIN_STRENGTH if cell.strength is None else cell.strength
    world = made_world(grid, cell.seed, share, strength)
    asked = world.asked_by_judges()
    place = grid.out / f"seed{cell.seed}"
    run = Run(place / "cells", cell.name, {"key": grid.key(cell)})
    with run.working():
        clock.append(time.monotonic())
        pairs = beside(run.folder, ".parquet")
        labels = label_cell(cell, world, pairs, nu=grid.click_error)
        clock.append(time.monotonic())
        if labels.pairs:
            _train(grid, cell, pairs, run.folder, labels.held_out)
        clock.append(time.monotonic())
        questions = asked["prompt"].unique(maintain_order=True).to_list()
        before = true_scores(questions, ask(grid, questions, place / "base", cell.seed))
        kept = beside(run.folder, "-answers")
        after = before
        if labels.pairs:
            after = true_scores(questions, ask(grid, questions, kept, cell.seed, run.folder))
        clock.append(time.monotonic())
    steps = zip(("world", "labels", "training", "answers"), clock, clock[1:], strict=False)
    return {
        "key": grid.key(cell),
        "family": grid.family,
        "base": grid.base,
        **cell.described(),
        "labels": asdict(labels),
        "readers": by_reader(asked.rows(), before, after),
        "parts": {"before": parts_of(before), "after": parts_of(after)},
        "seconds": {name: round(end - start, 1) for name, start, end in steps},
        "versions": versions(),
    }


def _train(grid: TruthGrid, cell: TruthCell, pairs: Path, folder: Path, held_out: int) -> None:
    settings = {**grid.training, "preference_loss": cell.loss, "seed": cell.seed}
    if not held_out:  # labels say nothing of these readers, and the recipe would look for them
        settings["eval_fold"] = None
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the report
        train(Training(DPO, settings, pairs, folder), None)


Scored = dict[str, list[TrueScore]]


def true_scores(questions: Sequence[str], answers: Sequence[Sequence[str]]) -> Scored:
    """Return by question what its answers are worth."""
    return {
        question: [true_score(question, answer) for answer in said]
        for question, said in zip(questions, answers, strict=True)
    }


def by_reader(
    asked: Sequence[tuple[str, str]], before: Scored, after: Scored
) -> dict[str, list[float]]:
    """Return by reader the number of answers, and the sums of their scores before and after.

    Args:
        asked: Reader and question.
        before: The answers of the base model.
        after: Those of another one.
    """
    found: dict[str, list[float]] = {}
    for reader, question in asked:
        sums = found.setdefault(reader, [0, 0.0, 0.0])
        sums[0] += len(before[question])
        sums[1] += sum(one.score for one in before[question])
        sums[2] += sum(one.score for one in after[question])
    return {reader: [n, round(b, 4), round(a, 4)] for reader, (n, b, a) in found.items()}


def parts_of(scored: Scored) -> dict[str, int]:
    """Return sums of what answers say, and how many there are."""
    every = [one for said in scored.values() for one in said]
    sums = {name: sum(getattr(one, name) for one in every) for name in vars(every[0])}
    return {"answers": len(every), **sums, "with_nonsense": sum(one.nonsense > 0 for one in every)}
