"""The eight models on a GPU: random weights of the true shapes, each with its own recipe.

    python tests/benchmark/dpo_gpu.py                 # all eight, QLoRA and bf16 LoRA
    python tests/benchmark/dpo_gpu.py qwen3-4b        # one

`bench_dpo.py` calls it where CUDA is. For each model and method: pairs and tokens per second over
steps after the first two, the share of the card's bf16 peak that the model's arithmetic needs (MFU:
6 FLOP per weight and token, i.e. policy forward, gradient of activations, reference; recomputation
does not count), the peak of allocated memory, and the same pairs per second of TRL's trainer.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from measuring import Row, row

_CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"
_QWEN = {"vocab_size": 151936, "tie_word_embeddings": True}
# What decides the shapes, from the configs of the models.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2-xl": ("gpt2", {"vocab_size": 50257, "n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "pythia-2.8b": (
        "gpt_neox",
        {"vocab_size": 50304, "hidden_size": 2560, "num_hidden_layers": 32,
         "num_attention_heads": 32, "intermediate_size": 10240},
    ),
    "olmo2-1b": (
        "olmo2",
        {"vocab_size": 100352, "hidden_size": 2048, "num_hidden_layers": 16,
         "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": 8192},
    ),
    "llama-3.2-3b": (
        "llama",
        {"vocab_size": 128256, "hidden_size": 3072, "num_hidden_layers": 28,
         "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
         "intermediate_size": 8192, "tie_word_embeddings": True},
    ),
    "qwen2.5-1.5b": (
        "qwen2",
        {**_QWEN, "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12,
         "num_key_value_heads": 2, "intermediate_size": 8960},
    ),
    "qwen2.5-3b": (
        "qwen2",
        {**_QWEN, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
         "num_key_value_heads": 2, "intermediate_size": 11008},
    ),
    "qwen3-1.7b": (
        "qwen3",
        {**_QWEN, "hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 6144},
    ),
    "qwen3-4b": (
        "qwen3",
        {**_QWEN, "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728},
    ),
}  # fmt: skip
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
_WARM_UP, _STEPS = 2, 8


def build(name: str, folder: Path, shape: dict[str, Any] | None = None) -> Path:
    """Write a model of random bf16 weights and a tokenizer of single letters."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from ifllm_hf.alignment.tiny_models import train_tiny_tokenizer

    kind, true_shape = SHAPES[name]
    tokenizer = train_tiny_tokenizer(["a"])
    end = {key: tokenizer.eos_token_id for key in ("eos_token_id", "bos_token_id")}
    config = AutoConfig.for_model(kind, **(shape or true_shape), **end)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def speed(name: str, method: str, side: str, folder: Path, *more: str) -> dict[str, float]:
    """Train some steps with the recipe's settings; return what was measured.

    Args:
        name: Recipe.
        method: `qlora` or `lora`.
        side: `ours`, or `trl` with the same settings.
        folder: From `build`; results and pairs go beside it.
        *more: Further arguments of the recipe.
    """
    import torch
    from bench_dpo import pairs
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from ifllm_hf.alignment import policy as models
    from ifllm_hf.alignment.dpo import PairDPOTrainer
    from ifllm_hf.alignment.dpo_config import PairDataConfig, PairDPOConfig, PolicyConfig
    from ifllm_hf.alignment.recipe_arguments import parse_recipe
    from ifllm_hf.alignment.training_run import prepare_run

    file = folder.parent / "pairs.jsonl"
    if not file.exists():
        data = pairs(400)
        data.add_column("fold", [1 - (i < 4) for i in range(len(data))]).to_json(str(file))
    out = folder.parent / f"{name}-{method}-{side}"
    arguments = [
        "--config", str(_CONFIGS / f"{name}.yaml"), "--model_name_or_path", str(folder),
        "--method", method, "--dataset", str(file), "--dataset_config", "default",
        "--output_dir", str(out), "--eval_strategy", "no", "--save_strategy", "no",
        "--preference_loss", "dpo", "--max_steps", str(_WARM_UP + _STEPS), *more,
    ]  # fmt: skip
    data_settings, training, policy = parse_recipe(
        (PairDataConfig, PairDPOConfig, PolicyConfig), arguments
    )
    run = prepare_run(policy, training, data_settings)
    loaded = models.load_policy(run.path, policy, training)
    weights = sum(
        p.numel() * (2 if p.dtype == torch.uint8 else 1) for p in loaded.model.parameters()
    )
    common = {
        "model": loaded.model,
        "train_dataset": run.pairs.train,
        "processing_class": run.tokenizer,
        "peft_config": loaded.peft_config,
    }
    if side == "ours":
        trainer: Any = PairDPOTrainer(args=training, ref_model=loaded.ref_model, **common)
    else:
        same = {f.name: getattr(training, f.name) for f in fields(DPOConfig) if f.init}
        same |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, training.nll_weight]}
        trainer = DPOTrainer(args=DPOConfig(**same), **common)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    trainer.add_callback(Clock())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    seconds = (times[-1] - times[_WARM_UP - 1]) / (len(times) - _WARM_UP)
    pairs_per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    rows = trainer.train_dataset
    tokens = sum(
        2 * len(prompt) + len(chosen) + len(rejected)
        for prompt, chosen, rejected in zip(
            rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True
        )
    ) / len(rows)
    per_second = pairs_per_step / seconds
    return {
        "pairs_per_s": per_second,
        "tokens_per_s": per_second * tokens,
        "flops": 6 * weights * per_second * tokens,
        "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0,
    }


def main(names: list[str] | None = None) -> list[Row]:
    """Measure the named recipes, or all eight; needs CUDA."""
    import torch

    if not torch.cuda.is_available():
        return [row("DPO on a GPU", None, note="no CUDA device")]
    card = torch.cuda.get_device_name()
    peak = next((flops for part, flops in _PEAK_FLOPS.items() if part in card), None)
    rows = []
    for name in names or list(SHAPES):
        with tempfile.TemporaryDirectory() as place:
            folder = build(name, Path(place) / "model")
            for method in ("qlora", "lora"):
                ours = speed(name, method, "ours", folder)
                theirs = speed(name, method, "trl", folder)
                label = f"{name} {method}"
                fits = 16.0 if method == "qlora" else None
                fast = 1000 / 90 if (name, method) == ("qwen3-4b", "lora") else None
                rows += [
                    row(f"{label}, pairs", ours["pairs_per_s"], "/s", fast, card, at_most=False),
                    row(f"{label}, tokens", ours["tokens_per_s"], "/s", note=card),
                    row(f"{label}, peak memory", ours["memory_gb"], "GB", fits, card),
                    row(
                        f"{label}, against TRL",
                        ours["pairs_per_s"] / theirs["pairs_per_s"],
                        "times",
                        1.3,
                        card,
                        at_most=False,
                    ),
                ]
                if peak:
                    rows.append(row(f"{label}, MFU", ours["flops"] / peak, "", note=card))
    return rows


if __name__ == "__main__":
    import json

    sys.stdout.write(json.dumps(main(sys.argv[1:]), indent=1) + "\n")
