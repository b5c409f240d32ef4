from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "recipes" / "configs"
MODELS = sorted(
    file.stem for file in CONFIGS.glob("*.yaml") if "preference_loss" in file.read_text()
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def config(**settings: Any) -> Any:
    from ifllm_hf.alignment.kto.config import UnpairedKTOConfig

    return UnpairedKTOConfig("out", use_cpu=True, bf16=False, **settings)


def parse(*arguments: str) -> Any:
    from ifllm_hf.alignment.kto.config import UnpairedKTOConfig, settings_not_for_kto
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.training.recipe_arguments import parse_recipe

    classes = (PairDataConfig, UnpairedKTOConfig, PolicyConfig)
    cpu = ("--use_cpu", "true", "--bf16", "false", "--output_dir", "out")
    return parse_recipe(classes, [*arguments, *cpu], settings_not_for_kto())


def test_every_recipe_of_dpo_is_one_of_kto_and_what_is_left_out_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(MODELS) == 10  # eight models, the dry run and the one that comes with the package
    for name in MODELS:
        settings = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        caplog.clear()
        with caplog.at_level("INFO"):
            data, training, policy = parse("--config", str(CONFIGS / f"{name}.yaml"))
        for part, names in (
            (data, ("prompt_template", "eval_fold", "history")),
            (training, ("beta", "learning_rate", "reference", "per_device_train_batch_size")),
            (policy, ("method", "lora_r")),
        ):
            for setting in set(names) & set(settings):
                assert getattr(part, setting) == settings[setting], (name, setting)
        gone = {"preference_loss", "nll_weight", "nll_reduction", "output_dir"} & set(settings)
        assert "preference_loss" in gone
        assert all(setting in caplog.text for setting in gone), caplog.text
        assert training.desirable_weight is None and training.output_dir == "out"


def test_what_only_dpo_knows_is_refused_on_the_command_line() -> None:
    with pytest.raises(ConfigError, match="--preference_loss is no setting"):
        parse("--config", str(CONFIGS / "smoke.yaml"), "--preference_loss", "dpo")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_device_train_batch_size": 1}, "size is 1: KTO estimates KL.*set 2 or more"),
        ({"loss_type": "bco"}, "loss_type is 'bco'"),
        ({"beta": 0.0}, "beta is 0.0; expected more"),
        ({"desirable_weight": -1.0}, "desirable_weight is -1.0"),
        ({"reference": "sft"}, "reference is 'sft'"),
        ({"sync_ref_model": True}, "sync_ref_model is True.*named"),
        ({"train_sampling_strategy": "random"}, "train_sampling_strategy is 'random'.*shuffled"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_what_cannot_be_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**settings)


def test_a_precomputed_reference_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="precompute_ref_log_probs is on with several processes"):
        config(precompute_ref_log_probs=True)


def test_without_an_estimate_of_kl_one_answer_is_a_batch() -> None:
    assert config(per_device_train_batch_size=1, loss_type="apo_zero_unpaired").reference == "start"
