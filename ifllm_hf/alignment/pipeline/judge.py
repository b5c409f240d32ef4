"""The last step of a pipeline: all label sources of a model judged together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ifllm_hf.alignment.generate.config import AS_TRAINED
from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.pooled import pool, pooled_markdown
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.pipeline.config import PipelineConfig
from ifllm_hf.alignment.pipeline.labels import Data
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

    Returns:
        The folder with the report, and whether it is new.

    Raises:
        IFLLMError: See `run_judge`.
    """
    ours = ("baseline", "candidates", "output_dir", "ratio_to")
    settings = {k: v for k, v in read_yaml(str(config.judge)).items() if k not in ours}
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
        questions = out / "judge" / f"questions-{data.fingerprint}.parquet"
        write_parquet(questions, data.questions())
        asked = {"dataset": str(questions), "configs": None, "fold": config.judge_fold}
        made = {
            **settings,
            "baseline": {"name": "sft" if sft else "start", "model": base, "adapter": sft},
            "candidates": [{"name": n, "adapter": place} for n, place in folders.items()],
            "ratio_to": "explicit" if "explicit" in folders else None,
            "prompts": {**settings.get("prompts", {}), **asked},
            "output_dir": str(run.folder),
        }
        run_judge(build(JudgeConfig, made, str(config.judge)))
    return run.folder, True


def write_summary(folders: Mapping[str, Path], out: Path) -> None:
    """Compare the label sources over all models that were judged: `summary.md`, `summary.json`."""
    found = pool(folders, "explicit")
    write_whole(out / "judge" / "summary.json", json.dumps(found, indent=2) + "\n")
    write_whole(out / "judge" / "summary.md", pooled_markdown(found))
