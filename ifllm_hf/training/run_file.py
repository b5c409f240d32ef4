"""What is written beside weights: settings, data and versions, in one file that is whole or old."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def write_run(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json` aside and rename it, so that a full disk leaves the old one."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{RUN_FILE}.part"
    aside.write_text(json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")
    aside.replace(folder / RUN_FILE)


def is_free(folder: Path) -> bool:
    """Tell whether a new run may be put there: nothing is, or a run that ended before any weights.

    A folder `tiny_model` is a random model that a dry run makes anew.
    """
    nothing_lost = {RUN_FILE, f".{RUN_FILE}.part", "tiny_model"}
    return not folder.exists() or {path.name for path in folder.iterdir()} <= nothing_lost


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return what an earlier run wrote there, or None."""
    file = folder / RUN_FILE
    if not file.exists():
        return None
    record: dict[str, Any] = json.loads(file.read_text())
    return record


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
