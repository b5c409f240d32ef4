"""Settings of a pipeline that trains tiny models."""

from __future__ import annotations

TINY = {
    "model_name_or_path": "tiny-random/llama", "method": "lora", "dtype": "float32", "lora_r": 2,
    "use_cpu": True, "bf16": False, "max_length": 128, "per_device_train_batch_size": 8,
    "max_steps": 1, "eval_strategy": "no", "save_strategy": "no", "gradient_checkpointing": False,
    "disable_tqdm": True, "dataloader_pin_memory": False, "report_to": "none",
    "learning_rate": 1e-2,
}  # fmt: skip
CLICKS = {"name": "explicit", "source": "explicit", "dpo": {"preference_loss": "dpo"}}
# The loop does not care what labels are made of; those of clicks are made fastest.
SECOND = {"name": "second", "source": "explicit", "dpo": {"beta": 0.5}}
