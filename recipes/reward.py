# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
"""Train a reward model that reads answers and their readers.

Whatever fits this machine; what was chosen is said first, and the same command goes on:

    accelerate launch recipes/reward.py

Dry run on any machine (a tiny random model, a minute on one core):

    accelerate launch recipes/reward.py --config recipes/configs/reward-smoke.yaml --dataset ./ifllm

One model on the IFLLM pairs, one fold of readers held out:

    accelerate launch recipes/reward.py --config recipes/configs/reward.yaml \
        --model_name_or_path answerdotai/ModernBERT-base --eval_fold 3 --output_dir outputs/reward

One model per fold of readers, scored by the benchmark beside its baselines:

    accelerate launch recipes/reward.py --config recipes/configs/reward.yaml \
        --cross_validate true --output_dir outputs/folds
    ifllm benchmark --quick --predictions outputs/folds/predictions.parquet

Any setting of the YAML can be overridden on the command line; `--help` lists them. LoRA and 4-bit:
`--use_peft true`, `--load_in_4bit true`. The model, its processor and its settings (`run.json`) end
up in `--output_dir`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ifllm_hf.training.recipe_arguments import parse_recipe, recipe_main


def run() -> str:
    """Parse and train; return where the result lies."""
    from trl import ModelConfig

    from ifllm_hf.alignment.policy.load import check_access
    from ifllm_hf.errors import ConfigError
    from ifllm_hf.reward.training.config import (
        RewardDataConfig,
        RewardInputConfig,
        RewardTrainingConfig,
    )
    from ifllm_hf.training.checkpoints import checkpoint_to_resume
    from ifllm_hf.training.tiny_models import TINY_PREFIX, build_tiny_model

    data, inputs, training, backbone = parse_recipe(
        (RewardDataConfig, RewardInputConfig, RewardTrainingConfig, ModelConfig), stage="reward"
    )
    if backbone.model_name_or_path is None:
        raise ConfigError(
            "model_name_or_path is missing; give --config recipes/configs/reward.yaml, or name "
            "a text backbone"
        )
    training.device  # noqa: B018  (sets the process group up as the settings say)
    if not data.cross_validate:  # a place that is taken is refused before anything is made
        checkpoint_to_resume(training.output_dir, training.resume_from_checkpoint)
    name = str(backbone.model_name_or_path)
    check_access(name)
    if name.startswith(TINY_PREFIX):
        place = Path(f"{training.output_dir}-backbone")
        texts = ["Questions, answers and what people do while they read them."]
        backbone.model_name_or_path = str(
            build_tiny_model(name.removeprefix(TINY_PREFIX), place, texts, training.seed)
        )
    if data.cross_validate:
        from ifllm_hf.benchmark.studies.reward_folds import cross_validate_reward

        return str(cross_validate_reward(backbone, inputs, training, data))
    from ifllm_hf.reward.training.run import run_reward

    return str(run_reward(backbone, inputs, training, data))


if __name__ == "__main__":
    sys.exit(recipe_main(run))
