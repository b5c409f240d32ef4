"""DPO against TRL's own trainer: pairs per second in paired runs, the same losses, and start-up.

Both train a LoRA of the same random Llama on the same pairs in float32: the same loss (DPO plus 0.2
times the NLL of the chosen answer per token), batch, learning rate and seed, no checkpointing.
*Cold* is an epoch with the reference computed on the way; *warm* has its values from before.
TRL runs with its own flags and, as `grouped`, with its `group_by_length` over a column of lengths
that it does not make by itself; the better of the two is what counts. Runs alternate; on a CPU
seconds are CPU seconds, so that neighbours on the machine do not count.

The pairs have the lengths of the IFLLM pairs (deciles and rank correlation of the release), the
model the proportions of the eight (the head is about 12 % of its linear layers). `bench_models.py`
measures the eight themselves.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Row, row, run_python

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Characters of the 780 pairs of the `preferences` config by decile; answers of one pair correlate.
_PROMPT = (5, 28, 35, 40, 48, 56, 66, 86, 125, 208, 499)
_CHOSEN = (10, 411, 728, 976, 1233, 1423, 1737, 1991, 2199, 2438, 2892)
_REJECTED = (14, 258, 521, 835, 1087, 1345, 1552, 1813, 2079, 2398, 3112)
_RANK_CORRELATION = 0.8
_CHARS_PER_TOKEN = 4
_PAIRS, _BATCH, _REPEATS = 48, 4, 3


def pairs(n: int, seed: int = 0) -> Any:
    """Return made-up pairs whose lengths in tokens are those of the IFLLM pairs."""
    import numpy as np
    from datasets import Dataset
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    cover = [[1.0, _RANK_CORRELATION], [_RANK_CORRELATION, 1.0]]
    ranks = norm.cdf(rng.multivariate_normal([0.0, 0.0], cover, size=n))
    at = np.linspace(0, 1, 11)
    lengths = np.stack(
        [
            np.interp(rng.random(n), at, _PROMPT),
            np.interp(ranks[:, 0], at, _CHOSEN),
            np.interp(ranks[:, 1], at, _REJECTED),
        ],
        axis=1,
    )
    tokens = np.maximum(1, lengths / _CHARS_PER_TOKEN).astype(int)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [["".join(rng.choice(letters, size=k)) for k in row] for row in tokens]
    return Dataset.from_list(
        [
            # No merges in the tokenizer, so that a letter is a token.
            {"prompt": p, "chosen": c, "rejected": r, "length": int(t.sum())}
            for (p, c, r), t in zip(texts, tokens, strict=True)
        ]
    )


def build_model(folder: Path) -> Path:
    """Write a random Llama of 10 M weights and a tokenizer of single letters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ifllm_hf.training.tiny_models import train_tiny_tokenizer

    tokenizer = train_tiny_tokenizer(["a"])
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make(side: str, folder: Path, data: Any, out: Path, *, warm: bool, grouped: bool) -> Any:
    """Return a trainer, ours or TRL's, ready for one epoch."""
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import DPOConfig, DPOTrainer

    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer

    common: dict[str, Any] = {
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": _BATCH,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "dataloader_pin_memory": False,
        "max_length": 1024,
        "precompute_ref_log_probs": warm,
        "train_sampling_strategy": "group_by_length" if grouped else "random",
        "remove_unused_columns": not grouped,  # else Trainer drops the lengths before it groups
    }
    if side == "ours":
        cls: Any = PairDPOTrainer
        args: Any = PairDPOConfig(preference_loss="dpo", nll_weight=0.2, **common)
    else:
        cls = DPOTrainer
        args = DPOConfig(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2], **common)
    trainer = cls(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=16, target_modules="all-linear", bias="none"
        ),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def measure(trainer: Any) -> tuple[float, list[float]]:
    """Train one epoch; return CPU seconds and the loss of every step."""
    start = time.process_time()
    trainer.train()
    seconds = time.process_time() - start
    return seconds, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def compare(progress: Any = None) -> dict[str, Any]:
    """Run everything; return medians of seconds by (side, state) and the losses of both."""
    seconds: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    data = pairs(_PAIRS)
    with tempfile.TemporaryDirectory() as place:
        os.environ["IFLLM_CACHE"] = f"{place}/cache"
        folder = build_model(Path(place) / "model")
        for repeat in range(_REPEATS):
            for warm in (False, True):
                for side, grouped in (("ours", False), ("trl", False), ("trl", True)):
                    name = f"{side} {'warm' if warm else 'cold'}{' grouped' if grouped else ''}"
                    out = Path(place) / f"{name} {repeat}"
                    trainer = make(side, folder, data, out, warm=warm, grouped=grouped)
                    spent, losses[name] = measure(trainer)
                    seconds.setdefault(name, []).append(spent)
                    if progress:
                        progress(f"{name}: {_PAIRS / spent:.2f} pairs/s")
    return {"seconds": seconds, "losses": losses}


# A fresh process, 780 pairs tokenised, bitsandbytes and all; without the loading of weights.
_START = """
import json, time
start = time.perf_counter(), time.process_time()
from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.training.recipe_arguments import parse_recipe
from ifllm_hf.alignment.dpo import trainer as dpo
from ifllm_hf.alignment.dpo import run as dpo_run
loading = [0.0, 0.0]
def now():
    return time.perf_counter(), time.process_time()
load = dpo_run.load_policy
def timed(*arguments):
    before = now()
    loaded = load(*arguments)
    loading[:] = (b - a for a, b in zip(before, now()))
    return loaded
dpo_run.load_policy = timed
class Ready(Exception):
    pass
def step(self, *arguments, **more):
    found = [b - a - c for a, b, c in zip(start, now(), loading)]
    open(sys.argv[1], "w").write(json.dumps(found))
    raise Ready
dpo.PairDPOTrainer.training_step = step
data, training, weights = parse_recipe(
    (PairDataConfig, PairDPOConfig, PolicyConfig), sys.argv[2:]
)
try:
    dpo_run.run_dpo(weights, training, data)
except Ready:
    pass
"""


def start_up() -> list[Row]:
    """Measure from a fresh Python to the first step of `recipes/dpo.py`."""
    import json

    config = Path(__file__).parents[2] / "recipes" / "configs" / "smoke.yaml"
    found = []
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "pairs.jsonl"
        pairs(780).add_column("fold", [i % 5 for i in range(780)]).to_json(str(data))
        for i in range(_REPEATS):
            result = Path(place) / "seconds"
            arguments = ["--config", str(config), "--dataset", str(data), "--max_length", "1024"]
            arguments += ["--output_dir", f"{place}/{i}"]
            run_python(_START, str(result), *arguments)
            found.append(json.loads(result.read_text()))
    wall, cpu = (statistics.median(each) for each in zip(*found, strict=True))
    # One thread: on an idle machine the wall clock shows the CPU seconds.
    return [
        row("DPO, start to first step without loading weights, CPU", cpu, "s", 10.0),
        row("DPO, start to first step without loading weights, wall", wall, "s"),
    ]


def main() -> list[Row]:
    """Measure; targets are those of the alignment room."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import sys

    import torch

    torch.set_num_threads(1)
    found = compare(lambda text: sys.stderr.write(text + "\n"))
    seconds, losses = found["seconds"], found["losses"]
    rows = []
    for state in ("cold", "warm"):
        ours = seconds[f"ours {state}"]
        rows.append(
            row(f"DPO {state}, ours", _PAIRS / statistics.median(ours), "pairs/s", note="CPU")
        )
        for kind, target in (("", 1.9), (" grouped", 1.7)):
            theirs = seconds[f"trl {state}{kind}"]
            ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
            rows.append(
                row(f"DPO {state}, against TRL{kind}", ratio, "times", target, at_most=False)
            )
    apart = max(
        abs(a - b)
        for state in ("cold", "warm")
        for a, b in zip(losses[f"ours {state}"], losses[f"trl {state}"], strict=True)
    )
    rows.append(row("DPO, largest difference of a step's loss from TRL's", apart, "nats", 2.4e-5))
    rows += start_up()
    return rows


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(main(), indent=1) + "\n")
