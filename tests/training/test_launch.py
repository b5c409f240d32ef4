"""Launches that would train something else than they say are refused, on pretended machines."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ifllm_hf.errors import ConfigError
from ifllm_hf.training import launch
from ifllm_hf.training.launch import asked_of_launcher, check_launch, check_pipeline_launch

ROOT = Path(__file__).parents[2]
CONFIGS, ACCELERATE = ROOT / "recipes" / "configs", ROOT / "recipes" / "accelerate"
SMOKE = {
    "dpo": "smoke.yaml",
    "kto": "smoke.yaml",
    "sft": "sft-smoke.yaml",
    "reward": "reward-smoke.yaml",
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(autouse=True)
def not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def recipe(name: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run a recipe as a command; what would come after its settings fails the test."""
    monkeypatch.setattr(sys, "argv", [f"recipes/{name}.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "recipes" / f"{name}.py"), run_name="__main__")
    return int(end.value.code or 0)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", SMOKE)
def test_one_process_on_two_gpus_is_refused_before_any_work(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    words = ["--config", str(CONFIGS / SMOKE[name]), "--output_dir", str(out), "--use_cpu", "false"]
    assert recipe(name, monkeypatch, *words, "--dataset", "nowhere.parquet") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: one process sees 2 GPUs")
    script = ROOT / "recipes" / f"{name}.py"
    assert f"accelerate launch --multi_gpu --num_processes 2 {script} ..." in said
    assert "CUDA_VISIBLE_DEVICES=0" in said
    assert not out.exists()


def settings(**given: Any) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(output_dir="out", **given)


@pytest.mark.usefixtures("two_gpus")
def test_a_cpu_one_process_for_each_and_a_model_spread_by_layers_are_let_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_launch(settings(use_cpu=True))
    training = settings()
    with pytest.raises(ConfigError, match="2 GPUs"):
        check_launch(training)
    training.model_init_kwargs = {"device_map": "auto"}
    check_launch(training)
    check_pipeline_launch({"use_cpu": True}, None)
    check_pipeline_launch({"model_init_kwargs": {"device_map": "auto"}}, None)
    check_pipeline_launch({}, ["accelerate", "launch"])
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_pipeline_launch({}, None)


def test_processes_that_would_each_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    training = settings()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="each would train alone.*--use_cpu true"):
        check_launch(training)


def test_one_process_shards_nothing() -> None:
    with pytest.raises(ConfigError, match="fsdp shards over processes.*fsdp2.yaml"):
        check_launch(settings(use_cpu=True, fsdp=True))


@pytest.mark.parametrize("name", ["pipeline", "judge"])
def test_a_recipe_for_one_process_refuses_several(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert recipe(name, monkeypatch, "--config", "nowhere.yaml") == 1
    script = ROOT / "recipes" / f"{name}.py"
    assert f"start one: python {script} ..." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["python", "-m", "accelerate.commands.launch", "--num_processes", "2", "dpo.py"], 2),
        (["python", "/venv/bin/accelerate", "launch", "--num-processes=3", "dpo.py"], 3),
        (["python", "/venv/bin/accelerate-launch", "--num_processes", "4", "dpo.py"], 4),
        (["accelerate", "launch", "--config_file", str(ACCELERATE / "cpu.yaml"), "dpo.py"], 1),
        (["accelerate", "launch", "--config_file", str(ACCELERATE / "ddp_cpu.yaml"), "a.py"], 2),
        (["accelerate", "launch", "dpo.py", "--num_processes", "2"], None),  # the script's own
        (["bash", "-c", "python dpo.py --num_processes 2"], None),
        ([], None),
    ],
)
def test_the_launcher_is_read_as_it_reads_itself(
    words: list[str], asked: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from accelerate.commands.config import config_args

    monkeypatch.setattr(config_args, "default_config_file", str(tmp_path / "none.yaml"))
    assert asked_of_launcher(words) == asked


def test_the_only_process_of_a_launcher_that_was_asked_for_two_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["accelerate", "launch", "--num_processes", "2", "dpo.py"]
    monkeypatch.setattr(launch, "_words_of_parent", lambda: words)
    training = settings(use_cpu=True)
    with pytest.raises(ConfigError, match="asked for 2 processes and started one.*ddp_cpu.yaml"):
        check_launch(training)
    words[3] = "1"
    check_launch(training)


def command(file: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    words: Sequence[str] = [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(ACCELERATE / file), "--num_processes", "2",
        str(ROOT / "recipes" / "dpo.py"), "--config", str(CONFIGS / "smoke.yaml"),
        "--output_dir", str(out), *more,
    ]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.slow
def test_two_processes_on_a_cpu_are_two_or_none(tmp_path: Path) -> None:
    refused = command("cpu.yaml", tmp_path / "one")
    assert refused.returncode == 1 and not (tmp_path / "one").exists()
    assert "error: accelerate launch was asked for 2 processes" in refused.stderr
    done = command(
        "ddp_cpu.yaml", tmp_path / "two", "--max_steps", "1", "--eval_strategy", "no",
        "--save_strategy", "no",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "processes: 2" in done.stderr
