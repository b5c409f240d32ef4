"""What a policy is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.policies import batch_of, load, lora, weights

# Both are TRL's own use of names that transformers deprecated; peft warns about Conv1D.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


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
    with pytest.raises(ConfigError, match="'start'.*margin"):
        trainer.train()
    assert torch.equal(weights(trainer), before)


def test_base_without_a_base_is_refused(make_trainer: Make) -> None:
    with pytest.raises(ConfigError, match="reference is 'base'"):
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


def test_the_file_of_kept_values_is_named_where_they_are_used_and_where_they_are_wrong(
    tiny: Callable[..., Path],
    make_trainer: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "cache"))
    settings: dict[str, Any] = {"peft_config": lora(), "precompute_ref_log_probs": True}
    make_trainer(load(tiny()), **settings)
    (file,) = (tmp_path / "cache" / "reference").iterdir()
    np.save(file, np.load(file) + np.array([3.0, -3.0], dtype=np.float32))
    with caplog.at_level("INFO"):
        trainer = make_trainer(load(tiny()), **settings)
    assert f"from an earlier run: {file}" in caplog.text
    with pytest.raises(ConfigError, match=f"'start'.*or remove {file}"):
        trainer.train()
