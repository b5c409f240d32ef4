"""Everything at once: models x sets x protocols, references and subsets, as rows of the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.benchmark.protocol import side_bias
from ifllm_hf.benchmark.protocol.permutation import permutation_test
from ifllm_hf.benchmark.protocol.predictions import (
    IncompleteError,
    check_predictions,
    read_predictions,
)
from ifllm_hf.benchmark.protocol.rows import Labelled, labelled, swap_sides
from ifllm_hf.benchmark.protocol.runner import Swap, cross_validate
from ifllm_hf.benchmark.protocol.scores import (
    Record,
    Scored,
    by_repeat,
    difference,
    majority,
    per_worker,
    score,
)
from ifllm_hf.benchmark.protocol.splits import REPEATS
from ifllm_hf.benchmark.protocol.subsets import standard_subsets
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.baselines.length_rule import LengthRule, reference_models
from ifllm_hf.reward.baselines.protocol import PREFERENCE, Model, Task, config_hash

HEADLINE = "all labelled pairs"
PAPER = "the paper's pairs"


Sets = Mapping[str, Collection[int] | None]
"""Query ids by name of the set, None for all labelled turns."""


@dataclass(frozen=True)
class Plan:
    """What a benchmark run does.

    Attributes:
        repeats: Repeats by protocol; a protocol that is not named is not run.
        seed: Seed of splits and bootstrap.
        draws: Bootstrap draws.
        text_model: Name of the model that stands for "text only" in paired differences.
        permute: Names of the models whose labels are permuted (fast ones).
        permutations: How often.
        side_bias: Names of the models that also run as `conversation + side bias`.
        cache: Folder of finished repeats.
        progress: Whether to draw progress bars on stderr.
    """

    repeats: Mapping[str, int] = field(default_factory=lambda: dict(REPEATS))
    seed: int = 0
    draws: int = 2000
    text_model: str | None = None
    permute: Collection[str] = ()
    permutations: int = 200
    side_bias: Collection[str] = ()
    cache: Path | None = None
    progress: bool = True


@dataclass
class Results:
    """What a run found.

    Attributes:
        records: Rows of the report, JSON types only.
        scored: Averaged predictions by (model, set, protocol), for figures.
        ledgers: Which turns each set kept and dropped.
    """

    records: list[Record] = field(default_factory=list)
    scored: dict[tuple[str, str, str], Scored] = field(default_factory=dict)
    ledgers: dict[str, dict[str, Any]] = field(default_factory=dict)


def run_suite(
    turns: pl.DataFrame,
    models: Sequence[Model],
    plan: Plan,
    *,
    task: Task = PREFERENCE,
    sets: Sets | None = None,
    files: Sequence[Path | str] = (),
    swap: Swap = swap_sides,
) -> Results:
    """Benchmark models, with the reference models beside them.

    Args:
        turns: One row per turn, with any feature columns joined; raw ticks are dropped.
        models: Models to benchmark.
        plan: What to do.
        task: What is predicted.
        sets: See `Sets`; by default one set, all.
        files: Predictions files to score beside the models.
        swap: Exchanges left and right in rows with features.

    Returns:
        Records in the order sets, protocols, models; the whole set first, then its subsets.

    Raises:
        ConfigError: Two models or files of one name, or a plan that names an unknown model.
        DataError: Rows, predictions or files that cannot be used.
    """
    results = Results()
    everyone = [*reference_models(task), *models]
    _check_names(everyone, plan)
    chosen = dict(sets or {HEADLINE: None})
    files_by_part = _Files(files, turns)
    predict = partial(
        cross_validate, seed=plan.seed, cache=plan.cache, progress=plan.progress, swap=swap
    )
    for set_name, ids in chosen.items():
        data = labelled(turns, task, ids)
        results.ledgers[set_name] = data.ledger.to_dict()
        for protocol, repeats in plan.repeats.items():
            found: _Found = {}
            for model in everyone:
                frame = predict(model, data, protocol, repeats=repeats)
                record = _about(model)
                if protocol == "worker" and model.name in plan.permute:
                    record |= permutation_test(
                        model, data, n=plan.permutations, seed=plan.seed, progress=plan.progress
                    )
                found[model.name] = (frame, record)
            found |= files_by_part.scored_on(data, protocol)
            _report(results, found, data, set_name, protocol, plan)
        _run_side_bias(results, everyone, data, set_name, plan, predict)
    files_by_part.refuse_unused(list(chosen))
    return results


_Found = dict[str, tuple[pl.DataFrame, Record]]


def _check_names(models: Sequence[Model], plan: Plan) -> None:
    names = [model.name for model in models]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise ConfigError(f"two models are called {doubled[0]!r}; give each a name of its own")
    asked = [*plan.permute, *plan.side_bias]
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise ConfigError(f"the plan names {unknown[0]!r}, but the models are {', '.join(names)}")


def _about(model: Model) -> Record:
    return {
        "config_hash": config_hash(model),
        "reference": bool(getattr(model, "reference", False)),
        "contaminated": bool(getattr(model, "contaminated", False)),
        "file": None,
    }


class _Files:
    """Predictions files, by the sets and protocols that they cover."""

    def __init__(self, files: Sequence[Path | str], turns: pl.DataFrame) -> None:
        self.turns = turns
        self.parts: dict[tuple[str, str], pl.DataFrame] = {}
        self.reason: dict[tuple[str, str], IncompleteError] = {}
        self.used: set[tuple[str, str]] = set()
        places: dict[str, str] = {}
        for file in files:
            other = places.setdefault(Path(file).stem, str(file))
            if other != str(file):
                raise ConfigError(
                    f"{other} and {file} would share one name in the table; give each file a name "
                    "of its own"
                )
            frame = read_predictions(file)
            for (protocol,), part in frame.group_by("protocol", maintain_order=True):
                self.parts[str(file), str(protocol)] = part

    def scored_on(self, data: Labelled, protocol: str) -> _Found:
        """Return the files that cover the set; one made for a smaller set is passed over."""
        out: _Found = {}
        for (source, declared), frame in self.parts.items():
            if declared != protocol:
                continue
            try:
                part = check_predictions(frame, data, known=self.turns, name=source)
            except IncompleteError as error:
                self.reason[source, declared] = error
                continue
            self.used.add((source, declared))
            about = {"reference": False, "contaminated": False, "file": Path(source).name}
            record = {"config_hash": part["config_hash"][0], **about}
            out[f"{Path(source).stem} (file)"] = (part, record)
        return out

    def refuse_unused(self, sets: list[str]) -> None:
        """Raise if some part of a file was scored on no set at all."""
        for key in self.parts.keys() - self.used:
            if key in self.reason:
                raise self.reason[key]
            raise DataError(
                f"{key[0]}: the protocol {key[1]!r} is not part of this run (sets {sets}); add it "
                "to the run or take its rows out of the file"
            )


def _report(
    results: Results, found: _Found, data: Labelled, set_name: str, protocol: str, plan: Plan
) -> None:
    """Append the rows of one set and protocol: the whole set, then its subsets."""
    scored = {name: Scored(frame, data) for name, (frame, _) in found.items()}
    first = next(iter(scored.values()))
    base: dict[str, Scored] = {"majority": majority(first)} if data.task.binary else {}
    for name, one in (base | scored).items():
        results.scored[name, set_name, protocol] = one
    subsets: dict[str, pl.Series | None] = {"all": None}
    if data.task is PREFERENCE and protocol == "worker":
        subsets |= standard_subsets(first.rows)
    for subset, ids in subsets.items():
        parts = {n: s if ids is None else s.keep(ids) for n, s in (base | scored).items()}
        if base:  # the base rate of the subset, not of the whole
            parts["majority"] = majority(parts["majority"])
        for name, one in parts.items():
            if not len(one.y):
                continue
            record: Record = {
                "model": name,
                "task": data.task.name,
                "set": set_name,
                "protocol": protocol,
                "subset": subset,
                **score(one, draws=plan.draws, seed=plan.seed),
                **_differences(parts, name, plan),
            }
            if name in found:
                frame, about = found[name]
                record |= about
                if ids is None:
                    record |= by_repeat(frame, data)
            else:
                record |= {"reference": True, "contaminated": False, "file": None}
            if ids is None and data.task.binary:
                record |= per_worker(one)
            results.records.append(record)


def _differences(parts: Mapping[str, Scored], name: str, plan: Plan) -> Record:
    one = parts[name]
    if not one.task.binary:
        return {}
    record: Record = {}
    for short, other in (("length", LengthRule().name), ("text", plan.text_model)):
        if other is not None and other in parts and other != name:
            record |= difference(one, parts[other], short, draws=plan.draws, seed=plan.seed)
    return record


def _run_side_bias(
    results: Results,
    models: Sequence[Model],
    data: Labelled,
    set_name: str,
    plan: Plan,
    predict: Callable[..., pl.DataFrame],
) -> None:
    """Append the protocol of its own in which a reader's lean is known from other turns."""
    if not plan.side_bias or "conversation" not in plan.repeats:
        return
    rules = [m for m in models if m.name == LengthRule().name]
    biased = [side_bias.SideBias(m) for m in models if m.name in plan.side_bias]
    found: _Found = {}
    for model in (*rules, *biased):
        frame = predict(model, data, "conversation", repeats=plan.repeats["conversation"])
        found[model.name] = (frame, _about(model))
    _report(results, found, data, set_name, side_bias.PROTOCOL, plan)
