"""One judging run: questions, answers, verdicts, report; `recipes/judge.py` calls `run_judge`."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.generate.answering import AnsweringWeights, answering_weights, are_alike
from ifllm_hf.alignment.generate.answers import generate_answers, make_backend
from ifllm_hf.alignment.generate.backend import CUT, TOO_LONG, Answer, JudgedPrompt
from ifllm_hf.alignment.generate.backend_choice import backend_name
from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.function import FunctionJudge
from ifllm_hf.alignment.judge.kept_verdicts import KeptVerdicts
from ifllm_hf.alignment.judge.pooled import REPORT, write_items
from ifllm_hf.alignment.judge.prompts import held_out_prompts
from ifllm_hf.alignment.judge.report import compare, markdown, ratios
from ifllm_hf.alignment.judge.reward import RewardJudge
from ifllm_hf.alignment.judge.statistics import Items
from ifllm_hf.alignment.judge.verdict import (
    Comparison,
    Judge,
    Judged,
    Usage,
    content_key,
)
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.policy.load import check_access
from ifllm_hf.alignment.policy.precision import run_of
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import whole_file, write_whole
from ifllm_hf.plot.canvas import file_style, save_png
from ifllm_hf.plot.judge_report import judge_figure
from ifllm_hf.training.run_record import public_name, versions

logger = logging.getLogger(__name__)


def run_judge(
    config: JudgeConfig, *, judge: Judge | None = None, progress: bool = True
) -> dict[str, Any]:
    """Generate what is missing, judge what is missing, and write the report.

    Run it again after a kill: answers and verdicts that are there are not paid for twice.

    Args:
        config: Everything.
        judge: Who judges; default: as `config.judge` says.
        progress: Whether to draw progress bars on stderr.

    Returns:
        The report; it lies in `output_dir` as `report.json`, `report.md` and `report.png`, beside
        `items.parquet`, one row for each question and candidate.

    Raises:
        IFLLMError: Anything a user can act on.
    """
    folder = Path(config.output_dir)
    config = _with_base(config)
    runs = _runs((config.baseline, *config.candidates))
    _check_held_out(runs, config.prompts.fold)
    style = config.format or _trained_format(_runs(config.candidates))
    judge = judge or make_judge(config)
    prompts, ledger = held_out_prompts(config.prompts, style)
    if isinstance(judge, RewardJudge):
        judge.keep_apart_from({p.user_id for p in prompts})
    _check_there(config)
    weights = answering_weights(config.baseline, config.candidates, config.generation)
    answers = _answers(config, weights, prompts, style, folder, progress)
    base = answers[config.baseline.name]
    compared: dict[str, list[Comparison]] = {}
    bar = progress and config.judge.kind != "people"  # it would be drawn over the answers
    cache = config.cache or folder / "verdicts.jsonl"
    with KeptVerdicts(cache, judge, ask_again=config.judge.ask_again) as kept:
        for spec in config.candidates:
            compared[spec.name] = _comparisons(prompts, base, answers[spec.name])
            kept.ask(compared[spec.name], f"{spec.name} · verdicts", bar)
        # After all were asked: what failed for one may have been asked again for another.
        judged = {name: kept.outcome(pairs) for name, pairs in compared.items()}
    found, records = {}, {}
    for name, all_of in judged.items():
        verdicts = [j.verdict for j in all_of if j.verdict is not None]
        orders = len(judge.orders(compared[name][0])) if compared[name] else 1
        found[name], records[name] = compare(
            compared[name],
            verdicts,
            orders=orders,
            pointwise=judge.pointwise,
            draws=config.draws,
            seed=config.seed,
        )
        records[name]["answers"] = _endings(answers[name].values())
    reference = config.ratio_to or config.candidates[0].name
    report: dict[str, Any] = {
        "judge": _account(config, judge, judged),
        "prompts": {
            "dataset": public_name(config.prompts.dataset),
            "n": len(prompts),
            "workers": len({p.user_id for p in prompts}),
            "fold": config.prompts.fold,
            "ledger": ledger.to_dict(),
            "format": asdict(style),
        },
        "baseline": config.baseline.name,
        "baseline_answers": _endings(base.values()),
        "answers": _how_answered(config, answers),
        "models": {s.name: _public(s, weights) for s in (config.baseline, *config.candidates)},
        "unlike": [
            s.name
            for s in config.candidates
            if not are_alike(weights.get(config.baseline.name), weights.get(s.name))
        ],
        "labellers_saw_readers": [
            name for name, run in runs.items() if run.get("data", {}).get("labeller_saw")
        ],
        "candidates": records,
        "ratios": []
        if judge.pointwise
        else ratios(found, reference, draws=config.draws, seed=config.seed),
        "draws": config.draws,
        "seed": config.seed,
        "generation": asdict(config.generation),
        "versions": versions(),
    }
    _write(report, found, folder)
    return report


def make_judge(config: JudgeConfig) -> Judge:
    """Return the judge that the settings name."""
    settings = config.judge
    if settings.kind == "reward":
        return RewardJudge(settings)
    if settings.kind == "function":
        return FunctionJudge(settings)
    if settings.kind == "people":
        from ifllm_hf.alignment.judge.people import PeopleJudge

        return PeopleJudge(settings, ask=_ask, show=_show)
    from ifllm_hf.alignment.judge.endpoint import EndpointJudge

    return EndpointJudge(settings)


def _show(text: str) -> None:
    sys.stderr.write(text + "\n")


def _ask(prompt: str) -> str:
    """Ask where pairs are shown: the report alone goes to stdout."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return input()


def _with_base(config: JudgeConfig) -> JudgeConfig:
    """Fill in the base model of candidates that name only an adapter."""
    filled = tuple(
        spec if spec.answers or spec.model else replace(spec, model=config.baseline.model)
        for spec in config.candidates
    )
    for spec in filled:
        if spec.answers is None and spec.model is None:
            raise ConfigError(f"{spec.name}: neither model nor answers; name one of them")
    return replace(config, candidates=filled)


def _runs(specs: Sequence[ModelSpec]) -> dict[str, dict[str, Any]]:
    """Return what is written of the training of models, of those that have it (`run.json`)."""
    found: dict[str, dict[str, Any]] = {}
    for spec in specs:
        place = spec.adapter or spec.model
        run = run_of(Path(place)) if place and Path(place).is_dir() else None
        if run is not None:
            found[spec.name] = run
    return found


def _check_held_out(runs: Mapping[str, Mapping[str, Any]], fold: int | None) -> None:
    """Refuse to judge a model on readers whom it was trained on.

    Raises:
        ConfigError: A model's `eval_fold` is another than the questions' fold.
    """
    for name, run in runs.items():
        trained_without = run["settings"].get("eval_fold")
        if fold is not None and trained_without != fold:
            raise ConfigError(
                f"{name} was trained with eval_fold {trained_without}, hence on the "
                f"readers of fold {fold} who are to judge; set prompts.fold to its eval_fold, or "
                f"train with eval_fold: {fold} (prompts.fold: null judges on all, and says so)"
            )


def _trained_format(runs: Mapping[str, Mapping[str, Any]]) -> PromptFormat:
    """Return how the candidates were trained to read a question.

    Raises:
        ConfigError: They were trained on different formats.
    """
    known = PromptFormat.__dataclass_fields__
    styles = {
        name: PromptFormat(**{k: v for k, v in run["settings"].items() if k in known})
        for name, run in runs.items()
    }
    if len(set(styles.values())) > 1:
        raise ConfigError(
            f"{' and '.join(styles)} were trained on different prompt formats (see their "
            "run.json); judge them in separate runs, or set format for all"
        )
    if not styles:
        logger.warning(
            "no candidate says how it was trained to read a question; using the format %r",
            PromptFormat().prompt_template,
        )
    return next(iter(styles.values()), PromptFormat())


def _check_there(config: JudgeConfig) -> None:
    """Refuse models that cannot be had, before an hour goes into the answers of the first."""
    asked = [spec for spec in (config.baseline, *config.candidates) if spec.answers is None]
    for place in {place for spec in asked for place in (spec.model, spec.adapter) if place}:
        check_access(place)


def _answers(
    config: JudgeConfig,
    weights: Mapping[str, AnsweringWeights],
    prompts: Sequence[JudgedPrompt],
    style: PromptFormat,
    folder: Path,
    progress: bool,
) -> dict[str, dict[str, Answer]]:
    """Generate for one model after the other, loading a base model once."""
    specs = (config.baseline, *config.candidates)
    shared = None
    asked = [(spec, weights[spec.name]) for spec in specs if spec.name in weights]
    if asked:
        for spec, with_weights in asked:
            logger.info("%s answers with %s", spec.name, with_weights.words)
        name = backend_name(config.generation, asked)
        shared = make_backend(name, style, config.generation)
    answers = {
        spec.name: generate_answers(
            spec,
            prompts,
            style,
            config.generation,
            folder / "answers" / f"{spec.name}.jsonl",
            weights=weights.get(spec.name),
            backend=shared,
            progress=progress,
        )
        for spec in sorted(specs, key=lambda spec: spec.answers is None)
    }
    return {spec.name: answers[spec.name] for spec in specs}


def _comparisons(
    prompts: Sequence[JudgedPrompt], base: Mapping[str, Answer], after: Mapping[str, Answer]
) -> list[Comparison]:
    return [
        Comparison(
            p.prompt_id, p.user_id, p.question, base[p.prompt_id].text, after[p.prompt_id].text
        )
        for p in prompts
        if TOO_LONG not in (base[p.prompt_id].finish, after[p.prompt_id].finish)
    ]


def _account(
    config: JudgeConfig, judge: Judge, judged: Mapping[str, Sequence[Judged]]
) -> dict[str, Any]:
    usage = Usage()
    # Two models that gave the same answer share a verdict: it is counted once.
    counted: set[str] = set()
    failed: Counter[str] = Counter()
    for all_of in judged.values():
        for one in all_of:
            key = content_key(one.comparison, one.first, {})
            if key not in counted:
                usage.add(one.usage)
            counted.add(key)
            if one.verdict is None:
                failed[str(one.failed)] += 1
    settings = config.judge
    cost = None
    if settings.input_price is not None and settings.output_price is not None:
        cost = (
            usage.input_tokens * settings.input_price + usage.output_tokens * settings.output_price
        ) / 1e6
    return {
        "kind": settings.kind,
        "model": public_name(settings.model),
        "protocol": judge.protocol,
        "usage": asdict(usage),
        "cost": cost,
        "input_price": settings.input_price,
        "output_price": settings.output_price,
        "failed": dict(failed),
    }


def _endings(answers: Any) -> dict[str, Any]:
    """Count how answers ended."""
    listed = list(answers)
    return {
        "n": len(listed),
        "cut_at_max_new_tokens": sum(a.finish == CUT for a in listed),
        "prompt_too_long": sum(a.finish == TOO_LONG for a in listed),
        "empty": sum(not a.text for a in listed if a.finish != TOO_LONG),
    }


def _how_answered(config: JudgeConfig, answers: Mapping[str, Mapping[str, Answer]]) -> str:
    sampling = config.generation
    given = [s.name for s in (config.baseline, *config.candidates) if s.answers is not None]
    if len(given) == len(answers):
        return "one for each question, as they were given"
    how = (
        "one for each question, "
        + (
            "the likeliest token each time"
            if sampling.temperature == 0
            else f"sampled at temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, seed "
            f"{sampling.seed}"
        )
        + f", at most {sampling.max_new_tokens} tokens"
        + (f" (those of {', '.join(given)} as they were given)" if given else "")
    )
    cut = {name: _endings(a.values())["cut_at_max_new_tokens"] for name, a in answers.items()}
    return how + "; cut there: " + ", ".join(f"{name} {n}" for name, n in cut.items())


def _public(spec: ModelSpec, weights: Mapping[str, AnsweringWeights]) -> dict[str, Any]:
    named = {k: v if k == "name" else public_name(v) for k, v in asdict(spec).items()}
    answers = weights[spec.name].words if spec.name in weights else "ready answers"
    return {**named, "answered_by": answers}


def _write(report: dict[str, Any], found: Mapping[str, Items], folder: Path) -> None:
    if not any(r["n"] for r in report["candidates"].values()):
        raise DataError(
            "no question has a verdict yet "
            f"({report['judge']['failed'] or 'nothing was asked'}); run the same command again "
            "(with --judge.ask_again true for what the judge refused)"
        )
    write_items(found, folder)
    write_whole(folder / "report.md", markdown(report))
    with whole_file(folder / "report.png") as aside, file_style():
        save_png(judge_figure(report), aside, dpi=120)
    write_whole(folder / REPORT, json.dumps(report, indent=2, allow_nan=False) + "\n")
