"""The trainer beside TRL's, on the same batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.alignment.policies import batch_of, load, lora

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


@pytest.fixture
def answers() -> Any:
    """13 formatted answers, 5 of them wanted, with different confidences and lengths."""
    from datasets import Dataset

    rows = [
        {
            "prompt": f"Question: why is {i} so?\n\nAnswer:",
            "completion": " Because" + " of this" * (1 + i % 5),
            "label": i % 3 == 1 or i == 12,
            "confidence": 0.5 + (1 + i % 10) / 20,
        }
        for i in range(13)
    ]
    return Dataset.from_list(rows)


@pytest.fixture
def make(tiny: Callable[..., Path], answers: Any, tmp_path: Path) -> Make:
    """Return a factory of trainers on a tiny float32 model on the CPU, ours or TRL's."""

    def trainer(model: Any = None, *, theirs: bool = False, data: Any = None, **given: Any) -> Any:
        from transformers import AutoTokenizer
        from trl import KTOConfig, KTOTrainer

        from ifllm_hf.alignment.kto.config import UnpairedKTOConfig
        from ifllm_hf.alignment.kto.trainer import UnpairedKTOTrainer

        handed = {k: given.pop(k) for k in ("ref_model", "peft_config") if k in given}
        settings = {
            "output_dir": str(tmp_path / "run"), "use_cpu": True, "bf16": False, "beta": 0.5,
            "gradient_checkpointing": False, "per_device_train_batch_size": 4,
            "disable_tqdm": True, "dataloader_pin_memory": False, "report_to": "none", **given,
        }  # fmt: skip
        return (KTOTrainer if theirs else UnpairedKTOTrainer)(
            model=load(tiny()) if model is None else model,
            args=(KTOConfig if theirs else UnpairedKTOConfig)(**settings),
            train_dataset=answers if data is None else data,
            processing_class=AutoTokenizer.from_pretrained(tiny()),
            **handed,
        )

    return trainer


def loss_of(trainer: Any, batch: dict[str, Any]) -> torch.Tensor:
    trainer.model.train()
    loss: torch.Tensor = trainer.compute_loss(trainer.model, batch)
    return loss


def test_the_parts_of_trl_that_are_overridden_have_not_moved() -> None:
    from trl import KTOTrainer
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    signatures = {
        KTOTrainer._set_signature_columns_if_needed: "self",
        KTOTrainer._prepare_dataset: "self dataset processing_class args dataset_name",
        KTOTrainer._precompute_ref_logps: "self dataset name batch_size",
        KTOTrainer.compute_ref_log_probs: "self model inputs",
        KTOTrainer._compute_kl_logps: "self model batch",
        KTOTrainer.compute_loss: "self model inputs return_outputs num_items_in_batch",
        KTOTrainer._save: "self output_dir state_dict",
        DataCollatorForUnpairedPreference.torch_call: "self examples",
    }
    for function, expected in signatures.items():
        assert " ".join(inspect.signature(function).parameters) == expected, function
    source = inspect.getsource(KTOTrainer)
    for line in (
        # One weight for each answer where TRL has one for each kind.
        "(self.desirable_weight * chosen_losses, self.undesirable_weight * rejected_losses)",
        "chosen_logps = completion_logps.index_select(0, chosen_idx)",
        "loss = losses.nanmean()",
        'if dataset_name == "train" and isinstance(dataset, Dataset)',  # its word about weights
        'adapter_name="ref" if "ref" in',  # the copy of an earlier adapter, else none
        "if is_peft_model(self.model) or (args.precompute_ref_log_probs",  # else a name is loaded
        "self.precompute_ref_logps = args.precompute_ref_log_probs",
        '"KL_completion_ids"] = [examples["completion_ids"][-1]]',
    ):
        assert line in source, line


def test_with_sure_labels_loss_and_gradient_are_those_of_trl(
    tiny: Callable[..., Path], make: Make, answers: Any
) -> None:
    sure = answers.remove_columns("confidence")
    ours = make(ref_model=load(tiny(seed=1)), reference="base", data=sure)
    weights = {"desirable_weight": ours.kinds[0][1], "undesirable_weight": ours.kinds[1][1]}
    theirs = make(
        ref_model=load(tiny(seed=1)), theirs=True, data=sure.shuffle(ours.args.seed), **weights
    )
    assert weights["desirable_weight"] == pytest.approx(8 / 5 * 7 / 6)
    found = []
    for trainer in (ours, theirs):
        loss = loss_of(trainer, batch_of(trainer, 4))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
        found.append((loss.detach(), gradient))
    assert abs(float(found[0][1].abs().max())) > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-8)


def test_the_loss_is_the_formula_with_a_weight_for_each_answer(
    tiny: Callable[..., Path], make: Make
) -> None:
    """Equation 7 of the paper by hand, from plain logits."""
    trainer = make(ref_model=load(tiny(seed=1)), reference="base", desirable_weight=1.5)
    batch = batch_of(trainer, 4)
    batch["label"] = torch.tensor([True, False, False, True])
    batch["confidence"] = torch.tensor([1.0, 0.5, 0.8, 0.6])

    def ratio(prefix: str) -> torch.Tensor:
        ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"][:, 1:]
        sums = []
        for model in (load(tiny()), load(tiny(seed=1))):
            with torch.no_grad():
                logits = model(ids, attention_mask=batch[f"{prefix}attention_mask"]).logits[:, :-1]
            of_words = logits.double().log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
            sums.append((of_words * mask).sum(1))
        return sums[0] - sums[1]

    z = ratio("KL_").mean().clamp(min=0)
    sign = torch.tensor([1.0, -1.0, -1.0, 1.0])
    value = torch.sigmoid(sign * 0.5 * (ratio("") - z))
    undesirable = trainer.kinds[1][1]
    weight = torch.tensor([1.5, 0.0 * undesirable, 0.6 * undesirable, 0.2 * 1.5])
    expected = (weight * (1 - value)).mean()
    assert float(loss_of(trainer, batch).detach()) == pytest.approx(float(expected), rel=1e-5)
    # Weights by kind are balanced by what the answers weigh, not by how many they are.
    labels = np.array(trainer.train_dataset["label"])
    weights = 2 * np.array(trainer.train_dataset["confidence"]) - 1
    sums = weights[labels].sum(), weights[~labels].sum()
    assert 1.5 * sums[0] / (undesirable * sums[1]) == pytest.approx(7 / 6)


def test_answers_alone_are_scored_behind_the_tokens_of_their_prompt(make: Make) -> None:
    from ifllm_hf.alignment.pairs.config import PromptFormat
    from ifllm_hf.alignment.pairs.prompt_tokens import prompt_tokens

    trainer = make()
    tokenizer, batch = trainer.processing_class, batch_of(trainer, 4)
    for i, row in enumerate(trainer.train_dataset.select(range(4))):
        assert row["prompt_ids"] == prompt_tokens(tokenizer, row["prompt"], PromptFormat())
        scored = batch["input_ids"][i][batch["completion_mask"][i] == 1]
        assert tokenizer.decode(scored) == row["completion"]
        assert row["completion"].endswith(tokenizer.eos_token)


def test_no_answer_is_its_own_stranger_and_each_epoch_has_one_order(make: Make) -> None:
    """13 answers in batches of 4: the last one is alone."""
    trainer = make()
    rows = trainer.train_dataset
    assert rows[12]["KL_completion_ids"] == rows[11]["completion_ids"]
    assert rows[0]["KL_completion_ids"] == rows[3]["completion_ids"]
    assert list(trainer._get_train_sampler()) == list(range(13))
    assert rows["prompt"] != sorted(rows["prompt"])
    assert make().train_dataset["prompt"] == rows["prompt"]
    assert make(seed=1).train_dataset["prompt"] != rows["prompt"]


def test_prompts_that_fill_the_length_are_counted_and_cut_answers_too(
    make: Make, answers: Any
) -> None:
    from datasets import Dataset

    rows = answers.to_list()
    rows[3]["prompt"] = "why " * 200
    rows[5]["completion"] = " so" * 200
    trainer = make(data=Dataset.from_list(rows), max_length=128)
    assert (trainer.too_long, trainer.cut) == ({"train": 1}, {"train": 1})
    with pytest.raises(DataError, match="13 prompts.*max_length 4"):
        make(max_length=4)
    coin = answers.remove_columns("confidence").add_column("confidence", [0.5] * 13)
    with pytest.raises(DataError, match="use_confidence: false"):
        make(data=coin)
    assert make(data=coin, use_confidence=False).kinds[0] == (5, pytest.approx(8 / 5 * 7 / 6))


def test_weights_outside_the_band_are_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    make(desirable_weight=1.0, undesirable_weight=1.0)
    assert "the KTO paper advises 1 : 1 to 4 : 3" in caplog.text
    caplog.clear()
    make()
    assert caplog.text == ""


# Reference


def perturbed(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(0)
            )
    return model


def rewards(trainer: Any) -> list[float]:
    loss_of(trainer, batch_of(trainer, 4))
    seen = trainer._metrics["train"]
    names = ("kl", "rewards/chosen", "rewards/rejected")
    return [abs(value) for name in names for value in seen[name]]


def test_start_is_the_model_as_it_is_now_where_trl_reloads_it_by_name(
    tiny: Callable[..., Path], make: Make
) -> None:
    theirs = make(perturbed(load(tiny())), theirs=True)
    assert max(rewards(theirs)) > 0.01  # the silent wrong one
    ours = make(perturbed(load(tiny())))
    assert max(rewards(ours)) == ours.step0_reward == 0.0
    wrong = make(load(tiny()), ref_model=perturbed(load(tiny())))
    with pytest.raises(ConfigError, match="'start'.*reward"):
        rewards(wrong)
    with pytest.raises(ConfigError, match="reference is 'base'"):
        make(reference="base")


@pytest.mark.parametrize("precompute", [False, True])
def test_an_adapter_has_its_frozen_copy_or_the_base_as_reference(
    tiny: Callable[..., Path], make: Make, precompute: bool
) -> None:
    from peft import get_peft_model

    found = {}
    for reference in ("start", "base"):
        torch.manual_seed(1)
        model = get_peft_model(load(tiny()), lora(init_lora_weights=False))
        trainer = make(model, reference=reference, precompute_ref_log_probs=precompute)
        largest = max(rewards(trainer))
        found[reference] = trainer.step0_reward
        trained = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
        assert trained and all(".default." in name for name in trained)
        if reference == "start":
            assert largest == pytest.approx(0.0, abs=1e-5)
    assert found["start"] == pytest.approx(0.0, abs=1e-5)
    assert found["base"] > 0.01


def test_what_is_no_model_and_no_dataset_is_refused(make: Make, answers: Any) -> None:
    with pytest.raises(ConfigError, match="model is 'org/model'; expected a model"):
        make("org/model")
    with pytest.raises(DataError, match="train_dataset is a IterableDataset"):
        make(data=answers.to_iterable_dataset())
