"""What is written beside weights, in `run.json`: settings, data and versions."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_json_object, write_json

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
_PACKAGES = (
    "ifllm-hf",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "tokenizers",
)
_NAMES_OR_PATHS = {"model_name_or_path", "reference_model", "sft_adapter", "dataset", "labels"}
_OF_THIS_MACHINE = {"output_dir", "run_name", "resume_from_checkpoint", "hub_token"}


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Return the installed versions of what a run depends on."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def public_name(name: str | None) -> str | None:
    """Return a name without its local folder: the last part of a path that exists, else the name.

    >>> public_name("Qwen/Qwen3-4B-Base")
    'Qwen/Qwen3-4B-Base'
    """
    if name is None or not (Path(name).exists() or name.startswith((os.sep, ".", "~"))):
        return name
    return Path(name).expanduser().resolve().name


def resolved_settings(training: Any, *parts: Any) -> dict[str, Any]:
    """Return the settings of a run for its record: no secret, and no place on this machine.

    Args:
        training: transformers' `TrainingArguments`.
        *parts: The other dataclasses of the recipe; the last one counts.
    """
    settings: dict[str, Any] = training.to_dict()
    for part in parts:
        settings |= {name: v for name, v in asdict(part).items() if not name.startswith("_")}
    for name in _NAMES_OR_PATHS & settings.keys():
        settings[name] = public_name(settings[name])
    return {name: value for name, value in settings.items() if name not in _OF_THIS_MACHINE}


def write_run(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json`; a full disk leaves the old one."""
    write_json(folder / RUN_FILE, record)


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what an earlier run wrote there, or None.

    Raises:
        ConfigError: It cannot be read.
    """
    file = folder / RUN_FILE
    return read_json_object(file) if file.exists() else None


def check_same_base(before: str | None, base: str, folder: Path) -> None:
    """Refuse to go on with a run of another model.

    Args:
        before: Public name of the model so far; None: not known.
        base: That of the model now.
        folder: Of the run.

    Raises:
        ConfigError: The names differ.
    """
    if before is not None and before != base:
        raise ConfigError(
            f"the run in {folder} trains {before}, and model_name_or_path is {base}; name that "
            "model, or start in another output_dir"
        )


def keep_changed_settings(record: dict[str, Any], earlier: dict[str, Any] | None) -> None:
    """Keep what a resumed run was started with, where it goes on with other settings, and say so.

    Args:
        record: Of the run now; gets `settings_before_resume`, the values that have changed.
        earlier: What `run.json` said before; None for a run that is not resumed.
    """
    if earlier is None:
        return
    now = json.loads(json.dumps(record["settings"], default=str))
    before = earlier["settings"]
    changed = {name: old for name, old in before.items() if name in now and now[name] != old}
    if changed:
        logger.warning(
            "the run goes on with other settings than it was started with: %s; run.json keeps both",
            ", ".join(f"{name} {old} -> {now[name]}" for name, old in sorted(changed.items())),
        )
    # What an earlier change replaced is older still.
    kept = {**changed, **earlier.get("settings_before_resume", {})}
    if kept:
        record["settings_before_resume"] = kept
