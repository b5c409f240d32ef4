"""Train a reward model that reads answers and their readers.

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

import logging
import os
import sys
import warnings
from pathlib import Path


def main() -> int:
    """Parse, run, and print where the result lies."""
    if "--help" not in sys.argv and "-h" not in sys.argv:
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s"
        )
        for name in ("httpx", "httpx2", "datasets", "transformers", "accelerate", "bitsandbytes"):
            logging.getLogger(name).setLevel(logging.WARNING)
    # PEFT and TRL use names that transformers 5 deprecates.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
    from trl import ModelConfig, TrlParser

    from ifllm_hf.alignment.tiny_models import TINY_PREFIX, build_tiny_model
    from ifllm_hf.errors import IFLLMError
    from ifllm_hf.reward.training_config import (
        RewardDataConfig,
        RewardInputConfig,
        RewardTrainingConfig,
    )

    try:
        parser = TrlParser((RewardDataConfig, RewardInputConfig, RewardTrainingConfig, ModelConfig))
        data, inputs, training, backbone = parser.parse_args_and_config()
        name = str(backbone.model_name_or_path)
        if name.startswith(TINY_PREFIX):
            place = Path(f"{training.output_dir}-backbone")
            texts = ["Questions, answers and what people do while they read them."]
            backbone.model_name_or_path = str(
                build_tiny_model(name.removeprefix(TINY_PREFIX), place, texts, training.seed)
            )
        if data.cross_validate:
            from ifllm_hf.benchmark.reward_folds import cross_validate_reward

            result = cross_validate_reward(backbone, inputs, training, data)
        else:
            from ifllm_hf.reward.reward_run import run_reward

            result = run_reward(backbone, inputs, training, data)
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stdout.write(f"{result}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
