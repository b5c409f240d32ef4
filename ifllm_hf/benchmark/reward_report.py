"""`make reward-report`: what text, behaviour on tokens and trajectory are worth, on the real data.

Five models around one sentence encoder, each trained once per fold of workers, then scored by the
benchmark beside its baselines. Hours on a CPU; finished folds are kept, so it can be stopped and
started again.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError, IFLLMError

FULL: dict[str, Any] = {"max_length": 512, "epochs": 6, "warmup": 10, "repeats": 5, "freeze": False}
QUICK: dict[str, Any] = {"max_length": 256, "epochs": 4, "warmup": 6, "repeats": 1, "freeze": True}
"""Settings of the whole report, and of one that ends within an hour on one core."""
# The cheap ones first.
_ORDER = ("behavior", "text", "text+trajectory", "text+tokens", "text+both")


def reward_report(
    data: Path | str, out: Path | str, *, quick: bool = False, variants: list[str] | None = None
) -> Path:
    """Train every variant and score all of them.

    Args:
        data: A folder written by `ifllm prepare`.
        out: Where runs, predictions and the benchmark's report go.
        quick: The settings `QUICK`.
        variants: Names of `training_config.INPUTS`; all of them by default.

    Returns:
        The benchmark's report.

    Raises:
        ConfigError: No sentence encoder is installed.
    """
    from trl import ModelConfig

    from ifllm_hf.benchmark.reward_folds import cross_validate_reward
    from ifllm_hf.benchmark.run import run_benchmark
    from ifllm_hf.reward.reward_run import load_reward_data
    from ifllm_hf.reward.text_models import local_encoder
    from ifllm_hf.reward.training_config import (
        INPUTS,
        RewardDataConfig,
        RewardInputConfig,
        RewardTrainingConfig,
    )

    encoder, why = local_encoder()
    if encoder is None:
        raise ConfigError(why)
    out, chosen = Path(out), QUICK if quick else FULL
    files = []
    source = RewardDataConfig(dataset=str(data), cross_validate=True, repeats=chosen["repeats"])
    turns = load_reward_data(source)
    for name in variants or _ORDER:
        # The backbone's weights stay as they are, in bf16 (a step takes half as long); an adapter
        # learns, or nothing of the backbone does.
        backbone = ModelConfig(
            model_name_or_path=encoder,
            dtype="bfloat16",
            attn_implementation="eager",
            use_peft=INPUTS[name]["use_text"] and not chosen["freeze"],
            lora_r=8,
            lora_alpha=16,
            lora_dropout=0.0,
        )
        alone = not INPUTS[name]["use_text"]
        training = RewardTrainingConfig(
            output_dir=str(out / name),
            use_cpu=True,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=16,
            num_train_epochs=chosen["warmup"] if alone else chosen["epochs"],
            learning_rate=3e-4,
            behavior_learning_rate=1e-3,
            trajectory_warmup_epochs=chosen["warmup"],
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            logging_strategy="epoch",
            save_total_limit=1,
            save_only_model=True,
            disable_tqdm=True,
            report_to="none",
        )
        found = cross_validate_reward(
            backbone,
            RewardInputConfig(
                inputs=name,
                max_length=128 if alone else chosen["max_length"],  # it reads none of them
                text_dropout=0.0,
                freeze_backbone=chosen["freeze"],
                behavior_dropout=0.2,
            ),
            training,
            source,
            turns=turns,
        )
        files.append(out / f"reward {name}.parquet")
        shutil.copy(found, files[-1])
    run = run_benchmark(
        data, quick=True, predictions=files, out=out / "benchmark", overwrite=True, progress=False
    )
    (out / "benchmark.json").write_text(json.dumps(run.records, indent=2, default=str) + "\n")
    return out / "benchmark" / "report.md"


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("ifllm"), help="prepared folder")
    parser.add_argument("--out", type=Path, default=Path("outputs/reward-report"))
    parser.add_argument("--quick", action="store_true", help="one repeat, short texts, an hour")
    parser.add_argument("--variants", nargs="+", help="only these (default: all five)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    for name in ("httpx", "httpx2", "datasets", "transformers", "accelerate", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        report = reward_report(
            arguments.data, arguments.out, quick=arguments.quick, variants=arguments.variants
        )
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
