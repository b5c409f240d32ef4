"""A model, an adapter for it, and what a trainer holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def lora(**settings: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], **settings)


def batch_of(trainer: Any, n: int = 8) -> dict[str, Any]:
    return trainer.data_collator([trainer.train_dataset[i] for i in range(n)])


def weights(trainer: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
