"""One training run of a pipeline: a recipe in this process or in one of its own."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ifllm_hf.alignment.pipeline.state import beside
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.files import shipped_folder, write_whole
from ifllm_hf.training.checkpoints import newest_checkpoint
from ifllm_hf.training.run_record import versions
from ifllm_hf.training.tiny_models import TINY_PREFIX

SFT, DPO = "sft.py", "dpo.py"
_LAST_LINES = 12


@dataclass(frozen=True)
class Training:
    """What a recipe is asked to do.

    Attributes:
        recipe: `SFT` or `DPO`.
        settings: Its YAML, resolved, without places.
        pairs: The label file.
        folder: Where the adapter goes; a folder that an interrupted run left is taken up.
    """

    recipe: str
    settings: Mapping[str, Any]
    pairs: Path
    folder: Path


def train(training: Training, launch: Sequence[str] | None) -> None:
    """Train from the beginning, or go on from the last whole checkpoint.

    Args:
        training: What to do.
        launch: Command in front of the recipe; None: train in this process.

    Raises:
        IFLLMError: See `run_dpo` and `run_sft`; or the command ended with an error.
    """
    file = beside(training.folder, ".yaml")
    places = {"dataset": str(training.pairs), "output_dir": str(training.folder)}
    write_whole(file, yaml.safe_dump({**training.settings, **places}, sort_keys=True))
    arguments = ["--config", str(file)]
    if newest_checkpoint(training.folder) is not None:
        arguments += ["--resume_from_checkpoint", "true"]
    elif training.folder.exists():
        # What an interrupted run left before its first whole checkpoint: no result.
        shutil.rmtree(training.folder)
    if launch is None:
        _here(training.recipe, arguments)
    else:
        command = [*launch, str(recipe(training.recipe)), *arguments]
        _launched(command, beside(training.folder, ".log"))


def continuing(settings: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that start from an earlier run's result."""
    if settings.get("method") == "full":
        return {"model_name_or_path": before["folder"]}
    if str(settings["model_name_or_path"]).startswith(TINY_PREFIX):
        return {
            "sft_adapter": before["folder"],
            "model_name_or_path": before["tiny_model"],
            "public_name": settings["model_name_or_path"],
        }
    return {"sft_adapter": before["folder"]}


def run_inputs(stage: str, settings: Mapping[str, Any], pairs: str) -> dict[str, Any]:
    """Return what a training run depends on: settings, the digest of its pairs, versions."""
    # Weights by their content, not by their place: a pipeline may be moved.
    places = {k: weights_id(settings.get(k)) for k in ("model_name_or_path", "sft_adapter")}
    return {stage: {**settings, **places}, "pairs": pairs, "versions": versions()}


def recipe(name: str) -> Path:
    """Return a file of the recipes that come with the package."""
    return shipped_folder("recipes") / name


def _here(name: str, arguments: list[str]) -> None:
    import torch

    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.alignment.sft.run import run_sft
    from ifllm_hf.training.recipe_arguments import parse_recipe

    kind, run = (PairSFTConfig, run_sft) if name == SFT else (PairDPOConfig, run_dpo)
    try:
        data, training, policy = parse_recipe((PairDataConfig, kind, PolicyConfig), arguments)
    except (SystemExit, ValueError) as error:  # an exit would end the whole loop
        raise ConfigError(
            f"{arguments[1]}: recipes/{name} refuses these settings ({error}); correct the YAML of "
            "the model or the source, or settings"
        ) from error
    try:
        run(policy, training, data)
    finally:  # the next run needs the memory that this one leaves in circles
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _launched(command: Sequence[str], log: Path) -> None:
    # Of this environment, be it on the PATH or not.
    if list(command[:2]) == ["accelerate", "launch"]:
        command = [sys.executable, "-m", "accelerate.commands.launch", *command[2:]]
    elif command[0] == "python":
        command = [sys.executable, *command[1:]]
    with log.open("wb") as file:
        try:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise ConfigError(
                f"launch: {command[0]} cannot be started ({error}); correct it, or set it to null"
            ) from error
    if done.returncode:
        last = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        raise OutputError(
            f"the training command ended with exit code {done.returncode}; {log} ends with: "
            + " | ".join(last)
        )
