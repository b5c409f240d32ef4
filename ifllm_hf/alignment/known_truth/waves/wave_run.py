"""One wave: readers arrive, the pipeline learns from them, its model answers held-out readers."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from ifllm_hf.alignment.known_truth.cell_labels import right_labels
from ifllm_hf.alignment.known_truth.cell_run import by_reader, parts_of, true_scores
from ifllm_hf.alignment.known_truth.made_world import MadeWorld, ask, truth_of
from ifllm_hf.alignment.known_truth.waves.arrivals import (
    asked_by_judges,
    join_releases,
    truth_of_wave,
    turns_of_waves,
    write_wave,
)
from ifllm_hf.alignment.known_truth.waves.config import TruthWaves, WaveArm
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.alignment.pipeline.config import NEW, PipelineConfig
from ifllm_hf.alignment.pipeline.data import Data, find_data
from ifllm_hf.alignment.pipeline.early_stopping import FOLDER, best_of, read_verdicts
from ifllm_hf.alignment.pipeline.loop import STOPPED, PipelineStatus, last_finished, run_pipeline
from ifllm_hf.alignment.pipeline.state import DONE, Run, beside
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet
from ifllm_hf.training.run_record import versions

Record = dict[str, Any]
_MODEL = "known-truth"
_TURN = ("query_id", "user_id", "prompt", "response_a", "response_b")


@dataclass(frozen=True)
class Wave:
    """A wave that is over.

    Attributes:
        record: Its line.
        policy: The adapter after it; None: nothing was trained yet.
        release: What its readers left.
    """

    record: Record
    policy: Path | None
    release: Path


def run_wave(waves: TruthWaves, arm: WaveArm, seed: int, before: Sequence[Wave]) -> Wave:
    """Run the wave after those of `before`; one that is done is read.

    The policy after the last wave answers its readers twice. Then `run_pipeline`, as
    `recipes/refresh.yaml` has it, prepares and labels all that has arrived, trains on the pairs
    that are new and judges. At last the model answers what the held-out readers of all waves ask:
    they are the same after every wave, and no arm ever trains on them.

    Args:
        waves: The settings.
        arm: Whose labels.
        seed: Of readers, answers, labels and training.
        before: The waves before, none of which stopped.

    Returns:
        The wave. Its line has `key`, `family`, `base`, `arm` and its fields, `seed`, `wave`;
        `shown`: the mean true score of the answers that its readers saw; `labels` of the new pairs,
        see `RightLabels`, None: too few to train on; `readers`: by held-out reader the number of
        answers and the sums of their true scores, by the base model and by the policy; `judged`:
        what early stopping found; `stopped`; `kept`: the wave whose policy is the best, 0: the base
        model; `parts`, `seconds`, `versions` as in the lines of the grid.

    Raises:
        IFLLMError: A step failed; the same call goes on.
    """
    wave = len(before) + 1
    policy = before[-1].policy if before else None
    seeds = waves.out / waves.family / f"seed{seed}"
    place = seeds / arm.name
    shown_by = weights_id(None if policy is None else str(policy))
    inputs = {"key": waves.key(arm, seed, wave), "policy": shown_by}
    run = Run(place / "waves", f"wave{wave}", inputs)
    if run.state()["status"] != DONE:
        with run.working() as state:
            release = beside(run.folder, "-release")
            record, now = _run(waves, arm, seed, before, release, seeds)
            state["record"] = {"key": inputs["key"], "family": waves.family, **record}
            state["policy"] = None if now is None else str(now)
            state["release"] = str(release)
    found = run.state()
    policy = None if found["policy"] is None else Path(found["policy"])
    return Wave(found["record"], policy, Path(found["release"]))


def _run(
    waves: TruthWaves,
    arm: WaveArm,
    seed: int,
    before: Sequence[Wave],
    release: Path,
    seeds: Path,
) -> tuple[Record, Path | None]:
    """Return what the line says, and the policy; what an interrupted call left is taken up."""
    wave, policies = len(before) + 1, [one.policy for one in before]
    policy = policies[-1] if policies else None
    out = seeds / arm.name / "pipeline"
    clock = [time.monotonic()]
    if not release.exists():
        write_wave(waves, arm, seed, wave, release, answers=seeds / "shown", policy=policy)
    releases = [*(one.release for one in before), release]
    arrived = release.with_name(f"{release.name}s-so-far")
    if not arrived.exists():
        join_releases(releases, arrived)
    clock.append(time.monotonic())
    outcome = _refresh(waves, arm, seed, arrived, out)
    clock.append(time.monotonic())
    data = Data(cast(Path, find_data(str(arrived), out)), out, dry=True)
    turns = read_parquet(config_files(data.folder, "pairwise"), _TURN)
    came = [truth_of_wave(one, k) for k, one in enumerate(releases, start=1)]
    truth = truth_of(turns, pl.concat(came).select("query_id", "liked"))
    after = last_finished(out / "runs" / _MODEL, arm.name)
    now = None if after is None else Path(after["folder"])
    labels = None
    if now is not None and now != policy:
        pairs = read_parquet(beside(now, ".pairs.parquet"))
        labels = asdict(right_labels(pairs, MadeWorld(turns, truth)))
    asked = asked_by_judges(turns_of_waves(waves, seed), data.folds)
    questions = asked["prompt"].unique(maintain_order=True).to_list()
    base = then = true_scores(questions, ask(waves, questions, seeds / "base", seed))
    if now is not None:
        then = true_scores(questions, ask(waves, questions, seeds / arm.name / "asked", seed, now))
    clock.append(time.monotonic())
    verdicts = read_verdicts(out / FOLDER / _MODEL).get(arm.name, [])
    shown = truth.join(came[-1].select("query_id"), "query_id").select("true_a", "true_b")
    steps = zip(("readers", "pipeline", "answers"), clock, clock[1:], strict=False)
    record = {
        "base": waves.base,
        "arm": arm.name,
        "source": arm.source,
        "strength": arm.strength,
        "settings": arm.settings,
        "seed": seed,
        "wave": wave,
        "shown": round(float(shown.to_numpy().mean()), 4),
        "labels": labels,
        "readers": by_reader(asked.rows(), base, then),
        "judged": None if labels is None else _judged(verdicts),
        "stopped": outcome.cells[_MODEL][arm.name] == STOPPED,
        "kept": _kept(verdicts, [*policies, now]),
        "parts": {"before": parts_of(base), "after": parts_of(then)},
        "seconds": {name: round(end - start, 1) for name, start, end in steps},
        "versions": versions(),
    }
    return record, now


def _refresh(
    waves: TruthWaves, arm: WaveArm, seed: int, arrived: Path, out: Path
) -> PipelineStatus:
    """Do what `recipes/pipeline.py` does with `recipes/refresh.yaml`.

    Raises:
        DataError: A step failed.
    """
    config = PipelineConfig(
        models=(_MODEL,),
        sources=(arm.name,),
        data=str(arrived),
        judge_fold=JUDGE_FOLD,
        train_on=NEW,
        min_new_pairs=waves.min_new_pairs,
        judge=waves.judge,
        early_stopping=waves.early_stopping,
        settings={**waves.settings, "seed": seed, **arm.settings},
        output_dir=str(out),
    )
    labels = arm.labels(waves.click_error, seed)
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the report
        outcome = run_pipeline(config, {_MODEL: Path(waves.recipe)}, [labels])
    if outcome.errors:
        what, why = next(iter(outcome.errors.items()))
        raise DataError(f"{what}: {why}")
    return outcome


def _judged(verdicts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    names = ("said", "difference", "questions", "readers")
    return {name: verdicts[-1][name] for name in names} if verdicts else None


def _kept(verdicts: Sequence[dict[str, Any]], policies: Sequence[Path | None]) -> int | None:
    """Return the first wave with the best policy; 0: the base model, None: nobody judged."""
    if not verdicts:
        return None
    best = best_of(list(verdicts))
    names = [None if policy is None else policy.name for policy in policies]
    return 0 if best is None else names.index(best) + 1
