"""Settings of a pipeline that trains tiny models, and what stands in for their training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.pipeline import loop as pipeline
from ifllm_hf.alignment.pipeline.config import read_pipeline
from ifllm_hf.alignment.pipeline.loop import PipelineStatus, run_pipeline
from ifllm_hf.alignment.pipeline.training import Training

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


class Trainer:
    """Stands in for training: notes what was asked for, and writes an adapter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Training] = []
        self.fails: dict[str, BaseException] = {}
        monkeypatch.setattr(pipeline, "train", self)

    def __call__(self, training: Training, launch: Any) -> None:
        self.asked.append(training)
        for name, error in self.fails.items():
            if name in training.folder.name:
                raise error
        training.folder.mkdir(parents=True)
        (training.folder / "adapter_model.safetensors").write_bytes(training.folder.name.encode())
        (training.folder / "tiny_model").mkdir()
        (training.folder / "tiny_model" / "model.safetensors").write_bytes(b"tiny")


def run(
    path: Path, *overrides: str, dry: bool = False, say: Callable[[str], None] = lambda text: None
) -> PipelineStatus:
    config, models, sources = read_pipeline(path, overrides)
    return run_pipeline(config, models, sources, say=say, dry=dry)
