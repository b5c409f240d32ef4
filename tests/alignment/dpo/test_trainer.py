from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import ConfigError, DataError

# Both are TRL's own use of names that transformers deprecated; peft warns about Conv1D.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


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


# TRL


def test_the_parts_of_trl_that_are_overridden_have_not_moved() -> None:
    import trl
    from trl import DPOTrainer
    from trl.models.utils import disable_gradient_checkpointing
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.utils import add_fused_lm_head, use_adapter

    from ifllm_hf.alignment.dpo.trainer import TRL_MINOR

    assert trl.__version__.startswith(f"{TRL_MINOR}.")
    signatures = {
        DPOTrainer._set_signature_columns_if_needed: ["self"],
        DPOTrainer._prepare_dataset: [
            "self",
            "dataset",
            "processing_class",
            "args",
            "dataset_name",
        ],
        DPOTrainer._precompute_ref_logps: ["self", "dataset", "name", "batch_size"],
        DPOTrainer.compute_ref_log_probs: ["self", "model", "inputs"],
        DPOTrainer.compute_loss: [
            "self",
            "model",
            "inputs",
            "return_outputs",
            "num_items_in_batch",
        ],
        DPOTrainer._get_num_items_in_batch: ["self", "batch_samples", "device"],
        DPOTrainer._save: ["self", "output_dir", "state_dict"],
        DPOTrainer.log: ["self", "logs", "start_time"],
        DataCollatorForPreference.torch_call: ["self", "examples"],
        disable_gradient_checkpointing: ["model", "gradient_checkpointing_kwargs"],
        use_adapter: ["model", "adapter_name"],
        add_fused_lm_head: ["model", "temperature", "cast_lm_head_to_fp32", "outputs"],
    }
    for function, expected in signatures.items():
        assert list(inspect.signature(function).parameters) == expected, function
    relied_upon = {
        DPOTrainer: (
            'model.add_adapter("ref"',  # the frozen copy of an earlier stage's adapter
            "add_fused_lm_head(self.model",
            "self.precompute_ref_logps = args.precompute_ref_log_probs",
            "if args.precompute_ref_log_probs else None",  # else the weights are not hashed
            "self._precompute_model_hash",
            "self.compute_ref_log_probs(model, padded_batch)",
            'inputs["ref_chosen_logps"]',
            'self._metrics[mode]["rewards/margins"]',
        ),
        # One row without padding: labels that are shifted, any other argument passed on.
        add_fused_lm_head: ("shift_labels=None", "getattr(self, backbone_attr)(*args, **kwargs)"),
    }
    for thing, lines in relied_upon.items():
        source = inspect.getsource(thing)
        for line in lines:
            assert line in source, line


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"preference_loss": "dpo", "nll_weight": 0.0}, {"loss_type": ["sigmoid"]}),
        ({"preference_loss": "ipo", "nll_weight": 0.0}, {"loss_type": ["ipo"]}),
        (
            {"preference_loss": "rdpo", "noise_rate": 0.2, "nll_weight": 0.3},
            {
                "loss_type": ["robust", "sft"],
                "loss_weights": [1.0, 0.3],
                "label_smoothing": 0.2,
            },
        ),
    ],
)
def test_loss_and_gradient_equal_trl(
    tiny: Callable[..., Path],
    make_trainer: Make,
    pairs: Any,
    tmp_path: Path,
    ours: Any,
    theirs: Any,
) -> None:
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    mine = make_trainer(
        load(tiny()), ref_model=load(tiny(seed=1)), reference="base", beta=0.5, **ours
    )
    other = DPOTrainer(
        model=load(tiny()),
        ref_model=load(tiny(seed=1)),
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"),
            use_cpu=True,
            bf16=False,
            beta=0.5,
            gradient_checkpointing=False,
            report_to="none",
            **theirs,
        ),
        train_dataset=pairs,
        processing_class=AutoTokenizer.from_pretrained(tiny()),
    )
    results = []
    for trainer in (mine, other):
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, batch_of(trainer))
        loss.backward()
        results.append(
            (loss.detach(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()]))
        )
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "pair_mean", "sum"])
@pytest.mark.parametrize("kind", ["cdpo", "rdpo_paper", "ipo_paper"])
def test_loss_equals_the_formula_on_plain_logits(
    tiny: Callable[..., Path], make_trainer: Make, kind: str, reduction: str
) -> None:
    policy, reference = load(tiny()), load(tiny(seed=1))

    def token_logps(model: Any, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
                :, :-1
            ]
        logps = logits.double().log_softmax(-1).gather(2, batch["input_ids"][:, 1:, None])[..., 0]
        mask = batch["completion_mask"][:, 1:].numpy()
        return logps.numpy() * mask, mask

    trainer = make_trainer(
        policy,
        ref_model=reference,
        reference="base",
        preference_loss=kind,
        beta=0.3,
        nll_weight=0.7,
        nll_reduction=reduction,
    )
    padded = replace(trainer.data_collator, padded=True)([*trainer.train_dataset.select(range(8))])
    pi, mask = token_logps(load(tiny()), padded)
    ref, _ = token_logps(load(tiny(seed=1)), padded)
    delta = (pi.sum(1) - ref.sum(1))[:8] - (pi.sum(1) - ref.sum(1))[8:]
    h, c = 0.3 * delta, padded["confidence"].double().numpy()
    minus_log = np.logaddexp(0, -h), np.logaddexp(0, h)  # of sigmoid(h) and of sigmoid(-h)
    epsilon = np.clip(1 - c, 0, 0.45)
    preference = {
        "cdpo": c * minus_log[0] + (1 - c) * minus_log[1],
        "rdpo_paper": ((1 - epsilon) * minus_log[0] - epsilon * minus_log[1]) / (1 - 2 * epsilon),
        "ipo_paper": (delta - 1 / 0.6) ** 2,
    }[kind].mean()
    nll, tokens = -pi[:8].sum(1), mask[:8].sum(1)
    chosen = {
        "token_mean": nll.sum() / tokens.sum(),
        "pair_mean": (nll / tokens).mean(),
        "sum": nll.mean(),
    }[reduction]
    trainer.model.train()
    assert trainer.padded is None
    seen = trainer.compute_loss(trainer.model, batch_of(trainer)).item()
    assert seen == pytest.approx(preference + 0.7 * chosen, rel=1e-5)


# Training


@pytest.mark.parametrize("kind", ["cdpo", "rdpo_paper"])
def test_accumulation_is_the_same_as_one_batch(make_trainer: Make, pairs: Any, kind: str) -> None:
    results = []
    for size, accumulation in ((8, 1), (1, 8), (2, 4)):
        trainer = make_trainer(
            data=pairs.select(range(20)),  # the last batch of the epoch is half full
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            preference_loss=kind,
            nll_weight=0.5,
            max_steps=4,
        )
        trainer.train()
        results.append((weights(trainer), losses(trainer)))
    for other in results[1:]:
        torch.testing.assert_close(other[0], results[0][0], rtol=1e-4, atol=1e-6)
        assert other[1] == pytest.approx(results[0][1], rel=1e-4)


def test_precomputed_reference_equals_online_reference(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    results = []
    for precompute in (False, True):
        trainer = make_trainer(precompute_ref_log_probs=precompute, max_steps=3)
        trainer.train()
        assert (trainer.ref_model is None) == precompute
        results.append((weights(trainer), losses(trainer)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    make_trainer: Make, tmp_path: Path
) -> None:
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise KeyboardInterrupt

    settings = {
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 2,
        "optim": "adamw_torch",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }
    whole = make_trainer(output_dir=str(tmp_path / "whole"), peft_config=lora(), **settings)
    whole.train()
    killed = make_trainer(
        output_dir=str(tmp_path / "killed"), peft_config=lora(), callbacks=[Kill()], **settings
    )
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = make_trainer(output_dir=str(tmp_path / "killed"), peft_config=lora(), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed" / "checkpoint-2"))
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    assert losses(resumed) == losses(whole)


def test_the_chosen_answer_becomes_likelier_than_the_rejected_one(make_trainer: Make) -> None:
    trainer = make_trainer(max_steps=12, optim="adamw_torch", learning_rate=1e-3)
    trainer.train()
    last = trainer.state.log_history[-2]
    assert last["rewards/margins"] > 0.05
    assert last["rewards/accuracies"] > 0.9


def test_gradient_share_by_confidence_is_that_of_the_formula(
    make_trainer: Make, pairs: Any
) -> None:
    trainer = make_trainer(
        preference_loss="rdpo_paper", per_device_train_batch_size=24, max_steps=1, nll_weight=0.0
    )
    trainer.train()
    confidence = np.asarray(pairs["confidence"], dtype=np.float32)
    pull = 1 / (1 - 2 * np.clip(1 - confidence, 0, 0.45))  # twice the gradient at margin 0
    edges = np.quantile(confidence, np.arange(1, 10) / 10).astype(np.float32)
    decile = (confidence[:, None] >= edges).sum(axis=1)
    expected = np.bincount(decile, weights=pull, minlength=10) / pull.sum()
    logged = next(e for e in trainer.state.log_history if "gradient_share/decile_1" in e)
    seen = [logged[f"gradient_share/decile_{i}"] for i in range(1, 11)]
    np.testing.assert_allclose(seen, expected, rtol=1e-3)
    assert seen[0] > 5 * seen[9]
    np.testing.assert_allclose(trainer.gradient_mass / trainer.gradient_mass.sum(), seen, rtol=1e-6)


def test_the_noise_rate_of_rdpo_is_what_the_confidences_expect(
    make_trainer: Make, pairs: Any
) -> None:
    expected = float(np.mean(1 - np.asarray(pairs["confidence"])))
    assert make_trainer(preference_loss="rdpo").noise_rate == pytest.approx(expected)
    assert make_trainer(preference_loss="rdpo", noise_rate=0.1).noise_rate == 0.1
    coin = pairs.remove_columns("confidence").add_column("confidence", [0.5] * len(pairs))
    with pytest.raises(DataError, match="noise rate is 0.5"):
        make_trainer(preference_loss="rdpo", data=coin)


def test_long_prompts_are_counted_and_cut_answers_too(make_trainer: Make, pairs: Any) -> None:
    rows = pairs.to_list()
    rows[3]["prompt"] = "why " * 200
    rows[5]["chosen"] = " so" * 200
    from datasets import Dataset

    trainer = make_trainer(data=Dataset.from_list(rows), max_length=128)
    assert (trainer.too_long, trainer.cut) == ({"train": 1}, {"train": 1})
    assert len(trainer.train_dataset) == len(rows) - 1
    with pytest.raises(DataError, match="all 24 prompts fill max_length 4"):
        make_trainer(max_length=4)


# Reference


def perturbed(folder: Path) -> Any:
    model = load(folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def test_start_is_the_model_as_it_is_now_where_trl_reloads_it_by_name(
    tiny: Callable[..., Path], make_trainer: Make, pairs: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    trl_trainer = DPOTrainer(
        model=perturbed(tiny()),
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
        ),
        train_dataset=pairs,
        processing_class=AutoTokenizer.from_pretrained(tiny()),
    )
    trl_trainer.model.train()
    trl_trainer.compute_loss(trl_trainer.model, batch_of(trl_trainer))
    assert abs(trl_trainer._metrics["train"]["rewards/margins"][0]) > 0.01  # the silent wrong one

    trainer = make_trainer(perturbed(tiny()), max_steps=1)
    trainer.train()
    assert trainer.step0_margin == 0.0
    assert trainer.state.log_history[0]["rewards/margins"] == 0.0


def test_start_refuses_a_reference_that_is_not_the_start(
    tiny: Callable[..., Path], make_trainer: Make
) -> None:
    trainer = make_trainer(load(tiny()), ref_model=perturbed(tiny()), reference="start")
    before = weights(trainer).clone()
    with pytest.raises(ConfigError, match="reference is 'start', but the largest margin"):
        trainer.train()
    assert torch.equal(weights(trainer), before)


def test_base_without_a_base_is_refused(make_trainer: Make) -> None:
    with pytest.raises(ConfigError, match="reference is 'base' but all weights are trained"):
        make_trainer(reference="base")


@pytest.fixture
def sft_adapter(tiny: Callable[..., Path], tmp_path: Path) -> Path:
    """An adapter that changes what the model says."""
    from peft import get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(load(tiny()), lora(init_lora_weights=False))
    model.save_pretrained(tmp_path / "sft")
    return tmp_path / "sft"


@pytest.mark.parametrize("precompute", [False, True])
def test_an_adapter_is_trained_against_its_frozen_copy_or_against_the_base(
    tiny: Callable[..., Path],
    make_trainer: Make,
    sft_adapter: Path,
    precompute: bool,
) -> None:
    from peft import PeftModel

    margins = {}
    for reference in ("start", "base"):
        model = PeftModel.from_pretrained(load(tiny()), sft_adapter, is_trainable=True)
        trainer = make_trainer(
            model,
            reference=reference,
            precompute_ref_log_probs=precompute,
            max_steps=2,
        )
        frozen = {n: p.clone() for n, p in trainer.model.named_parameters() if ".ref." in n}
        trainer.train()
        margins[reference] = trainer.step0_margin
        assert frozen
        for name, parameter in trainer.model.named_parameters():
            assert parameter.requires_grad == (".default." in name), name
            if ".ref." in name:
                assert torch.equal(parameter, frozen[name])
                trained = trainer.model.get_parameter(name.replace(".ref.", ".default."))
                assert not torch.equal(parameter, trained)
    assert margins["start"] == pytest.approx(0.0, abs=1e-5)
    assert margins["base"] > 0.01


def test_kept_values_of_one_reference_are_never_taken_for_another(
    tiny: Callable[..., Path],
    make_trainer: Make,
    sft_adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from peft import PeftModel

    from ifllm_hf.alignment.dpo import reference_cache

    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "cache"))
    computed: list[str] = []
    save = reference_cache.save
    monkeypatch.setattr(reference_cache, "save", lambda k, v: (computed.append(k), save(k, v)))

    def reference_of(**settings: Any) -> np.ndarray:
        model = PeftModel.from_pretrained(load(tiny()), sft_adapter, is_trainable=True)
        trainer = make_trainer(model, precompute_ref_log_probs=True, **settings)
        return np.asarray(trainer.train_dataset["ref_chosen_logps"])

    start, base = reference_of(), reference_of(reference="base")
    cut = reference_of(max_length=40)
    assert len(set(computed)) == 3
    assert np.abs(start - base).max() > 0.01 and np.abs(start - cut).max() > 0.01
    again = [reference_of(), reference_of(reference="base"), reference_of(max_length=40)]
    assert len(computed) == 3  # each is found again
    for first, second in zip((start, base, cut), again, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_qlora_continues_an_adapter_from_margin_zero(
    tiny: Callable[..., Path], make_trainer: Make, sft_adapter: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    base = AutoModelForCausalLM.from_pretrained(
        tiny(),
        dtype=torch.float32,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
    )
    trainer = make_trainer(
        PeftModel.from_pretrained(base, sft_adapter, is_trainable=True), max_steps=1
    )
    trainer.train()
    assert trainer.step0_margin == 0.0
    assert {p.dtype for n, p in trainer.model.named_parameters() if "lora_" in n} == {
        torch.bfloat16
    }


def test_gradient_checkpointing_changes_no_gradient(make_trainer: Make) -> None:
    results = []
    for checkpointing in (False, True):
        trainer = make_trainer(
            gradient_checkpointing=checkpointing, peft_config=lora(), max_steps=2
        )
        trainer.train()
        results.append(weights(trainer))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preference_loss": "kto"}, "preference_loss is 'kto'"),
        ({"preference_loss": "cdpo", "noise_rate": 0.1}, "does not use it"),
        ({"preference_loss": "rdpo", "noise_rate": 0.5}, r"expected a rate in \[0, 0.5\)"),
        ({"nll_reduction": "mean"}, "nll_reduction"),
        ({"nll_weight": -1.0}, "nll_weight is -1"),
        ({"beta": 0.0}, "beta is 0"),
        ({"reference": "sft"}, "reference is 'sft'"),
        ({"loss_type": ["robust"]}, "set preference_loss instead"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1"),
        ({"sync_ref_model": True}, "sync_ref_model"),
        ({"bf16": True, "use_cpu": False}, "no GPU that supports it was found"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    from ifllm_hf.alignment.dpo import config as dpo_config

    monkeypatch.setattr(dpo_config, "is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        make_trainer(**settings)


def test_another_version_of_trl_is_refused(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trl

    monkeypatch.setattr(trl, "__version__", "1.17.0")
    with pytest.raises(ConfigError, match="trl 1.17.0 is installed"):
        make_trainer()
