"""Which models and data `recipes/pipeline.py` takes where no YAML is named."""

from __future__ import annotations

import json
from pathlib import Path

from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.files import shipped_folder
from ifllm_hf.training.default_recipe import has_offer
from ifllm_hf.training.without_config import (
    choose_here,
    find_data,
    folds_of,
    made_up_folder,
    output_dir,
    say,
)


def pipeline_without_config() -> tuple[Path, list[str]]:
    """Return a YAML and what goes before it: one model for this machine, on the data it finds."""
    recipes = shipped_folder("recipes")
    chosen = choose_here("dpo")
    out = output_dir("pipeline", chosen)
    say(f"no --config: {chosen.said}; results go to {out}")
    folder = find_data() or made_up_folder()
    folds = folds_of(folder)
    settings = {
        "models": [f"configs/{chosen.file.name}"],
        "data": str(folder),
        "judge_fold": JUDGE_FOLD if JUDGE_FOLD in folds else folds[-1],
        "output_dir": out,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", json.dumps(value))]
    name = "pipeline.yaml" if has_offer(chosen.file) else "pipeline-smoke.yaml"
    return recipes / name, words
