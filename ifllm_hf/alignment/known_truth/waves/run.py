"""Every wave that has no line yet, and the report of all that have one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ifllm_hf.alignment.known_truth.results_file import Record, add_result, read_results
from ifllm_hf.alignment.known_truth.run import GridOutcome, of_family
from ifllm_hf.alignment.known_truth.waves.config import TruthWaves, WaveArm
from ifllm_hf.alignment.known_truth.waves.report import write_report
from ifllm_hf.errors import IFLLMError

logger = logging.getLogger(__name__)
Say = Callable[[str], None]


def run_waves(
    waves: TruthWaves, *, say: Say = logger.info, report_alone: bool = False
) -> GridOutcome:
    """Run what has no line yet: seed after seed, arm after arm, wave after wave.

    An arm that fails stops no other. Where a line is missing, the waves before it are read from
    the output folder, and run again if they are not there: their models write what comes next.
    Processes may share an output folder if they run different seeds.

    Args:
        waves: The settings.
        say: Takes a line about each wave.
        report_alone: Run nothing; write the report of what is there.

    Raises:
        ConfigError: The settings of itself or of its recipe cannot be used, by any wave.
    """
    done = read_results(waves.results_file)
    outcome = GridOutcome()
    if not report_alone:
        for seed in waves.seeds:
            for arm in waves.arms:
                try:
                    _run_arm(waves, arm, seed, done, outcome, say)
                except Exception as error:  # a broken arm is one of many
                    logger.debug("%s failed", arm.name, exc_info=True)
                    known = isinstance(error, IFLLMError)
                    said = str(error) if known else f"{type(error).__name__}: {error}"
                    outcome.errors[f"{arm.name} seed{seed}"] = said
                    say(f"{arm.name} seed{seed}: failed: {said}")
        done = read_results(waves.results_file)
    records = of_family(waves, done, say, report_alone=report_alone)
    if records:
        outcome.report = write_report(records, waves.results_file.parent)
    return outcome


def missing(waves: TruthWaves, arm: WaveArm, seed: int, done: Mapping[str, Record]) -> list[int]:
    """Return the waves of an arm without a line; those after a stop never come."""
    found = []
    for wave in range(1, waves.waves + 1):
        line = done.get(waves.key(arm, seed, wave))
        if line is None:
            found.append(wave)
        elif line["stopped"]:
            break
    return found


def _run_arm(
    waves: TruthWaves,
    arm: WaveArm,
    seed: int,
    done: Mapping[str, Record],
    outcome: GridOutcome,
    say: Say,
) -> None:
    from ifllm_hf.alignment.known_truth.waves.wave_run import Wave, run_wave

    todo = missing(waves, arm, seed, done)
    there = sum(waves.key(arm, seed, k) in done for k in range(1, waves.waves + 1))
    outcome.there += there
    before: list[Wave] = []
    while todo and len(before) < max(todo) and not (before and before[-1].record["stopped"]):
        before.append(run_wave(waves, arm, seed, before))
        record = before[-1].record
        if record["key"] not in done:
            add_result(waves.results_file, record, waves.out)
            outcome.ran += 1
            say(f"{arm.name} seed{seed}: {_said(record)}")


def _said(record: Record) -> str:
    n, base, then = (sum(sums[k] for sums in record["readers"].values()) for k in range(3))
    labels = record["labels"]
    pairs = f"{labels['pairs']} new pairs" if labels else "nothing to train on"
    end = ""
    if record["stopped"]:
        kept = f"that of wave {record['kept']}" if record["kept"] else "the base model"
        end = f"; it fell, and {kept} is kept"
    seconds = sum(record["seconds"].values())
    return (
        f"wave {record['wave']}: {pairs}, true score {base / n:.2f} of the base, {then / n:.2f} now"
        f"{end} ({seconds:.0f} s)"
    )
