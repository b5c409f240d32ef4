"""The whole benchmark on a prepared folder: `ifllm benchmark`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ifllm_hf.benchmark.protocol.ahead import Fits, fit_ahead
from ifllm_hf.benchmark.protocol.prepared_turns import PreparedTurns, load_prepared, source_hash
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.side_bias import SideBias
from ifllm_hf.benchmark.protocol.splits import QUICK_REPEATS, REPEATS, make_splits
from ifllm_hf.benchmark.protocol.suite import HEADLINE, PAPER, Plan, Results, Sets, run_suite
from ifllm_hf.benchmark.report.answer import MORE, PROTOCOL, answer, first_table
from ifllm_hf.benchmark.report.report import (
    PUBLISHED,
    Draw,
    check_report_place,
    finite,
    terminal_table,
    write_report,
)
from ifllm_hf.benchmark.studies import curves as curve
from ifllm_hf.benchmark.studies.findings import PROTOCOL_NOTE, permutation_notes, reader_notes
from ifllm_hf.benchmark.studies.probe import PROBES, run_probes
from ifllm_hf.errors import DataError
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.length_rule import reference_models
from ifllm_hf.reward.baselines.protocol import BETTER, LIKERT, PREFERENCE

logger = logging.getLogger(__name__)

_SMALLEST_SET = 50


@dataclass
class BenchmarkRun:
    """What `run_benchmark` found.

    Attributes:
        results: Scores of all tasks.
        probes: Whether the pointer saw the click.
        curves: Learning curves.
        extrapolation: The worker curve continued.
        notes: Paragraphs of the report.
        report: The Markdown page, None if none was asked for.
        seconds: Wall time.
        repeats: How often the folds of readers were drawn.
    """

    results: Results
    probes: list[Record] = field(default_factory=list)
    curves: list[Record] = field(default_factory=list)
    extrapolation: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    report: Path | None = None
    seconds: float = 0.0
    repeats: int = 0

    @property
    def records(self) -> list[Record]:
        """Every row as JSON types: scores, probes, curves, published numbers; null: undefined."""
        published = [
            {"task": PREFERENCE.name, "set": PAPER, "published": True, **row} for row in PUBLISHED
        ]
        return finite([*self.results.records, *self.probes, *self.curves, *published])

    def answer(self) -> str:
        """Return what the terminal shows first: the answer in four lines, then one table."""
        headline = [
            r
            for r in self.results.records
            if r["task"] == PREFERENCE.name and (r["set"] == HEADLINE or r.get("file"))
        ]
        said = answer([r for r in headline if r["set"] == HEADLINE], self.repeats)
        return "\n\n".join([said, first_table(headline), MORE])

    def table(self) -> str:
        """Return all that the terminal can show: `--all`."""
        shown = [r for r in self.results.records if r["subset"] in ("all", "similar length")]
        lines = [terminal_table(shown)]
        if self.probes:
            lines.append(
                "Did the pointer see the click? (AUC held out by worker)\n"
                + "\n".join(
                    f"  {p['probe']:<40} {p['learner']:<9} {p['auc']:.3f} "
                    f"[{p['auc_low']:.3f}, {p['auc_high']:.3f}]"
                    f"{'  (contaminated)' if p['contaminated'] else ''}"
                    for p in self.probes
                )
            )
        lines.append(
            "Published, protocol rows: "
            + ", ".join(f"{r['model']} {r['accuracy']:.2f}" for r in PUBLISHED)
        )
        return "\n\n".join([*lines, *self.notes])


def run_benchmark(
    data: Path | str,
    *,
    quick: bool = False,
    predictions: Sequence[Path | str] = (),
    out: Path | str | None = None,
    cache: Path | str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    draw: Draw | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> BenchmarkRun:
    """Benchmark the baselines on a prepared folder, and predictions made elsewhere beside them.

    The same data, code and seed give the same numbers, however many processes and however often
    the run was interrupted.

    Args:
        data: A folder written by `ifllm prepare`.
        quick: A minute instead of a quarter of an hour: fewer repeats and draws, fast models only,
            no ablations, no curves.
        predictions: Predictions files, see `predictions.read_predictions`.
        out: Folder for the report (`report.md`, `report.json`); none by default.
        cache: Folder for computed features and finished repeats; default: `cache` in `out`. Without
            either nothing is kept and one process does all.
        seed: Seed of splits, permutations and bootstrap.
        jobs: Processes that fit models; default 2, or 1 on a single core.
        draw: Draws the figures of the report: `ifllm_hf.plot.benchmark_report.draw_report`. Without
            it the report has none.
        overwrite: Whether a report in `out` may be replaced.
        progress: Whether to draw progress bars on stderr.

    Returns:
        All scores; `records` are JSON types, `table()` is for the terminal.

    Raises:
        TableError: `data` is not a prepared folder.
        DataError: Rows or predictions that cannot be used.
        OutputError: A report stands in `out` already, or it cannot be written.
    """
    start = time.monotonic()
    folder = None if out is None else Path(out)
    if folder is not None:
        check_report_place(folder / "report.md", overwrite=overwrite)
    kept = Path(cache) if cache is not None else None if folder is None else folder / "cache"
    if kept is not None:
        kept = kept / source_hash()
    jobs = min(2, os.cpu_count() or 1) if jobs is None else jobs

    rows = load_prepared(data, kept, ablations=not quick)
    sets = _sets(rows)
    run = BenchmarkRun(Results(), notes=list(rows.notes))
    plan = Plan(
        dict(QUICK_REPEATS if quick else REPEATS),
        seed=seed,
        draws=400 if quick else 2000,
        cache=kept,
        progress=progress,
    )
    _preferences(run, rows, sets, quick, predictions, plan, jobs)
    _single_answers(run, rows, plan)
    run.probes = run_probes(
        rows.pairs,
        probes=PROBES[:2] if quick else PROBES,
        kinds=("logistic",) if quick else ("booster", "logistic"),
        repeats=2 if quick else 5,
        seed=seed,
        draws=plan.draws,
        progress=progress,
    )
    if not quick:
        _curves(run, rows, seed, progress)
    run.repeats = plan.repeats[PROTOCOL]
    run.notes += permutation_notes(run.results.records)
    run.notes += reader_notes(run.results.records, baselines.default_model().name)
    if folder is not None:
        command = "ifllm benchmark" + " --quick" * quick + f" --seed {seed}" * (seed != 0)
        if predictions:
            command += " --predictions " + " ".join(Path(file).name for file in predictions)
        run.report = write_report(
            run.results,
            folder,
            command=command,
            curves=run.curves,
            extrapolation=run.extrapolation,
            probes=run.probes,
            notes=[PROTOCOL_NOTE, *run.notes],
            draw=draw,
            overwrite=overwrite,
        )
    run.seconds = time.monotonic() - start
    return run


def _sets(rows: PreparedTurns) -> Sets:
    """Return both sets; the paper's is left out where it is empty or too small to split."""
    sets: dict[str, Collection[int] | None] = {}
    if len(rows.paper_ids) >= _SMALLEST_SET:
        sets[PAPER] = rows.paper_ids
    else:
        logger.warning("only %d of the paper's pairs: that set is left out", len(rows.paper_ids))
    sets[HEADLINE] = None
    return sets


def _protocols(
    run: BenchmarkRun, rows: PreparedTurns, sets: Sets, repeats: Mapping[str, int]
) -> dict[str, int]:
    """Return the repeats by protocol; `future` is left out where all came at the same time."""
    repeats = dict(repeats)
    try:
        for ids in sets.values():
            make_splits(labelled(rows.turns, PREFERENCE, ids).rows, "future")
    except DataError as error:
        run.notes.append(f"Left out: the protocol `future` ({error}).")
        del repeats["future"]
    return repeats


def _preferences(
    run: BenchmarkRun,
    rows: PreparedTurns,
    sets: Sets,
    quick: bool,
    predictions: Sequence[Path | str],
    plan: Plan,
    jobs: int,
) -> None:
    """Score all models under all protocols, then the ablations under `worker` alone."""
    choice = baselines.preference_models(rows.turns.columns, quick=quick)
    ablations = [] if quick else baselines.ablation_models(rows.turns.columns)
    run.notes += [f"Left out: {name} ({why})." for name, why in choice.skipped.items()]
    best = baselines.default_model().name
    fast = baselines.first_behavior_model().name
    alone = replace(
        plan, repeats={"worker": plan.repeats["worker"]}, text_model=baselines.TEXT_MODEL
    )
    plan = replace(
        plan,
        repeats=_protocols(run, rows, sets, plan.repeats),
        text_model=baselines.TEXT_MODEL,
        permute=[fast],
        permutations=20 if quick else 200,
        side_bias=[fast] if quick else [fast, best],
    )
    if plan.cache is not None:
        fits: list[Fits] = []
        for ids in sets.values():
            data = labelled(rows.turns, PREFERENCE, ids)
            biased = [SideBias(m) for m in choice.models if m.name in plan.side_bias]
            fits.append(Fits([*reference_models(), *choice.models], data, plan.repeats, rows.swap))
            fits.append(
                Fits(biased, data, {"conversation": plan.repeats["conversation"]}, rows.swap)
            )
            fits.append(Fits(ablations, data, alone.repeats, rows.swap))
        fit_ahead(fits, plan.cache, seed=plan.seed, jobs=jobs, progress=plan.progress)
    main = run_suite(rows.turns, choice.models, plan, sets=sets, files=predictions, swap=rows.swap)
    run.results = main
    if ablations:
        # The text model once more, for the paired differences.
        text = [m for m in choice.models if m.name == baselines.TEXT_MODEL]
        more = run_suite(rows.turns, [*text, *ablations], alone, sets=sets, swap=rows.swap)
        names = {m.name for m in ablations}
        main.records += [r for r in more.records if r["model"] in names]


def _single_answers(run: BenchmarkRun, rows: PreparedTurns, plan: Plan) -> None:
    """Score ratings of single answers, and better-than-previous, held out by worker."""
    plan = replace(plan, repeats={"worker": plan.repeats["worker"]})
    for task, models in (
        (LIKERT, baselines.rating_models()),
        (BETTER, baselines.better_models()),
    ):
        title = f"all labelled turns ({task.name})"
        try:
            found = run_suite(rows.turns, models, plan, task=task, sets={title: None})
        except DataError as error:
            run.notes.append(f"Left out: the task {task.name} ({error}).")
            continue
        run.results.records += found.records
        run.results.ledgers |= found.ledgers


def _curves(run: BenchmarkRun, rows: PreparedTurns, seed: int, progress: bool) -> None:
    data = labelled(rows.turns, PREFERENCE)
    best = baselines.default_model()
    text, both = baselines.text_with_and_without_behavior()
    workers = curve.worker_curve(best, data, repeats=10, seed=seed, progress=progress)
    run.curves += workers
    run.extrapolation = curve.extrapolate(workers)
    for model in (text, both):
        run.curves += curve.label_curve(model, data, repeats=10, seed=seed, progress=progress)
    for reader_model in (best, SideBias(baselines.first_behavior_model())):
        try:
            run.curves += curve.new_reader_curve(reader_model, data, seed=seed, progress=progress)
        except DataError as error:
            run.notes.append(f"Left out: the curve over labels of a new reader ({error}).")
            break
