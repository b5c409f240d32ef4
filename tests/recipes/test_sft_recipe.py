from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "configs"
MODELS = sorted(
    file.stem
    for file in CONFIGS.glob("*.yaml")
    if "preference_loss" in (text := file.read_text())
    and "tiny-random" not in text
    and file.stem != "known-truth"
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


def parse(*arguments: str) -> Any:
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig, settings_not_for_sft
    from ifllm_hf.training.recipe_arguments import parse_recipe

    classes = (PairDataConfig, PairSFTConfig, PolicyConfig)
    return parse_recipe(classes, arguments, settings_not_for_sft())


def test_every_recipe_of_dpo_is_one_of_sft_with_its_own_learning_rate(tmp_path: Path) -> None:
    assert len(MODELS) == 8
    for name in MODELS:
        path = CONFIGS / f"{name}.yaml"
        settings = yaml.safe_load(path.read_text())
        arguments = ["--config", str(path), "--output_dir", str(tmp_path), "--use_cpu", "true"]
        data, training, policy = parse(*arguments, "--bf16", "false")
        assert data.prompt_template == settings["prompt_template"]
        assert data.eval_fold == settings["eval_fold"]
        assert policy.method == "qlora" and policy.load_in_4bit
        assert training.max_length == settings["max_length"]
        assert (training.learning_rate, training.answers) == (1e-4, "chosen")
    *_, training, _ = parse(*arguments, "--bf16", "false", "--answers", "both")
    assert training.answers == "both"


def test_a_setting_that_no_stage_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((CONFIGS / "sft-smoke.yaml").read_text() + "beta: 0.1\nfoo: 1\n")
    with pytest.raises(ConfigError, match="beta, foo"):
        parse("--config", str(path))
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        parse("--config", str(tmp_path / "nowhere.yaml"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_smoke_recipe_runs_as_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CONFIGS / "sft-smoke.yaml"
    assert path.read_text().startswith(
        "# accelerate launch recipes/sft.py --config recipes/configs/sft-smoke.yaml --output_dir "
    )
    out = tmp_path / "sft"
    command = ["sft.py", "--config", str(path), "--output_dir", str(out), "--disable_tqdm", "true",
               "--dataloader_pin_memory", "false", "--max_steps", "2"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    for code in (0, 1):  # the second time the place is taken
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "recipes" / "sft.py"), run_name="__main__")
        assert end.value.code == code
    seen = capsys.readouterr()
    assert seen.out.splitlines()[-1] == str(out)
    assert f"error: output_dir {out} exists and is not empty; choose" in seen.err
    assert json.loads((out / "run.json").read_text())["result"]["steps"] == 2
