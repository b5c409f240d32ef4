"""Adapters of tiny models, as our recipes and others leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def train_adapter(out: Path, model: str = "tiny-random/llama", **settings: Any) -> Path:
    """Run a few steps of DPO on made-up pairs; keyword arguments override.

    Args:
        out: The output folder.
        model: What is trained.
        **settings: Of `PolicyConfig`, `PairDPOConfig` or `PairDataConfig`.
    """
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig

    def of(cls: Any, **defaults: Any) -> Any:
        mine = {k: v for k, v in settings.items() if k in cls.__dataclass_fields__}
        return cls(**{**defaults, **mine})

    training = of(
        PairDPOConfig, output_dir=str(out), use_cpu=True, bf16=False, max_steps=4, save_steps=100,
        gradient_checkpointing=False, learning_rate=1e-3, logging_steps=4, disable_tqdm=True,
        max_length=256, per_device_train_batch_size=4, dataloader_pin_memory=False,
    )  # fmt: skip
    policy = of(PolicyConfig, model_name_or_path=model, method="qlora", lora_r=8)
    return run_dpo(policy, training, of(PairDataConfig, dataset="made-up", eval_fold=3))


def plain_adapter(base: Path, out: Path, **settings: Any) -> Path:
    """Write a LoRA adapter with random weights, as PEFT alone does.

    Args:
        base: The model.
        out: Where to.
        **settings: Of `LoraConfig`.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    given = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **settings}
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **given)).save_pretrained(out)
    return out
