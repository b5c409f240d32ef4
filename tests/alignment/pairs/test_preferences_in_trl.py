"""`preferences` goes into TRL's own trainer as it is loaded, extra columns and all."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest


@pytest.mark.slow
def test_trl_takes_the_preferences_as_they_are(prepared_synthetic: Path, tmp_path: Path) -> None:
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from ifllm_hf.training.tiny_models import build_tiny_model

    pairs = load_dataset(str(prepared_synthetic), "preferences", split="train").select(range(4))
    folder = build_tiny_model("llama", tmp_path / "tiny", pairs["chosen"], seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's own use of names that transformers deprecates
        arguments = DPOConfig(
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            bf16=False,
            max_steps=1,
            per_device_train_batch_size=2,
            max_length=128,
            report_to="none",
            save_strategy="no",
        )
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(str(folder)),
            ref_model=AutoModelForCausalLM.from_pretrained(str(folder)),
            args=arguments,
            train_dataset=pairs,
            processing_class=AutoTokenizer.from_pretrained(str(folder)),
        )
        result = trainer.train()
    assert torch.isfinite(torch.tensor(result.training_loss))
    # The policy starts as its reference: the first loss is that of a coin flip.
    assert result.training_loss == pytest.approx(0.6931, abs=1e-3)
