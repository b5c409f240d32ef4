"""What a DPO step asks of a device, counted on a CPU: operations per layer, and graphs compiled.

*Kernel-like operations* are those that a GPU would run as kernels of their own: operators in the
profile of one micro step that read or write values (no views, no allocation) and call no other
such operator; a matrix product and an attention call count once, whatever is inside. Per layer is
the difference between a model of three layers and one of one. The reference is computed on the
way, and a batch is 4 pairs. *Graphs* are what `torch.compile` makes for the policy in a forward
pass over 50 batches with the lengths of the IFLLM pairs, beyond those of the first batch.

The model is too small for its time to mean anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_dpo import pairs
from measuring import Row, row

_BATCH, _COMPILED = 4, 50
_ONE_KERNEL = ("mm", "addmm", "addmm_", "bmm", "linear", "matmul")
_NO_KERNEL = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "resize_"),
        *("t", "transpose", "permute", "expand", "expand_as", "as_strided", "alias", "detach"),
        *("detach_", "select", "slice", "narrow", "split", "split_with_sizes", "unbind"),
        *("squeeze", "squeeze_", "unsqueeze", "lift_fresh", "empty", "empty_like", "new_empty"),
        *("empty_strided", "resolve_conj", "resolve_neg", "result_type", "to", "item"),
        "_local_scalar_dense",
    )
)


def build_trainer(folder: Path, layers: int, n_pairs: int, **settings: Any) -> Any:
    """Return the trainer of `bench_dpo` on a model of a few weights."""
    from peft import LoraConfig
    from transformers import LlamaConfig, LlamaForCausalLM

    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer
    from ifllm_hf.alignment.pairs.unpadded import MOST_GROUPS
    from ifllm_hf.training.tiny_models import train_tiny_tokenizer

    tokenizer = train_tiny_tokenizer(["a"])
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    trainer = PairDPOTrainer(
        model=LlamaForCausalLM(config),
        args=PairDPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=_BATCH,
            max_length=1024,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            dataloader_pin_memory=False,
            seed=1,
            **settings,
        ),
        train_dataset=pairs(n_pairs),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=4, target_modules="all-linear", bias="none"
        ),
    )
    trainer.data_collator.most_groups = MOST_GROUPS  # as on a GPU
    return trainer


def batches(trainer: Any) -> Iterator[dict[str, Any]]:
    """Yield the batches of one epoch as the trainer takes them."""
    trainer.model.train()
    for batch in trainer.get_train_dataloader():
        yield trainer._prepare_inputs(batch)


def kernels(events: list[Any]) -> int:
    """Count the operators that a GPU would run as kernels of their own."""
    return sum(_kernels_of(event) for event in events if event.cpu_parent is None)


def _kernels_of(event: Any) -> int:
    name = event.name
    if name.removeprefix("aten::") in _ONE_KERNEL or "attention_for" in name:
        return 1
    inside = sum(map(_kernels_of, event.cpu_children))
    counts = name.startswith("aten::") and name not in _NO_KERNEL
    return inside or int(counts)


def kernels_per_layer(place: Path, *, checkpointing: bool) -> float:
    """Return the kernel-like operations of one micro step, per layer."""
    from torch.profiler import ProfilerActivity, profile

    counted = []
    for layers in (1, 3):
        trainer = build_trainer(
            place / f"{layers}{checkpointing}", layers, 16, gradient_checkpointing=checkpointing
        )
        if checkpointing:
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        first, batch, *_ = batches(trainer)
        trainer.compute_loss(trainer.model, first)  # the reference is checked once
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            trainer.compute_loss(trainer.model, batch).backward()
        counted.append(kernels(list(seen.events())))
    return (counted[1] - counted[0]) / 2


def graphs_after_the_first_batch(place: Path, n_batches: int) -> int:
    """Return the graphs that `torch.compile` makes beyond those of the first batch."""
    import torch
    from torch._dynamo.utils import counters

    trainer = build_trainer(place / "compiled", 2, _BATCH * n_batches, gradient_checkpointing=False)
    torch._dynamo.reset()
    counters.clear()
    policy = torch.compile(trainer.model, backend="eager")
    first = 0
    with torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=10000):
        for batch in batches(trainer):
            trainer._answer_log_probs(policy, batch).sum().backward()
            first = first or counters["stats"]["unique_graphs"]
    return int(counters["stats"]["unique_graphs"] - first)


def main() -> list[Row]:
    """Count; nothing here is timed."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for checkpointing in (False, True):
            name = "with" if checkpointing else "without"
            found = kernels_per_layer(place, checkpointing=checkpointing)
            rows.append(
                row(f"DPO, kernel-like operations per layer, {name} checkpointing", found, "", 300)
            )
        found = graphs_after_the_first_batch(place, _COMPILED)
        rows.append(row(f"DPO, graphs recompiled in {_COMPILED} batches", found, "", 6))
    return rows


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(main(), indent=1) + "\n")
