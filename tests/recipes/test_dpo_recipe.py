from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "configs"
RECIPE = ROOT / "recipes" / "dpo.py"
# The real model of each recipe, and the architecture of its tiny random stand-in.
MODELS = {
    "gpt2-xl": ("gpt2-xl", "gpt2"),
    "pythia-2.8b": ("EleutherAI/pythia-2.8b", "gpt_neox"),
    "olmo2-1b": ("allenai/OLMo-2-0425-1B", "olmo2"),
    "llama-3.2-3b": ("meta-llama/Llama-3.2-3B", "llama"),
    "qwen2.5-1.5b": ("Qwen/Qwen2.5-1.5B", "qwen2"),
    "qwen2.5-3b": ("Qwen/Qwen2.5-3B", "qwen2"),
    "qwen3-1.7b": ("Qwen/Qwen3-1.7B-Base", "qwen3"),
    "qwen3-4b": ("Qwen/Qwen3-4B-Base", "qwen3"),
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:fan_in_fan_out is set to False:UserWarning",  # PEFT corrects it for Conv1D and says so
)


def parse(*arguments: str) -> Any:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.training.recipe_arguments import parse_recipe

    return parse_recipe((PairDataConfig, PairDPOConfig, PolicyConfig), arguments)


def test_there_is_one_recipe_per_model() -> None:
    of_dpo = [f for f in CONFIGS.glob("*.yaml") if "preference_loss:" in f.read_text()]
    assert {file.stem for file in of_dpo} == {*MODELS, "smoke", "known-truth"}


@pytest.mark.parametrize("name", [*MODELS, "smoke", "known-truth"])
def test_a_recipe_opens_with_its_command_and_says_what_it_costs(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert text.startswith(
        f"# accelerate launch recipes/dpo.py --config recipes/configs/{name}.yaml "
        "--output_dir outputs/"
    )
    settings = yaml.safe_load(text)
    assert settings["eval_fold"] == JUDGE_FOLD
    if name in MODELS:
        assert "ESTIMATED (arithmetic, never measured)" in text
        assert settings["model_name_or_path"] == MODELS[name][0]
        assert settings["method"] == "qlora" and settings["preference_loss"] == "cdpo"
        assert settings["max_length"] <= 1024


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_trains_a_tiny_model_of_its_architecture(name: str, tmp_path: Path) -> None:
    """Two QLoRA steps with the recipe's own prompt, targets, length and loss, on the CPU."""
    from safetensors.torch import load_file

    from ifllm_hf.alignment.dpo.run import run_dpo

    architecture = MODELS[name][1]
    data, training, policy = parse(
        "--config", str(CONFIGS / f"{name}.yaml"), "--output_dir", str(tmp_path / "out"),
        "--model_name_or_path", f"tiny-random/{architecture}", "--dataset", "made-up",
        "--dtype", "float32", "--use_cpu", "true", "--bf16", "false", "--max_steps", "2",
        "--gradient_accumulation_steps", "1", "--eval_strategy", "no", "--save_strategy", "no",
        "--disable_tqdm", "true", "--dataloader_pin_memory", "false",
    )  # fmt: skip
    assert policy.load_in_4bit and policy.use_bnb_nested_quant and training.gradient_checkpointing
    out = run_dpo(policy, training, data)
    record = json.loads((out / "run.json").read_text())
    assert record["used"]["weights"].startswith("LoRA (r 16) on NF4 weights, double quantisation")
    assert record["result"]["step0_margin"] == 0.0
    adapter = load_file(out / "adapter_model.safetensors")
    adapted = {key.rsplit(".lora_", 1)[0].rsplit(".", 1)[1] for key in adapter}
    targets = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["lora_target_modules"]
    llama_like = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert adapted == (llama_like if targets == ["all-linear"] else set(targets))
    assert all(abs(value).max() > 0 for key, value in adapter.items() if "lora_B" in key)
    if name.startswith("qwen"):
        config = json.loads((out / "tokenizer_config.json").read_text())
        assert config["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize(
    ("override", "used"),
    [("lora", "LoRA (r 8) on float32 weights"), ("full", "all weights in float32")],
)
def test_lora_and_full_fine_tuning_are_one_override_away(
    override: str, used: str, tmp_path: Path
) -> None:
    from ifllm_hf.alignment.dpo.run import run_dpo

    data, training, policy = parse(
        "--config", str(CONFIGS / "smoke.yaml"), "--method", override, "--max_steps", "1",
        "--output_dir", str(tmp_path / "out"), "--disable_tqdm", "true",
        "--dataloader_pin_memory", "false",
    )  # fmt: skip
    record = json.loads((run_dpo(policy, training, data) / "run.json").read_text())
    assert record["used"]["weights"] == used


@pytest.mark.parametrize(
    ("name", "kind", "processes"),
    [
        ("cpu", "NO", 1),
        ("one_gpu", "NO", 1),
        ("ddp", "MULTI_GPU", 2),
        ("ddp_cpu", "MULTI_GPU", 2),
        ("fsdp2", "FSDP", 2),
        ("zero3", "DEEPSPEED", 2),
    ],
)
def test_a_launch_config_is_one_that_accelerate_reads(
    name: str, kind: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read, filled in and checked, as `accelerate launch` does before it starts anything."""
    import torch
    from accelerate.commands import launch
    from accelerate.commands.config.config_args import load_config_from_file

    path = str(ROOT / "recipes" / "accelerate" / f"{name}.yaml")
    config = load_config_from_file(path)
    assert (config.distributed_type, config.num_processes) == (kind, processes)
    assert config.use_cpu == ("cpu" in name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    arguments = launch.launch_command_parser().parse_args(["--config_file", path, "dpo.py"])
    checked, *_ = launch._validate_launch_command(arguments)
    assert checked.use_fsdp == (name == "fsdp2") and checked.use_deepspeed == (name == "zero3")
    assert checked.num_processes == processes
    if name == "fsdp2":
        assert str(checked.fsdp_version) == "2"
        assert checked.fsdp_auto_wrap_policy == "TRANSFORMER_BASED_WRAP"
    if name == "zero3":
        assert checked.zero_stage == 3


def test_an_unknown_key_in_a_recipe_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text((CONFIGS / "smoke.yaml").read_text() + "max_prompt_length: 128\n")
    with pytest.raises(ConfigError, match="old.yaml: .*max_prompt_length"):
        parse("--config", str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config"], "--config .*recipes/configs"),
        (["--config", "nowhere.yaml"], r"nowhere.yaml: .*No such file"),
        (["--betta", "1"], "--betta .*--beta"),
        (["--zzzz", "1"], "--zzzz .*--help"),
        (["--learning_rate", "-1"], "learning_rate is -1.0"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps is 0"),
    ],
)
def test_a_wrong_command_line_says_what_to_change(arguments: list[str], message: str) -> None:
    smoke = [] if "--config" in arguments else ["--config", str(CONFIGS / "smoke.yaml")]
    with pytest.raises(ConfigError, match=message):
        parse(*smoke, *arguments)


def test_help_opens_with_what_the_recipe_does_and_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import types

    main = types.ModuleType("__main__", "Direct preference optimisation.\n\n    one line\n    two")
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(SystemExit):
        parse("--help")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(
        "[--config YAML, or the name of one in recipes/] [--SETTING VALUE ...]"
    )
    assert lines[2:6] == ["Direct preference optimisation.", "", "    one line", "    two"]


def test_a_mistake_ends_with_one_line_and_not_with_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    command = ["dpo.py", "--config", str(CONFIGS / "smoke.yaml"), "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "recipes" / "dpo.py"), run_name="__main__")
    assert end.value.code == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith(f"error: output_dir {tmp_path} exists and is not empty; choose")
    assert seen.err.count("\n") == 1


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=600
    )


def sharding() -> dict[str, str]:
    """Return what `accelerate launch` makes of its config file."""
    file = yaml.safe_load((ROOT / "recipes" / "accelerate" / "fsdp2.yaml").read_text())
    made = {"ACCELERATE_USE_FSDP": "true"}
    for name, value in file["fsdp_config"].items():
        made[name.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    return made


@pytest.mark.slow
def test_the_smoke_command_works_as_it_is_written(tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    words = ["--config", str(CONFIGS / "smoke.yaml"), "--output_dir", str(out)]
    done = python("-m", "accelerate.commands.launch", str(RECIPE), *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out)
    assert "NF4 weights, double quantisation" in done.stderr
    assert "largest margin before the first step (reference: start): 0\n" in done.stderr
    assert (out / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_two_processes_equal_one_sharded_or_not(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    from ifllm_hf.alignment.dpo.run import run_dpo

    def arguments(out: Path, batch_size: int) -> list[str]:
        return [
            "--config", str(CONFIGS / "smoke.yaml"), "--method", "lora", "--output_dir", str(out),
            "--per_device_train_batch_size", str(batch_size), "--max_steps", "4",
            # 13 pairs are held out: in batches of 5, or of 2 x 3
            "--eval_strategy", "steps", "--eval_steps", "4",
            "--per_device_eval_batch_size", str(3 if batch_size == 2 else 5),
            "--save_strategy", "no", "--logging_steps", "1", "--dataloader_pin_memory", "false",
            "--precompute_ref_log_probs", "true",
        ]  # fmt: skip

    outs = [tmp_path / name for name in ("one", "two", "sharded")]
    data, training, policy = parse(*arguments(outs[0], 4))
    run_dpo(policy, training, data)
    worlds = [
        {
            "recipe": str(RECIPE), "arguments": arguments(out, 2), "said": f"{out}.txt",
            "environment": {**environment, "IFLLM_CACHE": f"{out}-cache"},  # each computes
        }
        for out, environment in zip(outs[1:], ({}, sharding()), strict=True)
    ]  # fmt: skip
    done = python(str(Path(__file__).with_name("worlds_on_cpu.py")), json.dumps(worlds))
    said = [Path(world["said"]).read_text() for world in worlds]
    assert done.returncode == 0, done.stderr + "".join(said)
    assert ["weights are sharded" in text for text in said] == [False, True]
    adapters, logs, evaluated = [], [], []
    for out, processes in zip(outs, (1, 2, 2), strict=True):
        record = json.loads((out / "run.json").read_text())
        assert record["used"]["processes"] == processes
        adapters.append(load_file(out / "adapter_model.safetensors"))
        logs.append([entry for entry in record["result"]["log"] if "loss" in entry])
        evaluated += [e for e in record["result"]["log"] if "eval_rewards/margins" in e]
    for key in ("eval_rewards/margins", "eval_logps/chosen", "eval_confidence"):
        assert [e[key] for e in evaluated] == pytest.approx([evaluated[0][key]] * 3, rel=1e-3)
    for log, adapter in zip(logs[1:], adapters[1:], strict=True):
        for key in ("loss", "rewards/margins", "gradient_share/decile_1"):
            np.testing.assert_allclose(
                [e[key] for e in logs[0]], [e[key] for e in log], rtol=1e-3, atol=1e-5
            )
        for key, value in adapters[0].items():
            np.testing.assert_allclose(value, adapter[key], rtol=1e-3, atol=2e-5, err_msg=key)
