"""The last step of a pipeline: all label sources of a model judged together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.generate.config import AS_TRAINED
from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.pooled import pool, pooled_markdown
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.pipeline.config import PipelineConfig
from ifllm_hf.alignment.pipeline.data import Data
from ifllm_hf.alignment.pipeline.state import DONE, Run
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.files import write_parquet, write_whole
from ifllm_hf.training.run_record import versions
from ifllm_hf.training.settings_file import build, read_yaml


def judge_model(
    config: PipelineConfig,
    model: str,
    base: str,
    sft: str | None,
    folders: Mapping[str, str],
    data: Data,
    out: Path,
    *,
    full: bool = False,
) -> tuple[Path, bool]:
    """Judge the adapters of a model against what they started from.

    Args:
        config: The pipeline; `config.judge` names a YAML of `recipes/judge.py`, whose models,
            questions and output folder are replaced.
        model: Name of the model.
        base: Its weights.
        sft: The SFT adapter that DPO started from; None: the baseline is the base model.
        folders: Adapter of each label source.
        data: Whose questions are asked, with the folds of the pipeline.
        out: Output folder of the pipeline.
        full: They are whole models, not adapters.

    Returns:
        The folder with the report, and whether it is new.

    Raises:
        IFLLMError: See `run_judge`.
    """
    settings = _judge_settings(config)
    inputs = {
        "judge": settings,
        "load_in_4bit": settings.get("generation", {}).get("load_in_4bit", AS_TRAINED),
        "models": {name: weights_id(place) for name, place in folders.items()},
        "baseline": [weights_id(base), weights_id(sft)],
        "data": data.fingerprint,
        "folds": data.folds,
        "versions": versions(),
    }
    run = Run(out / "judge", model, inputs)
    if run.state()["status"] == DONE:
        return run.folder, False
    with run.working():
        baseline = model_spec("sft" if sft else "start", base, sft, full=full)
        candidates = [model_spec(n, base, place, full=full) for n, place in folders.items()]
        ratio_to = "explicit" if "explicit" in folders else None
        run_judge(judging(config, data, out, baseline, candidates, run.folder, ratio_to))
    return run.folder, True


def model_spec(name: str, base: str, result: str | None, *, full: bool) -> dict[str, Any]:
    """Return the settings of a `ModelSpec`.

    Args:
        name: Name in the report.
        base: What training started from at the very beginning.
        result: Folder of a run; None: the base itself.
        full: The run wrote a whole model, not an adapter.
    """
    whole = full and result is not None
    return {"name": name, "model": result if whole else base, "adapter": None if whole else result}


def judging(
    config: PipelineConfig,
    data: Data,
    out: Path,
    baseline: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    folder: Path,
    ratio_to: str | None = None,
) -> JudgeConfig:
    """Return what `run_judge` takes: the judge of a pipeline, its readers and other models.

    Args:
        config: The pipeline; `config.judge` names a YAML of `recipes/judge.py`.
        data: Whose questions are asked; they are written into `out`.
        out: Output folder of the pipeline.
        baseline: Settings of a `ModelSpec`.
        candidates: Settings of others.
        folder: For answers, verdicts and report.
        ratio_to: See `JudgeConfig`.
    """
    settings = _judge_settings(config)
    questions = out / "judge" / f"questions-{data.fingerprint}.parquet"
    write_parquet(questions, data.questions())
    asked = {"dataset": str(questions), "configs": None, "fold": config.judge_fold}
    made = {
        **settings,
        "baseline": dict(baseline),
        "candidates": [dict(one) for one in candidates],
        "ratio_to": ratio_to,
        "prompts": {**settings.get("prompts", {}), **asked},
        "output_dir": str(folder),
    }
    return build(JudgeConfig, made, str(config.judge))


def _judge_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the judge's YAML without what the pipeline decides."""
    ours = ("baseline", "candidates", "output_dir", "ratio_to")
    return {k: v for k, v in read_yaml(str(config.judge)).items() if k not in ours}


def write_summary(folders: Mapping[str, Path], out: Path) -> None:
    """Compare the label sources over all models that were judged: `summary.md`, `summary.json`."""
    found = pool(folders, "explicit")
    write_whole(out / "judge" / "summary.json", json.dumps(found, indent=2) + "\n")
    write_whole(out / "judge" / "summary.md", pooled_markdown(found))
