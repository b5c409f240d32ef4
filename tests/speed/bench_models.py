"""The eight models, each with its own recipe, by QLoRA and by bf16 LoRA; weights are random.

    python tests/speed/run.py models                  # all eight
    python tests/speed/bench_models.py qwen3-4b       # one
    python tests/speed/bench_models.py --vocabulary 512   # a head that costs next to nothing

On a GPU the shapes are the true ones, and TRL's trainer runs beside ours. On a CPU every dimension
is an eighth (hidden, feed-forward, vocabulary, layers; heads keep their ratio), one thread, CPU
seconds: that shows that all eight run and what they cost against each other, and says nothing about
a GPU.

For each model and method, a process of its own: pairs and tokens per second after the first steps;
the share of the machine's peak that the model's arithmetic needs (MFU: 6 FLOP for each weight that
multiplies a token, i.e. policy forward, gradient of activations, reference; recomputation does not
count; a token of a prompt counts for either answer); and peak memory. The peak of a CPU is that of
a bf16 matrix product in the same process. On a CPU the memory is what training added to the
process, beside what `model_memory.py` counts for the same batch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from measuring import Row, row, run_python
from model_memory import (
    CONFIGS,
    METHODS,
    SHAPES,
    config_of,
    matrices_of,
    model_on_meta,
    peak_of_a_step,
)

os.environ.setdefault("OMP_NUM_THREADS", "1")

_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
_EIGHTH = ("vocab_size", "hidden_size", "n_embd", "intermediate_size", "num_hidden_layers",
           "n_layer")  # fmt: skip
_MEASURE = """
import json
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from bench_models import speed
found = speed(sys.argv[3], sys.argv[4], sys.argv[5], Path(sys.argv[6]))
json.dump(found, open(sys.argv[2], "w"))
"""


def small(name: str) -> dict[str, Any]:
    """Return the shape of a model with an eighth of every dimension."""
    shape = dict(SHAPES[name][1])
    shape |= {key: shape[key] // 8 for key in _EIGHTH if key in shape}
    if "n_head" in shape:
        return {**shape, "n_head": 5}
    fewer = min(8, shape.get("num_key_value_heads", 8))
    for key in ("num_attention_heads", "num_key_value_heads"):
        if key in shape:
            shape[key] //= fewer
    return shape


def build(name: str, folder: Path, vocabulary: int | None = None) -> Path:
    """Write a model of random bf16 weights and a tokenizer of single letters.

    The shape is the true one where there is a GPU, else the small one.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from ifllm_hf.training.tiny_models import train_tiny_tokenizer

    tokenizer = train_tiny_tokenizer(["a"])
    shape = SHAPES[name][1] if torch.cuda.is_available() else small(name)
    config = config_of(name, {**shape, "vocab_size": vocabulary or shape["vocab_size"]})
    config.eos_token_id = config.bos_token_id = tokenizer.eos_token_id
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def speed(name: str, method: str, side: str, folder: Path) -> dict[str, float]:
    """Train some steps with the recipe's settings; return what was measured.

    Args:
        name: Recipe.
        method: `qlora` or `lora`.
        side: `ours`, or `trl` with the same settings.
        folder: From `build`; results and pairs go beside it.
    """
    import torch
    from transformers import AutoConfig, TrainerCallback

    on_gpu = torch.cuda.is_available()
    warm_up, steps = (2, 8) if on_gpu else (1, 2)
    trainer = _trainer(name, method, side, folder, warm_up + steps, on_gpu)
    batches: list[list[dict[str, Any]]] = []
    collate = trainer.data_collator

    def noting(examples: list[dict[str, Any]]) -> Any:
        batches.append(examples)
        return collate(examples)

    times: list[float] = []
    memory = _Memory(on_gpu)

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            memory.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() if on_gpu else time.process_time())

    trainer.data_collator = noting
    trainer.add_callback(Clock())
    trainer.train()
    found = memory.end()
    seconds = times[-1] - times[warm_up - 1]
    each = trainer.args.gradient_accumulation_steps
    timed = [pair for batch in batches[warm_up * each : len(times) * each] for pair in batch]
    tokens = sum(map(_tokens, timed)) / seconds
    config = AutoConfig.from_pretrained(folder)
    meta = model_on_meta(name, config)
    weights = sum(weight.numel() for weight in matrices_of(meta))
    adapter = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    found |= {
        "pairs_per_s": len(timed) / seconds,
        "tokens_per_s": tokens,
        "flops": 6 * weights * tokens,
        "parameters": float(sum(p.numel() for p in meta.parameters())),
    }
    if not on_gpu:
        most = max(batches, key=lambda batch: sum(map(_tokens, batch)))
        peak, _ = peak_of_a_step(name, config, method, most, head=True)
        weight_and_moments = 3 * 4  # the rest of ADAPTER_BYTES is in the peak
        found["counted_gb"] = (peak + adapter * weight_and_moments) / 1e9
        found["peak_flops"] = _peak_of_this_cpu()
    return found


def _tokens(pair: dict[str, Any]) -> int:
    return 2 * len(pair["prompt_ids"]) + len(pair["chosen_ids"]) + len(pair["rejected_ids"])


def _trainer(name: str, method: str, side: str, folder: Path, max_steps: int, on_gpu: bool) -> Any:
    from bench_dpo import pairs
    from trl import DPOConfig, DPOTrainer

    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.models import load_policy
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.run import prepare_run
    from ifllm_hf.training.recipe_arguments import parse_recipe

    file = folder.parent / "pairs.jsonl"
    if not file.exists():
        data = pairs(400 if on_gpu else 40)
        data.add_column("fold", [3 * (i < 4) for i in range(len(data))]).to_json(str(file))
    arguments = [
        "--config", str(CONFIGS / f"{name}.yaml"), "--model_name_or_path", str(folder),
        "--method", method, "--dataset", str(file), "--dataset_config", "default",
        "--output_dir", str(folder.parent / f"{name}-{method}-{side}"), "--eval_strategy", "no",
        "--save_strategy", "no", "--preference_loss", "dpo", "--max_steps", str(max_steps),
    ]  # fmt: skip
    if not on_gpu:
        arguments += ["--use_cpu", "true", "--dataloader_pin_memory", "false"]
        arguments += ["--gradient_accumulation_steps", "1"]
    data_settings, training, policy = parse_recipe(
        (PairDataConfig, PairDPOConfig, PolicyConfig), arguments
    )
    run = prepare_run(policy, training, data_settings)
    loaded = load_policy(run.path, policy, training)
    common = {
        "model": loaded.model,
        "train_dataset": run.pairs.train,
        "processing_class": run.tokenizer,
        "peft_config": loaded.peft_config,
    }
    if side == "ours":
        return PairDPOTrainer(args=training, ref_model=loaded.ref_model, **common)
    same = {f.name: getattr(training, f.name) for f in fields(DPOConfig) if f.init}
    same |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, training.nll_weight]}
    return DPOTrainer(args=DPOConfig(**same), **common)


class _Memory:
    """Peak memory of training: all of it on a GPU; on a CPU, what came on top of what was there."""

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._before_gb = 0.0

    def begin(self) -> None:
        import torch

        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        self._before_gb = self._status("VmRSS")

    def end(self) -> dict[str, float]:
        import torch

        if self._on_gpu:
            return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}
        return {"memory_gb": self._status("VmHWM") - self._before_gb}

    @staticmethod
    def _status(name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024 / 1e9


def _peak_of_this_cpu(size: int = 2048) -> float:
    """Return the FLOP per CPU second of the best of some bf16 matrix products."""
    import torch

    a, b = torch.randn(2, size, size).to(torch.bfloat16)
    seconds = []
    for _ in range(6):
        start = time.process_time()
        a @ b
        seconds.append(time.process_time() - start)
    return 2 * size**3 / min(seconds)


def main(names: list[str] | None = None, vocabulary: int | None = None) -> list[Row]:
    """Measure the named recipes, or all eight; with their own vocabulary, or one of this size."""
    import torch

    on_gpu = torch.cuda.is_available()
    card = torch.cuda.get_device_name() if on_gpu else "small shape, CPU"
    peak = next((flops for part, flops in _PEAK_FLOPS.items() if part in card), None)
    rows = []
    for name in names or list(SHAPES):
        with tempfile.TemporaryDirectory() as place:
            folder = build(name, Path(place) / "model", vocabulary)
            for method in METHODS:
                ours = _fresh(name, method, "ours", folder)
                best = ours.get("peak_flops", peak)
                label = f"{name} {method}"
                fast = 1000 / 90 if on_gpu and (name, method) == ("qwen3-4b", "lora") else None
                fits = 16.0 if on_gpu and method == "qlora" else None
                note = f"{card}, {ours['parameters'] / 1e6:.1f} M"
                rows += [
                    row(f"{label}, pairs", ours["pairs_per_s"], "/s", fast, note, at_most=False),
                    row(f"{label}, tokens", ours["tokens_per_s"], "/s", note=note),
                    row(f"{label}, MFU", ours["flops"] / best if best else None, "", note=note),
                    row(f"{label}, peak memory", ours["memory_gb"], "GB", fits, note),
                ]
                if on_gpu:
                    theirs = _fresh(name, method, "trl", folder)
                    faster = ours["pairs_per_s"] / theirs["pairs_per_s"]
                    rows.append(
                        row(f"{label}, against TRL", faster, "times", 1.3, card, at_most=False)
                    )
                else:
                    rows.append(row(f"{label}, memory counted", ours["counted_gb"], "GB"))
    return rows


def _fresh(name: str, method: str, side: str, folder: Path) -> dict[str, float]:
    """Measure in a process of its own."""
    result = folder.parent / "found.json"
    here = str(Path(__file__).parent)
    run_python(_MEASURE, here, str(result), name, method, side, str(folder))
    found: dict[str, float] = json.loads(result.read_text())
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--vocabulary", type=int, help="512: the head then costs next to nothing")
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(main(asked.names, asked.vocabulary), indent=1) + "\n")
