"""How a training run was started: refused before any work where it would not be what was asked for.

One process on several GPUs (`DataParallel`) splits what looks like rows, and the rows of pairs are
not what they look like; several processes that do not know of each other train the same thing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.optional_packages import check_packages


def check_launch(training: Any) -> None:
    """Refuse a start that would train something else than it says.

    Args:
        training: transformers' `TrainingArguments`.

    Raises:
        ConfigError: One process for several GPUs, or with `fsdp`; fewer processes than the launcher
            was asked for; processes that would each train alone.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched > 1 and training.world_size == 1:
        raise ConfigError(
            f"{launched} processes were launched and found no GPU, so that each would train alone; "
            "add --use_cpu true, and they train together"
        )
    if launched == 1:
        _check_launcher()
    if training.fsdp and training.parallel_mode.value != "distributed":
        raise ConfigError(
            "fsdp shards over processes, and there is one; start with: accelerate launch "
            f"--config_file recipes/accelerate/fsdp2.yaml {_this_script()} ..., or remove fsdp"
        )
    # Spread over the GPUs by its layers, the Trainer leaves a model in one process.
    spread = "device_map" in (getattr(training, "model_init_kwargs", None) or {})
    if training.n_gpu > 1 and not spread:
        refuse_one_process(training.n_gpu, _this_script())


def check_alone() -> None:
    """Refuse several processes where each would do all of the work.

    Raises:
        ConfigError: A launcher started more than one.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched > 1:
        raise ConfigError(
            f"{launched} processes were launched, and each would do all of it; start one: "
            f"python {_this_script()} ..."
        )


def check_pipeline_launch(settings: Mapping[str, Any], launch: Sequence[str] | None) -> None:
    """Refuse what the recipe of a pipeline would refuse, before anything is labelled for it.

    Args:
        settings: Of the recipe.
        launch: The command in front of it; None: it trains in this process.

    Raises:
        ConfigError: A package that its settings need is missing, or it would train in this process,
            which sees several GPUs.
    """
    import torch

    check_packages(settings)
    if launch is not None:
        return
    on_cpu = settings.get("use_cpu") or _is_true("ACCELERATE_USE_CPU")
    spread = "device_map" in (settings.get("model_init_kwargs") or {})
    alone = int(os.environ.get("LOCAL_RANK", "-1")) == -1
    if alone and not on_cpu and not spread and (gpus := torch.cuda.device_count()) > 1:
        refuse_one_process(gpus, launch="launch: null")


def refuse_one_process(gpus: int, script: str = "SCRIPT", launch: str | None = None) -> None:
    """Say how several GPUs are used, or one of them.

    Raises:
        ConfigError: Always.
    """
    if launch is None:
        how = f"start with: accelerate launch --multi_gpu --num_processes {gpus} {script} ..."
    else:
        how = f"set launch: [accelerate, launch, --multi_gpu, --num_processes, '{gpus}']"
    raise ConfigError(
        f"one process{'' if launch is None else f' ({launch})'} sees {gpus} GPUs, and would split "
        f"each batch between them, which tears pairs apart; {how}, or show it one GPU: "
        "CUDA_VISIBLE_DEVICES=0"
    )


def _check_launcher() -> None:
    """Refuse to be the only process of a launcher that was asked for several.

    Raises:
        ConfigError: We are.
    """
    asked = asked_of_launcher(_words_of_parent())
    if asked is not None and asked > 1:
        raise ConfigError(
            f"accelerate launch was asked for {asked} processes and started one: without GPUs, or "
            "with distributed_type NO, it starts no more; on a CPU give --config_file "
            f"recipes/accelerate/ddp_cpu.yaml, on GPUs --multi_gpu, or --num_processes 1"
        )


def asked_of_launcher(words: list[str]) -> int | None:
    """Return how many processes a command line of accelerate's launcher asks for.

    Args:
        words: The command line.

    Returns:
        By `--num_processes`, else by its config file; None where it does not say, or is another
        program's.
    """
    names = [Path(word).name for word in words]
    if "accelerate" in names and "launch" in names:
        begin = names.index("launch")
    else:
        known = ("accelerate.commands.launch", "accelerate-launch")
        begin = next((i for i, name in enumerate(names) if name in known), -1)
    if begin < 0:
        return None
    from accelerate.commands import launch
    from accelerate.commands.config.config_args import default_config_file

    try:
        given, _ = launch.launch_command_parser().parse_known_args(words[begin + 1 :])
    except SystemExit:  # not what the launcher itself has read
        return None
    asked: int | None = given.num_processes
    if asked is None and (given.config_file or os.path.isfile(default_config_file)):
        asked = launch.load_config_from_file(given.config_file).num_processes
    return asked


def _words_of_parent() -> list[str]:
    import psutil

    try:
        words: list[str] = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:  # gone, or of another user
        return []
    return words


def _this_script() -> str:
    return sys.argv[0] if sys.argv[0].endswith(".py") else "SCRIPT"


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
