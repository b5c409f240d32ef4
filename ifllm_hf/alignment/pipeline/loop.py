"""From signal to language models: every model with every label source, stopped and resumed at will.

Each step (labels, training, judging) is a `Run`: a folder named by a hash of its settings, its data
and the versions. A run that is done is never done again and never written over; one that was
interrupted goes on. `recipes/pipeline.py` calls `run_pipeline`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.pipeline.config import NEW, LabelSource, PipelineConfig
from ifllm_hf.alignment.pipeline.data import Data, find_data
from ifllm_hf.alignment.pipeline.early_stopping import EarlyStopping, write_standing
from ifllm_hf.alignment.pipeline.labels import (
    LabelSet,
    label_run,
    make_labels,
    new_pairs,
    pairs_digest,
)
from ifllm_hf.alignment.pipeline.state import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Run,
    beside,
    read_state,
)
from ifllm_hf.alignment.pipeline.training import (
    DPO,
    SFT,
    Training,
    continuing,
    run_inputs,
    train,
)
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.data.prepared.prepare import CardWriter
from ifllm_hf.errors import ConfigError, IFLLMError, OutputError
from ifllm_hf.files import scan_parquet, write_parquet
from ifllm_hf.table_parts import table_files
from ifllm_hf.training.launch import check_pipeline_launch
from ifllm_hf.training.settings_file import read_yaml
from ifllm_hf.training.tiny_models import TINY_PREFIX

logger = logging.getLogger(__name__)

Say = Callable[[str], None]
UP_TO_DATE, STOPPED = "up to date", "stopped"


@dataclass
class PipelineStatus:
    """What stands after a loop, or before one.

    Attributes:
        cells: Status by model and source.
        folders: Where the adapter of each finished cell lies.
        starts: Where the SFT adapter of each model lies, if there is such a stage.
        errors: What went wrong, by what was being done.
        did: What this loop did, in order: nothing if nothing was new.
    """

    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    folders: dict[str, dict[str, str]] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return models x sources for a terminal."""
        sources = list(next(iter(self.cells.values()), {}))
        first = max([len(m) for m in self.cells] + [5])
        width = {s: max(len(s), *(len(row[s]) for row in self.cells.values())) for s in sources}
        lines = ["  ".join([" " * first, *(s.ljust(width[s]) for s in sources)])]
        lines += [
            "  ".join([model.ljust(first), *(row[s].ljust(width[s]) for s in sources)])
            for model, row in self.cells.items()
        ]
        lines += [f"{what}: {why}" for what, why in self.errors.items()]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class _Loop:
    """What every step of one loop needs."""

    config: PipelineConfig
    out: Path
    outcome: PipelineStatus
    say: Say
    dry: bool
    judged: dict[str, Path] = field(default_factory=dict)

    def fail(self, what: str, error: Exception) -> None:
        logger.debug("%s failed", what, exc_info=True)
        said = str(error) if isinstance(error, IFLLMError) else f"{type(error).__name__}: {error}"
        self.outcome.errors[what] = said
        self.say(f"{what}: failed: {said}")


def run_pipeline(
    config: PipelineConfig,
    models: Mapping[str, Path],
    sources: Sequence[LabelSource],
    *,
    say: Say = logger.info,
    dry: bool = False,
    card: CardWriter | None = None,
) -> PipelineStatus:
    """Do what is not done yet; one run that fails does not stop the others.

    Args:
        config: The settings.
        models: The YAML of each language model, by name; see `read_pipeline`.
        sources: The label sources.
        say: Takes a line about each step.
        dry: Only look: nothing is prepared, labelled or trained.
        card: Writes the card of data that have to be prepared; see `prepare`.

    Returns:
        What stands now.

    Raises:
        IFLLMError: The data cannot be read, nobody could judge, a package is missing, or
            `launch: null` where one process would train on several GPUs.
    """
    out = Path(config.output_dir)
    if out.exists() and not out.is_dir():
        raise OutputError(f"output_dir {out}: is a file; name a folder, new or of this pipeline")
    outcome = PipelineStatus(cells={m: {s.name: WAITING for s in sources} for m in models})
    if not dry:
        for file in models.values():
            check_pipeline_launch({**read_yaml(file), **config.settings}, config.launch)
    folder = find_data(config.data, out, dry=dry, card=card, workers=config.workers)
    if folder is None:
        return outcome
    data = Data(folder, out, dry=dry, workers=config.workers)
    _check_judges(config.judge_fold, data.folds)
    loop = _Loop(config, out, outcome, say, dry)
    labels = _labels(loop, sources, data)
    for model, file in models.items():
        settings = {**read_yaml(file), **config.settings}
        try:
            start = _sft(loop, model, settings, labels.get(sources[0].name))
        except Exception as error:  # out of memory, a broken download: other models can go on
            loop.fail(f"{model} SFT", error)
            outcome.cells[model] = dict.fromkeys(outcome.cells[model], "SFT failed")
            continue
        for source in sources:
            if source.name not in labels or (config.sft is not None and start is None):
                continue
            try:
                _cell(loop, model, settings, labels[source.name], start, data)
            except Exception as error:
                outcome.cells[model][source.name] = FAILED
                loop.fail(f"{model} x {source.name}", error)
        if config.judge is not None and not dry:
            _judge(loop, model, settings, sources, data, start)
    if config.early_stopping and not dry:
        write_standing(out)
    if len(loop.judged) > 1:
        from ifllm_hf.alignment.pipeline.judge import write_summary

        write_summary(loop.judged, out)
    return outcome


def _check_judges(judge_fold: int | None, folds: Mapping[str, int]) -> None:
    """Refuse a fold without readers before anything is labelled for it.

    Raises:
        ConfigError: Nobody could judge.
    """
    readers = Counter(folds.values())
    if judge_fold is not None and not readers[judge_fold]:
        known = ", ".join(f"{fold}: {readers[fold]}" for fold in sorted(readers))
        raise ConfigError(
            f"judge_fold is {judge_fold}, but no reader has that fold (readers by fold: {known}); "
            "take another, or null to judge nothing"
        )


def _labels(loop: _Loop, sources: Sequence[LabelSource], data: Data) -> dict[str, LabelSet]:
    made: dict[str, LabelSet] = {}
    for source in sources:
        run = label_run(source, data, loop.config.judge_fold, loop.out)
        status = run.state()["status"]
        if status != DONE and loop.dry:
            if status in (RUNNING, FAILED):
                for row in loop.outcome.cells.values():
                    row[source.name] = f"labels {status}"
            continue
        try:
            made[source.name] = make_labels(source, data, loop.config.judge_fold, run)
        except IFLLMError as error:
            loop.fail(f"labels {source.name}", error)
            for row in loop.outcome.cells.values():
                row[source.name] = f"labels {FAILED}"
            continue
        if status != DONE:
            loop.outcome.did.append(f"labels {source.name}")
            loop.say(f"labels {source.name}: {made[source.name].pairs}")
    return made


def _sft(
    loop: _Loop, model: str, settings: Mapping[str, Any], labels: LabelSet | None
) -> dict[str, Any] | None:
    """Return where DPO starts from, after training it if need be: the stage before DPO."""
    if loop.config.sft is None or labels is None:
        return None
    from ifllm_hf.alignment.sft.config import settings_not_for_sft

    left_out = settings_not_for_sft()
    kept = {k: v for k, v in _without_places(loop, settings).items() if k not in left_out}
    kept |= loop.config.sft
    run = Run(loop.out / "sft", model, run_inputs("sft", kept, labels.digest))
    if not _train(loop, f"{model} SFT", run, Training(SFT, kept, labels.pairs, run.folder)):
        return None
    loop.outcome.starts[model] = str(run.folder)
    return run.state()


def _cell(
    loop: _Loop,
    model: str,
    settings: Mapping[str, Any],
    labels: LabelSet,
    start: dict[str, Any] | None,
    data: Data,
) -> None:
    """Train one model on one label source, if there is something to train on."""
    config, name = loop.config, labels.source.name
    place = loop.out / "runs" / model
    recipe = {**_without_places(loop, settings), **labels.source.dpo, **config.settings}
    pairs, digest, ids = labels.pairs, labels.digest, list[int]()
    newest = last = last_finished(place, name)
    stopping = None
    if config.early_stopping:
        stopping = EarlyStopping(config, model, name, recipe, start, data)
        if newest is not None:
            _judge_run(loop, stopping, newest)  # a kill may have come before
        if stopping.is_over():
            _mark_stopped(loop, stopping)
            return
        if stopping.has_fallen():  # with other settings: on from the best
            last = stopping.best()
    if config.train_on == NEW:
        seen = set(last["trained_ids"]) if last else set()
        fresh, table = new_pairs(scan_parquet(table_files(pairs)), seen, config.judge_fold)
        if len(fresh) < config.min_new_pairs:
            loop.outcome.cells[model][name] = UP_TO_DATE if last else WAITING
            if last:
                loop.outcome.folders.setdefault(model, {})[name] = last["folder"]
            return
        ids, digest = sorted(seen | set(fresh)), pairs_digest(table)
    before = (last if config.train_on == NEW else None) or start
    resolved = recipe | ({} if before is None else continuing(recipe, before))
    run = Run(place, name, run_inputs("dpo", resolved, digest))
    if config.train_on == NEW and not loop.dry and run.state()["status"] != DONE:
        pairs = beside(run.folder, ".pairs.parquet")
        write_parquet(pairs, table)
    known = {
        "trained_ids": ids,
        "number": newest["number"] + 1 if newest else 0,
        # A tiny random model is made for the first run; later ones go on with it.
        "tiny_model": before["tiny_model"] if before else str(run.folder / "tiny_model"),
    }
    what = f"{model} x {name}"
    is_done = _train(loop, what, run, Training(DPO, resolved, pairs, run.folder), **known)
    loop.outcome.cells[model][name] = run.state()["status"]
    if is_done:
        loop.outcome.folders.setdefault(model, {})[name] = str(run.folder)
        if stopping is not None:
            _judge_run(loop, stopping, run.state())
            if stopping.is_over():
                _mark_stopped(loop, stopping)


def _judge_run(loop: _Loop, stopping: EarlyStopping, state: dict[str, Any]) -> None:
    line = None if loop.dry else stopping.judge(state)
    if line is not None:
        loop.outcome.did.append(f"{stopping.model} x {stopping.source} early stopping")
        loop.say(line)


def _mark_stopped(loop: _Loop, stopping: EarlyStopping) -> None:
    """Say that a source is over, and where its best result lies, if it is one of its runs."""
    loop.outcome.cells[stopping.model][stopping.source] = STOPPED
    folders, best = loop.outcome.folders.setdefault(stopping.model, {}), stopping.best()
    folders.pop(stopping.source, None)
    if best is not None:
        folders[stopping.source] = best["folder"]


def _train(loop: _Loop, what: str, run: Run, training: Training, **known: Any) -> bool:
    """Train unless that is done; return whether it is done now."""
    state = run.state()
    if state["status"] == DONE:
        return True
    if state["status"] == FAILED and loop.dry:
        loop.outcome.errors[what] = state["error"]
    if loop.dry:
        return False
    if state["status"] == RUNNING:
        loop.say(f"{what}: another process is at it")
        return False
    loop.say(f"{what}: training in {run.folder}")
    known = {"tiny_model": str(run.folder / "tiny_model"), **known, "folder": str(run.folder)}
    with run.working(**known):
        train(training, loop.config.launch)
    loop.outcome.did.append(what)
    return True


def last_finished(place: Path, name: str) -> dict[str, Any] | None:
    """Return the state of the newest finished run of one model and source, None without any."""
    states = [read_state(f) for f in place.glob("*.json")] if place.is_dir() else []
    done = [s for s in states if s["status"] == DONE and s["name"] == name]
    return max(done, key=lambda s: s["number"], default=None)


def _without_places(loop: _Loop, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a recipe without the places that the pipeline decides."""
    ours = ("dataset", "dataset_config", "output_dir", "eval_fold")
    kept = {k: v for k, v in settings.items() if k not in ours}
    fold = loop.config.judge_fold
    return kept if fold is None else {**kept, "eval_fold": fold}


def _judge(
    loop: _Loop,
    model: str,
    settings: Mapping[str, Any],
    sources: Sequence[LabelSource],
    data: Data,
    start: Mapping[str, Any] | None,
) -> None:
    """Judge all sources of a model together, once all of them are done."""
    from ifllm_hf.alignment.pipeline.judge import judge_model

    folders = loop.outcome.folders.get(model, {})
    if len(folders) < len(sources):
        return
    base = str(settings["model_name_or_path"])
    if base.startswith(TINY_PREFIX):
        base = str(last_tiny(loop.out / "runs" / model, folders))
    try:
        place, is_new = judge_model(
            loop.config,
            model,
            base,
            start["folder"] if start else None,
            folders,
            data,
            loop.out,
            full=settings.get("method") == "full",
        )
    except (IFLLMError, RuntimeError) as error:
        loop.fail(f"{model} judging", error)
        return
    loop.judged[model] = place
    if is_new:
        loop.outcome.did.append(f"{model} judging")
        loop.say(f"{model} judging: {place / 'report.md'}")


def last_tiny(place: Path, folders: Mapping[str, str]) -> str:
    """Return the tiny random model that finished runs share.

    Raises:
        OutputError: They were made from different texts, so that there is no common baseline.
    """
    states = [read_state(beside(Path(folder), ".json")) for folder in folders.values()]
    ids = {str(weights_id(s["tiny_model"])) for s in states}
    if len(ids) > 1:
        raise OutputError(
            f"{place}: the sources were trained on {len(ids)} different tiny random models, which "
            "cannot be compared; name one folder as model_name_or_path"
        )
    return str(states[0]["tiny_model"])
