"""What a recipe does where no `--config` names a YAML: which one, which data, where results go."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifllm_hf.errors import DownloadError
from ifllm_hf.files import cache_folder, shipped_folder
from ifllm_hf.training.checkpoints import AUTO
from ifllm_hf.training.default_recipe import (
    Chosen,
    Offer,
    Weights,
    choose_recipe,
    has_offer,
    read_offer,
)
from ifllm_hf.training.device import this_device

FOUND = "what load_dataset finds"
"""Stands for the data until all other settings are known to be right."""
_SMOKE = {
    "dpo": "smoke.yaml",
    "kto": "smoke.yaml",
    "sft": "sft-smoke.yaml",
    "reward": "reward-smoke.yaml",
}
_MADE_UP_CONVERSATIONS = 24


@dataclass(frozen=True)
class Start:
    """What is taken where nothing was named.

    Attributes:
        file: The YAML.
        settings: What goes before the YAML.
    """

    file: Path
    settings: dict[str, Any]


def say(text: str) -> None:
    """Put one line on stderr; of several processes the first one speaks."""
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stderr.write(text + "\n")


def choose_start(stage: str) -> Start:
    """Choose the recipe of a stage for this machine, and say which.

    Args:
        stage: `dpo`, `kto`, `sft` or `reward`.
    """
    chosen = choose_here(stage)
    out = output_dir(stage, chosen)
    say(f"no --config: {chosen.said}; results go to {out}")
    settings = {"dataset": FOUND, "output_dir": out, "resume_from_checkpoint": AUTO}
    return Start(chosen.file, settings)


def choose_here(stage: str) -> Chosen:
    """Choose the recipe of a stage for this machine."""
    smoke = shipped_folder("recipes") / "configs" / _SMOKE[stage]
    return choose_recipe(this_device(), offers(stage), smoke, Weights().can_be_had)


def offers(stage: str) -> list[Offer]:
    """Return the recipes for real models of a stage."""
    files = sorted((shipped_folder("recipes") / "configs").glob("*.yaml"))
    return [read_offer(f) for f in files if has_offer(f) and _is_of(f, stage)]


def _is_of(file: Path, stage: str) -> bool:
    return (file.stem == "reward") == (stage == "reward")


def output_dir(stage: str, chosen: Chosen) -> str:
    """Return where results of a recipe go: `outputs/STAGE-MODEL`."""
    model = chosen.file.stem
    if chosen.file.name in _SMOKE.values():
        model = "smoke"
    elif model == "reward":  # a YAML for any backbone
        model = read_offer(chosen.file).model.rsplit("/", 1)[-1].lower()
    return f"outputs/{stage}-{model}"


def with_found_data(part: Any, stage: str, given: Collection[str]) -> Any:
    """Return settings of data that name what was found, else what is made up.

    Args:
        part: A dataclass with `dataset` and `eval_fold`.
        stage: Of pairs (`dpo`, `kto`, `sft`) or of turns (`reward`).
        given: Names of the settings on the command line: they stay.
    """
    folder = find_data()
    made_up = folder is None
    if folder is None and stage != "reward":
        say("data: made-up pairs")
        return replace(part, dataset="made-up")
    folder = folder or made_up_folder()
    part = replace(part, dataset=str(folder) if made_up else "ifllm")
    if part.eval_fold is not None and "eval_fold" not in given:
        there = folds_of(folder)
        if there and part.eval_fold not in there:
            say(f"eval_fold: {there[-1]}, as no reader has fold {part.eval_fold}")
            part = replace(part, eval_fold=there[-1])
    return part


def find_data() -> Path | None:
    """Return the prepared folder that `load_dataset("ifllm")` reads; None: it cannot be had."""
    from ifllm_hf.data.prepared.ifllm import find_prepared

    try:
        return find_prepared(say=say)
    except DownloadError as error:
        say(f"data: {error}")
        return None


def made_up_folder() -> Path:
    """Return a prepared folder of made-up data, made once for all commands."""
    from filelock import FileLock

    from ifllm_hf.data.marker import is_prepared
    from ifllm_hf.data.prepared.prepare import prepare_synthetic
    from ifllm_hf.data.schema import SCHEMA_VERSION
    from ifllm_hf.version import __version__

    folder = cache_folder() / "made-up" / f"{__version__}-{SCHEMA_VERSION}"
    say(f"data: MADE UP, {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not is_prepared(folder):
            prepare_synthetic(_MADE_UP_CONVERSATIONS, folder, progress=False)
    return folder


def folds_of(folder: Path) -> list[int]:
    """Return the folds of readers whose pairs a prepared folder holds, in order."""
    import polars as pl

    from ifllm_hf.data.prepared.folder import config_files

    folds = pl.read_parquet(config_files(folder, "preferences"), columns=["fold"])["fold"]
    return sorted(folds.drop_nulls().unique().to_list())
