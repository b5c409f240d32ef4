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
from tests.helpers.alignment.policies import batch_of, load, lora, losses, weights

# Both are TRL's own use of names that transformers deprecated; peft warns about Conv1D.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


# TRL


def test_the_parts_of_trl_that_are_overridden_have_not_moved() -> None:
    import trl
    from trl import DPOTrainer
    from trl.models.utils import disable_gradient_checkpointing
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.utils import add_fused_lm_head, use_adapter

    from ifllm_hf.alignment.policy.trl_version import TRL_MINOR

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
            "self._precompute_engine = prepare_deepspeed(self.model, self.accelerator)",
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
    with pytest.raises(DataError, match="24 prompts.*max_length 4"):
        make_trainer(max_length=4)


# Reference


def test_gradient_checkpointing_changes_no_gradient(make_trainer: Make) -> None:
    results = []
    for checkpointing in (False, True):
        trainer = make_trainer(
            gradient_checkpointing=checkpointing, peft_config=lora(), max_steps=2
        )
        trainer.train()
        results.append(weights(trainer))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


def test_another_version_of_trl_is_refused(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trl

    monkeypatch.setattr(trl, "__version__", "1.17.0")
    with pytest.raises(ConfigError, match="trl 1.17.0 is installed"):
        make_trainer()


def test_evaluation_averages_over_pairs_and_not_over_batches(
    make_trainer: Make, tiny: Callable[..., Path], pairs: Any
) -> None:
    """Thirteen pairs: batches of 8 and 5, of 12 and 1, and all at once say the same."""
    found = []
    for size in (13, 8, 12):
        trainer = make_trainer(
            ref_model=load(tiny(seed=1)),
            eval_dataset=pairs.select(range(13)),
            per_device_eval_batch_size=size,
        )
        said = trainer.evaluate()
        ours = (k for k in said if k.startswith(("eval_rewards", "eval_logps", "eval_confidence")))
        found.append({k: said[k] for k in ours})
    assert abs(found[0]["eval_rewards/margins"]) > 1e-3
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-4)
