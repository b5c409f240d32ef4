"""A trainer with a recipe's settings, a model of random weights and made-up pairs."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from on_card.cell import Task

_LONGEST_PROMPT = 24
# Fewer have other lengths than the IFLLM pairs by chance.
_FEWEST = 36


def trainer_of(task: Task, place: Path) -> tuple[Any, Any, float, float]:
    """Return a trainer with the recipe's settings, its shape, and what took how long.

    Args:
        task: Whose trainer, of which recipe.
        place: An empty folder.

    Returns:
        The trainer; the config; seconds that the weights took (of the clock), and the making up of
        pairs (of the clock on a GPU, of the CPU elsewhere).
    """
    from model_memory import CONFIGS
    from on_card.random_models import build, shape_of, write_folder
    from trl import DPOConfig, DPOTrainer, get_peft_config, get_quantization_config

    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.run import prepare_run
    from ifllm_hf.training.recipe_arguments import parse_recipe

    shape = shape_of(task.shape, task.shrink, task.vocabulary)
    config = write_folder(task.shape, shape, place / "model")
    file = place / "pairs.jsonl"
    arguments = [
        "--config", str(CONFIGS / f"{task.shape}.yaml"), "--model_name_or_path",
        str(place / "model"), "--method", task.method, "--dataset", str(file), "--dataset_config",
        "default", "--output_dir", str(place / "out"), "--eval_strategy", "no", "--save_strategy",
        "no", "--preference_loss", "dpo", "--disable_tqdm", "true", "--report_to", "none",
    ]  # fmt: skip
    if task.device == "cpu":
        arguments += ["--use_cpu", "true", "--dataloader_pin_memory", "false"]
    if task.method == "lora" and task.whole:
        arguments += ["--gradient_checkpointing", "false"]
    data, training, policy = parse_recipe((PairDataConfig, PairDPOConfig, PolicyConfig), arguments)
    training.max_length //= task.shorter
    clock = time.perf_counter if task.device == "cuda" else time.process_time
    start = clock()
    _write_pairs(task, training, file)
    pairs_s = clock() - start
    run = prepare_run(policy, training, data)
    start = time.perf_counter()
    model = build(config, task.device, get_quantization_config(policy))
    weights_s = time.perf_counter() - start
    rows = run.pairs.train
    common = {"model": model, "processing_class": run.tokenizer}
    common["peft_config"] = get_peft_config(policy)
    if task.side == "ours":
        ours = PairDPOTrainer(args=training, train_dataset=rows, **common)
        return ours, config, weights_s, pairs_s
    same = {f.name: getattr(training, f.name) for f in fields(DPOConfig) if f.init}
    same |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, training.nll_weight]}
    if task.side == "trl-grouped":
        same |= {"train_sampling_strategy": "group_by_length", "remove_unused_columns": False}
        lengths = [len(row["prompt"] + row["chosen"] + row["rejected"]) for row in rows]
        rows = rows.add_column("length", lengths)
    theirs = DPOTrainer(args=DPOConfig(**same), train_dataset=rows, **common)
    return theirs, config, weights_s, pairs_s


def step_pairs_of(task: Task, training: Any) -> int:
    recipe: int = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return task.step_pairs or recipe


def longest_pairs_of(task: Task, training: Any) -> int:
    return step_pairs_of(task, training) if task.whole else 0


def _write_pairs(task: Task, training: Any, file: Path) -> None:
    """Write made-up pairs: the longest first, then usual ones, and four that are held out."""
    from bench_dpo import pairs

    n = max(_FEWEST, step_pairs_of(task, training) * (task.warm_up + task.steps))
    usual = pairs((task.pairs if task.kind == "pairs" else n) + 4)
    rows = [
        {side: row[side][: -(-len(row[side]) // task.shorter)] for side in
         ("prompt", "chosen", "rejected")}
        for row in usual
    ]  # fmt: skip
    long = training.max_length
    longest = [
        {"prompt": "p" * (_LONGEST_PROMPT // task.shorter), "chosen": "c" * long,
         "rejected": "r" * long}
        for _ in range(longest_pairs_of(task, training))
    ]  # fmt: skip
    # A prompt that stands on both sides would leave the training side.
    kept = [{**row, "fold": 0} for row in [*longest, *rows[4:]]]
    held_out = [{**row, "fold": 3, "prompt": f"{row['prompt']}?"} for row in rows[:4]]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*kept, *held_out]))
