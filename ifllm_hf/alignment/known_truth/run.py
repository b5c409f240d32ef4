"""Every cell of a grid that has no line yet, and the report of all that have one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ifllm_hf.alignment.known_truth.config import TruthGrid, TruthSettings
from ifllm_hf.alignment.known_truth.report import write_report
from ifllm_hf.alignment.known_truth.results_file import Record, add_result, read_results
from ifllm_hf.errors import ConfigError, IFLLMError

logger = logging.getLogger(__name__)


@dataclass
class GridOutcome:
    """What stands after a grid.

    Attributes:
        report: The report; None where no cell has a result.
        ran: Cells that ran now.
        there: Cells that had a line already.
        errors: By the name of a cell, why it failed.
    """

    report: Path | None = None
    ran: int = 0
    there: int = 0
    errors: dict[str, str] = field(default_factory=dict)


def run_grid(
    grid: TruthGrid, *, say: Callable[[str], None] = logger.info, report_alone: bool = False
) -> GridOutcome:
    """Run what has no line yet, one cell after the other; a cell that fails stops no other.

    Processes may share an output folder if they run different seeds.

    Args:
        grid: The settings.
        say: Takes a line about each cell.
        report_alone: Run nothing; write the report of what is there.

    Raises:
        ConfigError: The settings of itself or of its recipe cannot be used, by any cell.
    """
    done = read_results(grid.results_file)
    outcome = GridOutcome()
    if not report_alone:
        _run_missing(grid, done.keys() & {grid.key(cell) for cell in grid.cells()}, outcome, say)
        done = read_results(grid.results_file)
    records = of_family(grid, done, say, report_alone=report_alone)
    if records:
        outcome.report = write_report(records, grid.results_file.parent)
    return outcome


def of_family(
    settings: TruthSettings,
    done: Mapping[str, Record],
    say: Callable[[str], None],
    *,
    report_alone: bool,
) -> list[Record]:
    """Return the lines of these settings and this base model; say how many others there are.

    Raises:
        ConfigError: There is none, and nothing was to be run either.
    """
    records = [record for record in done.values() if record["family"] == settings.family]
    if others := len(done) - len(records):
        say(
            f"{settings.results_file}: {others} lines are of other settings or another base model "
            "and are left out"
        )
    if not records and report_alone:
        raise ConfigError(
            f"{settings.results_file}: no line of these settings and this base model "
            f"({settings.base}); run the same without --report first"
        )
    return records


def _run_missing(
    grid: TruthGrid, done: set[str], outcome: GridOutcome, say: Callable[[str], None]
) -> None:
    from ifllm_hf.alignment.known_truth.cell_run import run_cell

    cells = grid.cells()
    for number, cell in enumerate(cells, start=1):
        if grid.key(cell) in done:
            outcome.there += 1
            continue
        started = time.monotonic()
        try:
            record = run_cell(grid, cell)
            add_result(grid.results_file, record, grid.out)
        except Exception as error:  # a broken cell is one of many
            logger.debug("%s failed", cell.name, exc_info=True)
            said = (
                str(error) if isinstance(error, IFLLMError) else f"{type(error).__name__}: {error}"
            )
            outcome.errors[cell.name] = said
            say(f"{cell.name}: failed: {said}")
            continue
        outcome.ran += 1
        n, before, after = (sum(sums[k] for sums in record["readers"].values()) for k in range(3))
        say(
            f"{number}/{len(cells)} {cell.name}: {record['labels']['pairs']} pairs, true score "
            f"{before / n:.2f} to {after / n:.2f} ({time.monotonic() - started:.0f} s)"
        )
