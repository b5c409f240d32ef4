"""From signal to language models: every model with every label source, stopped and resumed at will.

Each step (labels, training, judging) is a `Run`: a folder named by a hash of its settings, its data
and the versions. A run that is done is never done again and never written over; one that was
interrupted goes on. `recipes/pipeline.py` calls `run_pipeline`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ifllm_hf.alignment.generate import weights_id
from ifllm_hf.alignment.pipeline_config import NEW, LabelSource, PipelineConfig
from ifllm_hf.alignment.pipeline_labels import Data, Labels, label_run, make_labels, pairs_digest
from ifllm_hf.alignment.pipeline_training import Training, train
from ifllm_hf.alignment.run_record import versions
from ifllm_hf.alignment.run_state import DONE, FAILED, RUNNING, WAITING, Run, read_state
from ifllm_hf.alignment.tiny_models import TINY_PREFIX
from ifllm_hf.errors import IFLLMError

logger = logging.getLogger(__name__)

Say = Callable[[str], None]
UP_TO_DATE = "up to date"


@dataclass
class Outcome:
    """What stands after a loop, or before one.

    Attributes:
        cells: Status by model and source.
        folders: Where the adapter of each finished cell lies.
        errors: What went wrong, by what was being done.
        did: What this loop did, in order: nothing if nothing was new.
    """

    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    folders: dict[str, dict[str, str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything is done."""
        return not self.errors and all(
            status in (DONE, UP_TO_DATE) for row in self.cells.values() for status in row.values()
        )

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


def run_pipeline(
    config: PipelineConfig,
    models: Mapping[str, Path],
    sources: Sequence[LabelSource],
    *,
    say: Say = logger.info,
    dry: bool = False,
) -> Outcome:
    """Do what is not done yet; one run that fails does not stop the others.

    Args:
        config: The settings.
        models: The YAML of each language model, by name; see `read_pipeline`.
        sources: The label sources.
        say: Takes a line about each step.
        dry: Only look: nothing is labelled or trained.

    Returns:
        What stands now.

    Raises:
        IFLLMError: The data cannot be read.
    """
    out = Path(config.output_dir)
    data = Data(config.data, out)
    outcome = Outcome(cells={m: {s.name: WAITING for s in sources} for m in models})
    labels = _labels(config, sources, data, out, outcome, say, dry)
    for model, file in models.items():
        for source in sources:
            if source.name not in labels:
                outcome.cells[model][source.name] = _of_labels(source, data, config, out)
                continue
            what = f"{model} x {source.name}"
            try:
                _cell(config, model, file, labels[source.name], out, outcome, say, dry)
            except Exception as error:  # out of memory, a broken download: the others can go on
                logger.debug("%s failed", what, exc_info=True)
                outcome.cells[model][source.name] = FAILED
                outcome.errors[what] = f"{type(error).__name__}: {error}"
                say(f"{what}: failed: {error}")
            _free_memory()
        if config.judge is not None and not dry:
            _judge(config, model, file, sources, data, out, outcome, say)
    return outcome


def _labels(
    config: PipelineConfig,
    sources: Sequence[LabelSource],
    data: Data,
    out: Path,
    outcome: Outcome,
    say: Say,
    dry: bool,
) -> dict[str, Labels]:
    made: dict[str, Labels] = {}
    for source in sources:
        run = label_run(source, data, config.judge_fold, out)
        is_done = run.state()["status"] == DONE
        if dry and not is_done:
            continue
        try:
            made[source.name] = make_labels(source, data, config.judge_fold, run)
        except IFLLMError as error:
            outcome.errors[f"labels {source.name}"] = str(error)
            say(f"labels {source.name}: failed: {error}")
            continue
        if not is_done:
            outcome.did.append(f"labels {source.name}")
            say(f"labels {source.name}: {made[source.name].pairs}")
    return made


def _of_labels(source: LabelSource, data: Data, config: PipelineConfig, out: Path) -> str:
    """Return the status of a cell whose labels are not there."""
    status = label_run(source, data, config.judge_fold, out).state()["status"]
    return f"labels {status}" if status in (RUNNING, FAILED) else WAITING


def _cell(
    config: PipelineConfig,
    model: str,
    file: Path,
    labels: Labels,
    out: Path,
    outcome: Outcome,
    say: Say,
    dry: bool,
) -> None:
    """Train one model on one label source, if there is something to train on."""
    name = labels.source.name
    place = out / "runs" / model
    pairs, digest = labels.pairs, labels.digest
    last = last_finished(place, name) if config.train_on == NEW else None
    ids: list[int] = []
    if config.train_on == NEW:
        table = pl.read_parquet(pairs)
        seen = set(last["trained_ids"]) if last else set()
        fresh, table = new_pairs(table, seen, config.judge_fold)
        ids = sorted(seen | set(fresh))
        if len(fresh) < config.min_new_pairs:
            outcome.cells[model][name] = UP_TO_DATE if last else WAITING
            if last:
                outcome.folders.setdefault(model, {})[name] = last["folder"]
            return
        digest = pairs_digest(table)
    settings = _settings(config, file, labels.source, last)
    inputs = {
        "dpo": {**settings, "model_name_or_path": weights_id(settings["model_name_or_path"])},
        "pairs": digest,
        "after": last["key"] if last else None,
        "versions": versions(),
    }
    run = Run(place, name, inputs)
    state = run.state()
    outcome.cells[model][name] = state["status"]
    if state["status"] == FAILED:
        outcome.errors[f"{model} x {name}"] = state["error"]
    if state["status"] != DONE and not dry:
        outcome.errors.pop(f"{model} x {name}", None)
        if state["status"] == RUNNING:
            say(f"{model} x {name}: another process is at it")
            return
        if config.train_on == NEW:
            pairs = run.folder.with_suffix(".pairs.parquet")
            place.mkdir(parents=True, exist_ok=True)
            table.write_parquet(pairs)
        say(f"{model} x {name}: training in {run.folder}")
        with run.working(stage="dpo", model=model, source=name, key=run.key) as known:
            known["folder"] = str(run.folder)
            known["trained_ids"] = ids
            known["number"] = last["number"] + 1 if last else 0
            # A tiny random model was made for the first run of a chain; later ones go on with it.
            known["tiny_model"] = last["tiny_model"] if last else str(run.folder / "tiny_model")
            train(Training(settings, pairs, run.folder), config.launch)
        outcome.did.append(f"{model} x {name}")
        outcome.cells[model][name] = DONE
    if outcome.cells[model][name] == DONE:
        outcome.folders.setdefault(model, {})[name] = str(run.folder)


def new_pairs(
    pairs: pl.DataFrame, seen: set[int], judge_fold: int | None
) -> tuple[list[int], pl.DataFrame]:
    """Return the ids of training pairs that no run has seen, and those pairs with the judge's.

    The judge's readers stay in the file: a question that they asked too leaves the training side.
    """
    judged = pl.lit(False) if judge_fold is None else pl.col("fold") == judge_fold
    fresh = ~judged & ~pl.col("query_id").is_in(sorted(seen))
    return pairs.filter(fresh)["query_id"].to_list(), pairs.filter(fresh | judged)


def last_finished(place: Path, name: str) -> dict[str, Any] | None:
    """Return the state of the newest finished run of one model and source, None without any."""
    states = [read_state(f) for f in place.glob("*.json")] if place.is_dir() else []
    done = [s for s in states if s["status"] == DONE and s["name"] == name]
    return max(done, key=lambda s: s["number"], default=None)


def _settings(
    config: PipelineConfig, file: Path, source: LabelSource, last: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the resolved settings of `recipes/dpo.py`, without places."""
    settings = {**yaml.safe_load(file.read_text()), **source.dpo, **config.settings}
    for name in ("dataset", "dataset_config", "output_dir"):
        settings.pop(name, None)
    settings["eval_fold"] = config.judge_fold
    if config.judge_fold is None:
        settings.pop("eval_fold")
    if last is not None:
        if settings.get("method") == "full":
            settings["model_name_or_path"] = last["folder"]
        else:
            settings["sft_adapter"] = last["folder"]
            if settings["model_name_or_path"].startswith(TINY_PREFIX):
                settings["model_name_or_path"] = last["tiny_model"]
    return settings


def _judge(
    config: PipelineConfig,
    model: str,
    file: Path,
    sources: Sequence[LabelSource],
    data: Data,
    out: Path,
    outcome: Outcome,
    say: Say,
) -> None:
    """Judge all sources of a model together, once all of them are done."""
    from ifllm_hf.alignment.judge import run_judge
    from ifllm_hf.alignment.judge_config import JudgeConfig
    from ifllm_hf.alignment.settings_file import build

    folders = outcome.folders.get(model, {})
    if len(folders) < len(sources):
        return
    settings = {**yaml.safe_load(Path(str(config.judge)).read_text())}
    base = yaml.safe_load(file.read_text())["model_name_or_path"]
    if base.startswith(TINY_PREFIX):  # the same for all sources, if their texts are the same
        base = str(Path(folders[sources[0].name]) / "tiny_model")
    names = [s.name for s in sources]
    inputs = {
        "judge": {k: v for k, v in settings.items() if k not in ("baseline", "candidates")},
        "adapters": {name: weights_id(place) for name, place in folders.items()},
        "data": data.fingerprint,
        "folds": data.folds,
        "versions": versions(),
    }
    run = Run(out / "judge", model, inputs)
    if run.state()["status"] == DONE:
        return
    questions = out / "judge" / f"questions-{data.fingerprint}.parquet"
    say(f"{model}: judging in {run.folder}")
    try:
        with run.working(stage="judge", model=model):
            data.questions().write_parquet(questions)
            made = {
                **settings,
                "baseline": {"name": "start", "model": base},
                "candidates": [{"name": name, "adapter": folders[name]} for name in names],
                "ratio_to": "explicit" if "explicit" in names else None,
                "prompts": {
                    **settings.get("prompts", {}),
                    "dataset": str(questions),
                    "configs": None,
                    "fold": config.judge_fold,
                },
                "output_dir": str(run.folder),
            }
            run_judge(build(JudgeConfig, made, str(config.judge)))
    except IFLLMError as error:
        outcome.errors[f"judging {model}"] = str(error)
        say(f"judging {model}: failed: {error}")
        return
    outcome.did.append(f"judge {model}")


def _free_memory() -> None:
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
