"""The recipes with no argument, on a machine without GPU, network or data."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.default_judge import judge_without_config
from ifllm_hf.alignment.pipeline.config import read_pipeline
from ifllm_hf.alignment.pipeline.default_pipeline import pipeline_without_config
from ifllm_hf.errors import ConfigError, DownloadError
from ifllm_hf.training.default_recipe import Chosen
from ifllm_hf.training.run_record import write_run
from ifllm_hf.training.settings_file import read_settings

RECIPES = Path(__file__).parents[2] / "recipes"
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder; nothing is found and nothing can be downloaded."""

    def unreachable(*args: object, **kwargs: object) -> str:
        raise DownloadError("the release cannot be fetched")

    monkeypatch.setattr("ifllm_hf.data.prepared.ifllm.prepared_in_cache", unreachable)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("IFLLM_RELEASE", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(RECIPES / name), run_name="__main__")
    return int(end.value.code or 0)


def test_the_same_command_trains_then_is_done_and_goes_on_after_a_kill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--max_steps", "2", "--save_steps=1", "--eval_strategy", "no",
             "--disable_tqdm", "true", "--dataloader_pin_memory", "false"]  # fmt: skip
    out = Path("outputs/dpo-smoke")
    assert script("dpo.py", monkeypatch, *short) == 0
    seen = capsys.readouterr()
    assert seen.out.splitlines()[-1] == str(out)
    assert "smoke.yaml" in seen.err and "made-up pairs" in seen.err
    made = (out / "adapter_model.safetensors").stat().st_mtime_ns

    assert script("dpo.py", monkeypatch, *short) == 0
    seen = capsys.readouterr()
    assert seen.out == f"{out}\n" and "done before" in seen.err
    assert (out / "adapter_model.safetensors").stat().st_mtime_ns == made

    assert script("dpo.py", monkeypatch, *short, "--beta", "0.5") == 1
    assert "beta 0.1 -> 0.5" in capsys.readouterr().err

    record = json.loads((out / "run.json").read_text())
    del record["result"]
    write_run(out, record)
    shutil.rmtree(out / "checkpoint-2")
    (out / "adapter_model.safetensors").unlink()
    assert script("dpo.py", monkeypatch, *short) == 0
    assert json.loads((out / "run.json").read_text())["result"]["steps"] == 2
    assert (out / "adapter_model.safetensors").is_file()


def test_judging_takes_what_dpo_left(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Path] = []

    def train(script: Path, config: Path, folder: Path) -> None:
        trained.append(config)
        settings = {"model_name_or_path": "tiny-random/llama", "dataset": "ifllm", "eval_fold": 2}
        write_run(folder, {"settings": settings, "result": {}})

    monkeypatch.setattr("ifllm_hf.alignment.judge.default_judge._train", train)
    for _ in range(2):
        file, words = judge_without_config()
        config = read_settings(JudgeConfig, file, [*words, "--prompts.max_prompts", "1"])
    assert [file.name for file in trained] == ["smoke.yaml"]  # the second time it is there
    assert config.baseline.model == "outputs/dpo-smoke/tiny_model"
    assert [c.adapter for c in config.candidates] == ["outputs/dpo-smoke"]
    assert (config.prompts.dataset, config.prompts.fold) == ("ifllm", 2)
    assert (config.judge.kind, config.output_dir) == ("people", "outputs/judge-smoke")
    assert config.prompts.max_prompts == 1  # the command line wins

    settings = {"model_name_or_path": "org/model", "dataset": "ifllm", "eval_fold": 3}
    write_run(Path("outputs/dpo-qwen3-4b"), {"settings": settings, "result": {}})
    monkeypatch.setattr(
        "ifllm_hf.alignment.judge.default_judge.choose_here",
        lambda stage: Chosen(RECIPES / "configs" / "qwen3-4b.yaml", ""),
    )
    file, words = judge_without_config()
    config = read_settings(JudgeConfig, file, words)
    assert (config.baseline.model, config.output_dir) == ("org/model", "outputs/judge-qwen3-4b")


def test_the_pipeline_takes_one_model_and_the_data_that_are_there(
    prepared_small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared_small, "ifllm")
    file, words = pipeline_without_config()
    config, models, sources = read_pipeline(file, words)
    assert list(models) == ["smoke"] and len(sources) == 3
    assert config.data == str(Path("ifllm").resolve()) and config.launch is None
    assert config.output_dir == "outputs/pipeline-smoke"
    capsys.readouterr()
    assert script("pipeline.py", monkeypatch, "--status") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["smoke", *["waiting"] * 3]
    monkeypatch.setattr(
        "ifllm_hf.alignment.pipeline.default_pipeline.choose_here",
        lambda stage: Chosen(RECIPES / "configs" / "qwen3-4b.yaml", "a GPU"),
    )
    file, words = pipeline_without_config()
    config, models, sources = read_pipeline(file, words)
    assert list(models) == ["qwen3-4b"] and len(sources) == 6


def test_reward_models_of_a_gpu_are_refused_on_a_cpu_in_our_words() -> None:
    from ifllm_hf.reward.training.config import RewardTrainingConfig

    with pytest.raises(ConfigError, match="--use_cpu true"):
        RewardTrainingConfig(output_dir="out", bf16=True)


def test_a_broken_card_and_a_folder_without_a_model_are_one_line(
    prepared_small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared_small, "broken")
    card = Path("broken/README.md")
    card.write_text(card.read_text().replace("configs:", "configs: [}", 1))
    Path("empty").mkdir()
    for arguments, said in (
        (["--dataset", "broken"], "broken: "),
        (["--dataset", "broken", "--model_name_or_path", "empty", "--output_dir", "x"], "empty: "),
    ):
        assert script("reward.py", monkeypatch, *arguments, "--use_cpu", "true") == 1
        words = capsys.readouterr().err.splitlines()
        assert words[-1].startswith(f"error: {said}") and "Traceback" not in "".join(words)
