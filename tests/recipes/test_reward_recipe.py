"""recipes/reward.py as a user starts it, and its YAML files."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.errors import ConfigError
from ifllm_hf.hub.cards.eval_results import eval_results
from ifllm_hf.training.recipe_arguments import recipe_main

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "configs"
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def parse(*arguments: str) -> Any:
    from trl import ModelConfig

    from ifllm_hf.reward.training.config import (
        RewardDataConfig,
        RewardInputConfig,
        RewardTrainingConfig,
    )
    from ifllm_hf.training.recipe_arguments import parse_recipe

    classes = (RewardDataConfig, RewardInputConfig, RewardTrainingConfig, ModelConfig)
    return parse_recipe(classes, list(arguments))


@pytest.mark.parametrize("name", ["reward", "reward-smoke"])
def test_every_setting_of_a_recipe_is_known(name: str) -> None:
    file = CONFIGS / f"{name}.yaml"
    assert file.read_text().startswith(
        f"# accelerate launch recipes/reward.py --config recipes/configs/{name}.yaml"
    )
    data, inputs, training, backbone = parse(
        "--config", str(file), "--max_length", "77", "--use_cpu", "true", "--bf16", "false"
    )
    assert inputs.max_length == 77
    given = yaml.safe_load(file.read_text())
    assert backbone.model_name_or_path == given["model_name_or_path"]
    assert training.load_best_model_at_end and training.metric_for_best_model == "eval_loss"
    assert data.targets == "pairwise"


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "reward.yaml"
    file.write_text((CONFIGS / "reward-smoke.yaml").read_text() + "\nno_such_setting: 1\n")
    with pytest.raises(ConfigError, match="no_such_setting"):
        parse("--config", str(file))


def test_a_number_that_is_none_is_refused() -> None:
    smoke = str(CONFIGS / "reward-smoke.yaml")
    with pytest.raises(ConfigError, match="learning_rate is nan"):
        parse("--config", smoke, "--learning_rate", "nan")


def test_the_smoke_recipe_trains_and_saves(
    prepared_synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    arguments = ["--config", str(CONFIGS / "reward-smoke.yaml"), "--output_dir", str(out)]
    arguments += ["--dataset", str(prepared_synthetic), "--max_turns", "24", "--eval_fold", "1"]
    arguments += ["--num_train_epochs", "1", "--disable_tqdm", "true"]
    monkeypatch.setattr(sys, "argv", ["reward.py", *arguments])
    monkeypatch.setattr(os, "environ", {**os.environ})
    script = runpy.run_path(str(ROOT / "recipes" / "reward.py"))
    assert recipe_main(script["run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["inputs"] == "text+both" and record["data"]["pairs"] > 0
    results = eval_results(record, "lab/reward", "lab/made-up")
    assert results is not None and "protocol worker, fold 1)" in results and "made up" in results
    assert (out / "model.safetensors").exists() and (out / "processor_config.json").exists()
    assert recipe_main(script["run"]) == 1
    assert "is not empty" in capsys.readouterr().err
    # What stands in the way is said before the tiny backbone is made.
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["reward.py", *arguments, "--output_dir", f"{tmp_path}/file"])
    assert recipe_main(script["run"]) == 1
    assert f"{tmp_path}/file" in capsys.readouterr().err
    assert not (tmp_path / "file-backbone").exists()
