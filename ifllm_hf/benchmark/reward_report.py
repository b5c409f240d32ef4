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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.predictions import read_predictions
from ifllm_hf.benchmark.protocol.subsets import similar_length
from ifllm_hf.benchmark.report.report import markdown_rows
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import ConfigError, IFLLMError
from ifllm_hf.metrics.core import score_interval

FULL: dict[str, Any] = {"max_length": 512, "epochs": 6, "warmup": 10, "repeats": 5, "freeze": False}
QUICK: dict[str, Any] = {"max_length": 256, "epochs": 4, "warmup": 6, "repeats": 1, "freeze": True}
"""Settings of the whole report, and of one that ends within an hour on one core."""
# The cheap ones first.
_ORDER = ("behavior", "text", "text+trajectory", "text+tokens", "text+both")


def reward_report(
    data: Path | str,
    out: Path | str,
    *,
    quick: bool = False,
    variants: list[str] | None = None,
    repeats: int | None = None,
) -> Path:
    """Train every variant and score all of them.

    Args:
        data: A folder written by `ifllm prepare`.
        out: Where runs, predictions and the benchmark's report go.
        quick: The settings `QUICK`.
        variants: Names of `training_config.INPUTS`; all of them by default.
        repeats: How often the folds are drawn anew; default: that of the settings.

    Returns:
        The benchmark's report.

    Raises:
        ConfigError: No sentence encoder is installed.
    """
    from trl import ModelConfig

    from ifllm_hf.benchmark.run import run_benchmark
    from ifllm_hf.benchmark.studies.reward_folds import cross_validate_reward
    from ifllm_hf.reward.baselines.text_models import local_encoder
    from ifllm_hf.reward.training.config import (
        INPUTS,
        RewardDataConfig,
        RewardInputConfig,
        RewardTrainingConfig,
    )
    from ifllm_hf.reward.training.run import load_reward_data

    encoder, why = local_encoder()
    if encoder is None:
        raise ConfigError(why)
    out, chosen = Path(out), QUICK if quick else FULL
    files = []
    drawn = chosen["repeats"] if repeats is None else repeats
    source = RewardDataConfig(dataset=str(data), cross_validate=True, repeats=drawn)
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
    table = gains_over_text(data, {file.stem.removeprefix("reward "): file for file in files})
    (out / "gains.md").write_text(table)
    return out / "benchmark" / "report.md"


def gains_over_text(data: Path | str, files: Mapping[str, Path]) -> str:
    """Return a Markdown table of what each variant adds to the text-only one; "" without that one.

    Paired differences of accuracy and AUC on all labelled pairs and on those of similar length,
    with 95 % bootstrap intervals over readers; predictions are averaged over repeats first.

    Args:
        data: A folder written by `ifllm prepare`.
        files: Predictions of the protocol `worker` by name of the variant, `text` among them.
    """
    if "text" not in files:
        return ""
    pairs = pl.read_parquet(
        config_files(data, "pairwise"),
        columns=["query_id", "user_id", "preference", "response_a", "response_b"],
    ).filter(pl.col("preference").is_in(["a", "b"]))
    p = {
        name: pairs.join(
            read_predictions(file).group_by("query_id").agg(pl.col("p_b").mean()),
            on="query_id",
            how="left",
            maintain_order="left",
        )["p_b"].to_numpy()
        for name, file in files.items()
    }
    y = (pairs["preference"] == "b").to_numpy().astype(float)
    readers = pairs["user_id"].to_numpy()
    similar = pairs["query_id"].is_in(similar_length(pairs).implode()).to_numpy()
    rows = []
    for name in (name for name in files if name != "text"):
        cells = [name]
        for part in (np.ones(len(y), dtype=bool), similar):
            for metric in ("accuracy", "auc"):
                gain = score_interval(
                    metric, y[part], p[name][part], readers[part], versus=p["text"][part]
                )
                cells.append(f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
        rows.append(cells)
    counts = [
        f"{int(part.sum())} pairs of {len(set(readers[part]))} readers"
        for part in (np.ones(len(y), dtype=bool), similar)
    ]
    header = [
        f"less text only ({counts[0]}; similar length: {counts[1]})",
        "accuracy",
        "AUC",
        "similar length: accuracy",
        "AUC",
    ]
    return markdown_rows(header, rows)


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("ifllm"), help="prepared folder")
    parser.add_argument("--out", type=Path, default=Path("outputs/reward-report"))
    parser.add_argument("--quick", action="store_true", help="one repeat, short texts, an hour")
    parser.add_argument(
        "--variants", nargs="+", choices=_ORDER, metavar="NAME", help=f"of {', '.join(_ORDER)}"
    )
    parser.add_argument("--repeats", type=int, help="folds drawn so often; finished ones are kept")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    for name in ("httpx", "httpx2", "datasets", "transformers", "accelerate", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        report = reward_report(
            arguments.data,
            arguments.out,
            quick=arguments.quick,
            variants=arguments.variants,
            repeats=arguments.repeats,
        )
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    gains = (report.parents[1] / "gains.md").read_text()
    sys.stdout.write(f"{gains}\n{report}\n" if gains else f"{report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
