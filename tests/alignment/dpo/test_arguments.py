"""The trainer is called as TRL's is, or says by name what it does not take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ifllm_hf.errors import ConfigError, DataError, IFLLMError
from tests.helpers.alignment.policies import load, lora, weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


def trainer_of(*args: Any, **kwargs: Any) -> Any:
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer

    return PairDPOTrainer(*args, **kwargs)


def settings(folder: Path, **more: Any) -> Any:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig

    return PairDPOConfig(
        output_dir=str(folder / "run"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_steps=2,
        per_device_train_batch_size=4,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **more,
    )


@pytest.mark.parametrize("adapter", [False, True])
def test_a_path_trains_as_the_model_there(
    tiny: Callable[..., Path], pairs: Any, tmp_path: Path, adapter: bool
) -> None:
    trained = []
    for model in (str(tiny()), load(tiny())):
        torch.manual_seed(0)
        trainer = trainer_of(
            model,
            args=settings(tmp_path),
            train_dataset=pairs,
            peft_config=lora() if adapter else None,
        )
        trainer.train()
        assert trainer.step0_margin == pytest.approx(0, abs=1e-6)
        trained.append(weights(trainer))
    torch.testing.assert_close(*trained, rtol=0, atol=1e-6)


def test_settings_and_tokenizer_have_defaults(
    tiny: Callable[..., Path], pairs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def default(output_dir: str) -> Any:  # the real one asks for a GPU
        asked.append(output_dir)
        return settings(tmp_path)

    monkeypatch.setattr("ifllm_hf.alignment.dpo.arguments.PairDPOConfig", default)
    trainer = trainer_of(str(tiny()), train_dataset=pairs)
    assert asked == [f"{tiny().name}-DPO"]
    assert trainer.processing_class.pad_token is not None


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("train_dataset", DataError),
        ("eval_dataset", DataError),
        ("data_collator", ConfigError),
        ("compute_metrics", ConfigError),
        ("args", ConfigError),
        ("processing_class", ConfigError),
        ("ref_model", ConfigError),
    ],
)
def test_what_it_does_not_take_is_refused_by_name(
    tiny: Callable[..., Path], pairs: Any, tmp_path: Path, name: str, error: type[IFLLMError]
) -> None:
    from trl import DPOConfig

    others: dict[str, list[Any]] = {
        "train_dataset": [None, pairs.to_iterable_dataset(), [{"prompt": "why"}]],
        "eval_dataset": [pairs.to_iterable_dataset(), {"one": pairs}],
        "data_collator": [lambda rows: rows],
        "compute_metrics": [lambda prediction: {}],
        "args": [DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)],
        "processing_class": [object()],
        "ref_model": [str(tiny())],
    }
    given = {"args": settings(tmp_path), "train_dataset": pairs}
    for value in others[name]:
        with pytest.raises(error, match=name):
            trainer_of(load(tiny()), **{**given, name: value})


def test_the_loss_of_a_router_is_refused(
    tiny: Callable[..., Path], pairs: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny())
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 2}
    model = MixtralForCausalLM(MixtralConfig(vocab_size=len(tokenizer), **sizes, **heads))
    given = {"train_dataset": pairs, "processing_class": tokenizer}
    for coefficient in (None, 0.1):
        with pytest.raises(ConfigError, match="router_aux_loss_coef"):
            trainer_of(model, args=settings(tmp_path, router_aux_loss_coef=coefficient), **given)
    without = trainer_of(model, args=settings(tmp_path, router_aux_loss_coef=0.0), **given)
    assert not without.aux_loss_enabled
