"""Adapters are float32 from the first step to the last, resumed or not, on any weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.alignment.policies import lora, weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]
METHODS = pytest.mark.parametrize("method", ["qlora", "lora"])


def policy(folder: Path, method: str) -> Any:
    """The weights as a run has them by default: bfloat16, or NF4 with compute in bfloat16."""
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.load import load_model

    settings = PolicyConfig(model_name_or_path=str(folder), method=method)
    return load_model(str(folder), settings, PairDPOConfig("x", use_cpu=True, bf16=False))


def dtypes(trainer: Any, part: str = "lora_") -> set[torch.dtype]:
    return {p.dtype for name, p in trainer.model.named_parameters() if part in name}


def moments(trainer: Any) -> set[torch.dtype]:
    states = trainer.optimizer.state_dict()["state"].values()
    return {state[name].dtype for state in states for name in ("exp_avg", "exp_avg_sq")}


@METHODS
@pytest.mark.parametrize("stage", ["fresh", "continued"])
def test_a_resumed_run_has_the_dtypes_and_the_end_of_one_that_ran_through(
    stage: str, method: str, tiny: Callable[..., Path], make_trainer: Make, tmp_path: Path
) -> None:
    from peft import PeftModel, get_peft_model

    if stage == "continued":
        torch.manual_seed(1)
        adapter = get_peft_model(policy(tiny(), "lora"), lora(init_lora_weights=False))
        adapter.save_pretrained(tmp_path / "sft")

    def trainer(steps: int) -> Any:
        torch.manual_seed(0)
        model, fresh = policy(tiny(), method), lora()
        if stage == "continued":
            model = PeftModel.from_pretrained(model, tmp_path / "sft", is_trainable=True)
            fresh = None
        made = make_trainer(
            model,
            peft_config=fresh,
            max_steps=steps,
            optim="adamw_torch",
            save_strategy="steps",
            save_steps=2,
        )
        assert dtypes(made) == {torch.float32}
        return made

    def ran(trainer: Any, **how: Any) -> torch.Tensor:
        trainer.train(**how)
        assert dtypes(trainer) == moments(trainer) == {torch.float32}
        return weights(trainer)

    through = ran(trainer(4))
    resumed = trainer(4)
    place = f"{resumed.args.output_dir}/checkpoint-2"
    assert torch.equal(ran(resumed, resume_from_checkpoint=place), through)


def test_an_adapter_of_an_earlier_stage_is_continued_as_it_was_from_margin_zero(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    from peft import get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(policy(tiny(), "qlora"), lora(init_lora_weights=False))
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    trainer = make_trainer(model, max_steps=1)
    assert dtypes(trainer) == {torch.float32}
    for name, weight in before.items():
        assert torch.equal(trainer.model.get_parameter(name), weight)
    trainer.train()
    assert trainer.step0_margin == 0.0


@METHODS
def test_at_a_usual_learning_rate_every_entry_moves(
    method: str, tiny: Callable[..., Path], make_trainer: Make
) -> None:
    trainer = make_trainer(
        policy(tiny(), method),
        peft_config=lora(),
        optim="adamw_torch",
        learning_rate=2e-5,
        max_steps=4,
    )
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora_A" in n}
    trainer.train()
    moved = torch.cat([(trainer.model.get_parameter(n) != p).flatten() for n, p in before.items()])
    assert moved.float().mean() > 0.99


@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
def test_sft_saves_float32_adapters_and_leaves_full_weights_in_the_dtype_asked_for(
    method: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.alignment.sft.run import run_sft

    training = PairSFTConfig(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, max_steps=1, max_length=64,
        gradient_checkpointing=False, eval_strategy="no", save_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=False, per_device_train_batch_size=2, report_to="none",
    )  # fmt: skip
    model = PolicyConfig(model_name_or_path="tiny-random/llama", method=method, dtype="bfloat16")
    folder = run_sft(model, training, PairDataConfig(dataset="made-up", eval_fold=0))
    kind = "model" if method == "full" else "adapter_model"
    saved = {weight.dtype for weight in load_file(folder / f"{kind}.safetensors").values()}
    assert saved == {torch.bfloat16 if method == "full" else torch.float32}


def test_whole_layers_are_float32_where_autocast_brings_the_dtypes_together(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    for mixed in (True, False):
        trainer = make_trainer(
            policy(tiny("olmo2"), "lora"),
            peft_config=lora(modules_to_save=["embed_tokens"]),
            bf16=mixed,
        )
        trainer.train()
        kept = {
            p.dtype
            for name, p in trainer.model.named_parameters()
            if "modules_to_save" in name and p.requires_grad
        }
        assert kept == {torch.float32 if mixed else torch.bfloat16}
        assert dtypes(trainer) == {torch.float32}
