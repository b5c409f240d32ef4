"""Fixtures of the alignment tests: tiny models and small preference datasets, all made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _quiet_and_private(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> Iterator[None]:
    """One thread (two spin on shared cores) and a dataset cache that is not the user's."""
    import datasets
    import torch

    torch.set_num_threads(1)
    cache = tmp_path_factory.getbasetemp() / "datasets-cache"
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path_factory.getbasetemp() / "ifllm-cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build (once per architecture and seed) a tiny random model; returns its folder."""
    from ifllm_hf.training.tiny_models import build_tiny_model, made_up_pairs

    root = tmp_path_factory.mktemp("tiny")
    texts = [text for row in made_up_pairs() for text in (row["prompt"], row["chosen"])]

    def build(architecture: str = "llama", seed: int = 0) -> Path:
        return build_tiny_model(architecture, root / f"{architecture}-{seed}", texts, seed)

    return build


@pytest.fixture
def pairs() -> Any:
    """24 formatted pairs with different confidences and answer lengths."""
    from datasets import Dataset

    rows = [
        {
            "prompt": f"Question: why is {i} so?\n\nAnswer:",
            "chosen": " Because" + " of this" * (1 + i % 5),
            "rejected": " No" + " idea" * (1 + i % 3),
            "confidence": 0.5 + (i % 11) / 20,
        }
        for i in range(24)
    ]
    return Dataset.from_list(rows)


@pytest.fixture
def make_trainer(tiny: Callable[..., Path], pairs: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a factory of trainers on a tiny float32 model on the CPU."""

    def make(
        model: Any = None,
        *,
        data: Any = None,
        callbacks: Any = None,
        peft_config: Any = None,
        ref_model: Any = None,
        eval_dataset: Any = None,
        **settings: Any,
    ) -> Any:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from ifllm_hf.alignment.dpo.config import PairDPOConfig
        from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer

        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "per_device_train_batch_size": 8,
            "max_steps": 2,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "optim": "sgd",
            "max_grad_norm": 0.0,
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            "report_to": "none",
        }
        if model is None:
            model = AutoModelForCausalLM.from_pretrained(tiny())
        return PairDPOTrainer(
            model=model,
            ref_model=ref_model,
            args=PairDPOConfig(**{**defaults, **settings}),
            train_dataset=pairs if data is None else data,
            eval_dataset=eval_dataset,
            processing_class=AutoTokenizer.from_pretrained(tiny()),
            callbacks=callbacks,
            peft_config=peft_config,
        )

    return make
