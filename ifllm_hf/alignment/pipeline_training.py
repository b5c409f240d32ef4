"""One training run of a pipeline: `recipes/dpo.py` in this process or in one of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ifllm_hf.errors import ConfigError, OutputError

_LAST_LINES = 12


@dataclass(frozen=True)
class Training:
    """What `recipes/dpo.py` is asked to do.

    Attributes:
        settings: Its YAML, resolved, without places.
        pairs: The label file.
        folder: Where the adapter goes; a folder that an interrupted run left is taken up.
    """

    settings: Mapping[str, Any]
    pairs: Path
    folder: Path


def train(training: Training, launch: Sequence[str] | None) -> None:
    """Train from the beginning, or go on from the last whole checkpoint.

    Args:
        training: What to do.
        launch: Command in front of the recipe; None: train in this process.

    Raises:
        IFLLMError: See `run_dpo`; or the command ended with an error.
    """
    file = training.folder.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    places = {"dataset": str(training.pairs), "output_dir": str(training.folder)}
    file.write_text(yaml.safe_dump({**training.settings, **places}, sort_keys=True))
    arguments = ["--config", str(file)]
    if _has_checkpoint(training.folder):
        arguments += ["--resume_from_checkpoint", "true"]
    elif training.folder.exists():
        # What an interrupted run left before its first checkpoint: no result.
        shutil.rmtree(training.folder)
    if launch is None:
        _here(arguments)
    else:
        _launched([*launch, str(recipe("dpo.py")), *arguments], training.folder.with_suffix(".log"))


def recipe(name: str) -> Path:
    """Return a file of the recipes: in a wheel inside the package, else beside it.

    Raises:
        ConfigError: It is not there.
    """
    package = Path(__file__).parent.parent
    for place in (package / "recipes", package.parent / "recipes"):
        if (place / name).exists():
            return place / name
    raise ConfigError(f"no recipes/{name} beside {package}; install the package again")


def _has_checkpoint(folder: Path) -> bool:
    states = folder.glob("checkpoint-*/trainer_state.json")
    return any(state.stat().st_size for state in states)


def _here(arguments: list[str]) -> None:
    from trl import TrlParser

    from ifllm_hf.alignment.dpo_config import PairDataConfig, PairDPOConfig, PolicyConfig
    from ifllm_hf.alignment.dpo_run import run_dpo

    parser = TrlParser((PairDataConfig, PairDPOConfig, PolicyConfig))
    data, training, policy = parser.parse_args_and_config(arguments)
    run_dpo(policy, training, data)


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
