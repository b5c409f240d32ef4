"""What was computed with 4-bit weights before changes neither a gradient nor the weights.

Each test runs with the kernel of this processor, where it has one, and with a stand-in for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.packed_kernel import KERNELS, use_kernel
from tests.helpers.alignment.policies import batch_of, lora, weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


@pytest.fixture(params=KERNELS, autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    use_kernel(request.param, monkeypatch)


def four_bits() -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


def loaded_by_us(folder: Path) -> Any:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.load import load_model

    policy = PolicyConfig(model_name_or_path=str(folder), method="qlora", dtype="float32")
    return load_model(str(folder), policy, PairDPOConfig("x", use_cpu=True, bf16=False))


def loaded_by_the_user(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=four_bits()
    )


def to_answer_with(folder: Path) -> Any:
    from ifllm_hf.alignment.policy.load import load_in_precision
    from ifllm_hf.alignment.policy.precision import Precision

    precision = Precision(True, "float32")
    return load_in_precision(str(folder), precision, torch.device("cpu"))


def adapted(model: Any) -> Any:
    """Put an adapter on that changes what the model says."""
    from peft import get_peft_model

    torch.manual_seed(1)
    return get_peft_model(model, lora(init_lora_weights=False))


def ids() -> torch.Tensor:
    return torch.arange(4, 36).reshape(2, 16)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=ids()).logits)


def gradient(trainer: Any) -> torch.Tensor:
    trainer.model.train()
    trainer.compute_loss(trainer.model, batch_of(trainer)).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])


@pytest.mark.parametrize("load", [loaded_by_us, loaded_by_the_user])
def test_the_gradient_after_a_forward_in_evaluation_mode_is_that_of_a_fresh_model(
    load: Callable[[Path], Any], tiny: Callable[..., Path], make_trainer: Make, pairs: Any
) -> None:
    def trainer(**settings: Any) -> Any:
        torch.manual_seed(1)
        adapter = lora(init_lora_weights=False)
        return make_trainer(
            load(tiny()), peft_config=adapter, reference="base", eval_dataset=pairs, **settings
        )

    right = gradient(trainer())
    evaluated = trainer()
    evaluated.evaluate()
    asked = trainer()
    asked.model.eval()
    asked.model.generate(input_ids=ids(), max_new_tokens=2)
    for after in (evaluated, asked, trainer(precompute_ref_log_probs=True)):
        torch.testing.assert_close(gradient(after), right, atol=1e-6, rtol=1e-4)


def test_a_run_that_evaluates_and_is_resumed_ends_like_one_that_does_neither(
    tiny: Callable[..., Path], make_trainer: Make, pairs: Any
) -> None:
    def trainer(**settings: Any) -> Any:
        torch.manual_seed(1)
        return make_trainer(
            loaded_by_us(tiny()), peft_config=lora(), max_steps=4, save_steps=2, **settings
        )

    plain = trainer()
    plain.train()
    settings: dict[str, Any] = {
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "eval_steps": 1,
        "eval_dataset": pairs,
        "precompute_ref_log_probs": True,
    }
    trainer(**settings).train()
    resumed = trainer(**settings)
    resumed.train(resume_from_checkpoint=f"{resumed.args.output_dir}/checkpoint-2")
    torch.testing.assert_close(weights(resumed), weights(plain), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("load", [loaded_by_us, to_answer_with])
def test_a_model_that_has_answered_is_merged_dequantised_and_saved_as_it_was(
    load: Callable[[Path], Any], tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    def answered() -> Any:
        model = load(tiny()).eval()
        model.generate(input_ids=ids(), max_new_tokens=2)
        return model

    model = load(tiny())
    with torch.no_grad():
        right = model.train()(input_ids=ids()).logits
    torch.testing.assert_close(logits(answered()), right, atol=1e-5, rtol=1e-4)
    answered().save_pretrained(tmp_path / "saved")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).train()
    assert torch.equal(logits(saved), right)
    torch.testing.assert_close(logits(answered().dequantize().float()), right, atol=1e-4, rtol=1e-3)
    with_adapter = adapted(load(tiny()))
    before = logits(with_adapter.train())
    used = adapted(answered()).eval()
    logits(used)
    with pytest.warns(UserWarning, match="rounding"):  # merging into 4 bits rounds anew
        merged = used.merge_and_unload()
    with pytest.warns(UserWarning, match="rounding"):
        fresh = with_adapter.train().merge_and_unload()
    torch.testing.assert_close(logits(merged), logits(fresh), atol=1e-4, rtol=1e-3)
    assert (logits(merged) - before).abs().mean() < 0.2 * before.abs().mean()


def test_a_model_that_the_trainer_loads_by_its_path_is_kept_too(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    trainer = make_trainer(
        str(tiny()),
        peft_config=lora(init_lora_weights=False),
        reference="base",
        model_init_kwargs={"quantization_config": four_bits(), "dtype": "float32"},
    )
    right = gradient(trainer)
    trainer.model.zero_grad()
    logits(trainer.model.eval())
    torch.testing.assert_close(gradient(trainer), right, atol=1e-6, rtol=1e-4)


def test_a_model_that_was_repacked_before_is_refused(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    model = loaded_by_the_user(tiny()).eval()
    logits(model)
    with pytest.raises(ConfigError, match=r"q_proj were repacked.*load the model again"):
        make_trainer(model, peft_config=lora())
