"""What evidence, text, behaviour on tokens and trajectory are worth: reward models and their gains.

`recipes/reward_report.py` calls `reward_report`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.predictions import read_predictions
from ifllm_hf.benchmark.protocol.subsets import similar_length
from ifllm_hf.benchmark.report.report import Draw, markdown_rows
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_parquet, write_whole
from ifllm_hf.metrics.core import score_interval

FULL: dict[str, Any] = {"max_length": 512, "epochs": 6, "warmup": 10, "repeats": 5, "freeze": False}
QUICK: dict[str, Any] = {"max_length": 256, "epochs": 4, "warmup": 6, "repeats": 1, "freeze": True}
"""Settings of the whole report, and of one that ends within an hour on one core."""
VARIANTS: dict[str, tuple[str, bool]] = {
    "head": ("evidence", True),
    "behavior": ("behavior", False),
    "head + behavior": ("behavior", True),
    "text": ("text", False),
    "head + text": ("text", True),
    "text+trajectory": ("text+trajectory", False),
    "head + text+trajectory": ("text+trajectory", True),
    "text+tokens": ("text+tokens", False),
    "text+both": ("text+both", False),
    "head + text+both": ("text+both", True),
}
"""Name -> what the model reads, and whether its evidence head is on; the cheap ones first."""
BASES = ("text", "head")
"""What the others are compared with."""


def reward_report(
    data: Path | str,
    out: Path | str,
    *,
    quick: bool = False,
    variants: list[str] | None = None,
    repeats: int | None = None,
    draw: Draw | None = None,
) -> Path:
    """Train every variant and score all of them.

    Args:
        data: A folder written by `ifllm prepare`.
        out: Where runs, predictions and the benchmark's report go.
        quick: The settings `QUICK`.
        variants: Names of `VARIANTS`; all of them by default.
        repeats: How often the folds are drawn anew; default: that of the settings.
        draw: Draws the figures of the benchmark's report; none by default.

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
    for name in variants or VARIANTS:
        inputs, head = VARIANTS[name]
        # The backbone's weights stay as they are, in bf16 (a step takes half as long); an adapter
        # learns, or nothing of the backbone does.
        backbone = ModelConfig(
            model_name_or_path=encoder,
            dtype="bfloat16",
            attn_implementation="eager",
            use_peft=INPUTS[inputs]["use_text"] and not chosen["freeze"],
            lora_r=8,
            lora_alpha=16,
            lora_dropout=0.0,
        )
        alone = not INPUTS[inputs]["use_text"]
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
                inputs=inputs,
                evidence_head=head,
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
        data,
        quick=True,
        predictions=files,
        out=out / "benchmark",
        draw=draw,
        overwrite=True,
        progress=False,
    )
    write_whole(out / "benchmark.json", json.dumps(run.records, indent=2, default=str) + "\n")
    named = {file.stem.removeprefix("reward "): file for file in files}
    tables = [gains_over(base, data, named) for base in BASES]
    write_whole(out / "gains.md", "\n".join(table for table in tables if table))
    return out / "benchmark" / "report.md"


def gains_over(base: str, data: Path | str, files: Mapping[str, Path]) -> str:
    """Return a Markdown table of what each variant adds to one of them; "" without that one.

    Paired differences of accuracy and AUC on all labelled pairs and on those of similar length,
    with 95 % bootstrap intervals over readers; predictions are averaged over repeats first.

    Args:
        base: Name of the variant that the others are compared with.
        data: A folder written by `ifllm prepare`.
        files: Predictions of the protocol `worker` by name of the variant.
    """
    if base not in files or len(files) < 2:
        return ""
    pairs = read_parquet(
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
    for name in (name for name in files if name != base):
        cells = [name]
        for part in (np.ones(len(y), dtype=bool), similar):
            for metric in ("accuracy", "auc"):
                gain = score_interval(
                    metric, y[part], p[name][part], readers[part], versus=p[base][part]
                )
                cells.append(f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
        rows.append(cells)
    counts = [
        f"{int(part.sum())} pairs of {len(set(readers[part]))} readers"
        for part in (np.ones(len(y), dtype=bool), similar)
    ]
    header = [
        f"less {base} only ({counts[0]}; similar length: {counts[1]})",
        "accuracy",
        "AUC",
        "similar length: accuracy",
        "AUC",
    ]
    return markdown_rows(header, rows)
