"""What `recipes/judge.py` judges where no YAML is named: what `recipes/dpo.py` left by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ifllm_hf.errors import OutputError
from ifllm_hf.files import shipped_folder
from ifllm_hf.training.checkpoints import AUTO
from ifllm_hf.training.run_record import read_run
from ifllm_hf.training.tiny_models import TINY_PREFIX
from ifllm_hf.training.without_config import choose_here, find_data, output_dir, say


def judge_without_config() -> tuple[Path, list[str]]:
    """Return a YAML and what goes before it: the last DPO run of this machine, judged by people.

    Where there is none yet, the dry run is made first. Nobody else is asked to judge, as endpoints
    cost money.

    Raises:
        OutputError: The dry run failed.
    """
    recipes = shipped_folder("recipes")
    smoke = recipes / "configs" / "smoke.yaml"
    folder = Path(output_dir("dpo", choose_here("dpo")))
    if _finished(folder) is None:
        folder = Path("outputs/dpo-smoke")
    if _finished(folder) is None:
        say(f"no --config, and no run of recipes/dpo.py to judge yet: the dry run makes {folder}")
        _train(recipes / "dpo.py", smoke, folder)
    run = _finished(folder)
    if run is None:
        raise OutputError(f"{folder}: recipes/dpo.py did not end well; its messages stand above")
    settings = run["settings"]
    base = str(settings["model_name_or_path"])
    if base.startswith(TINY_PREFIX):
        base = str(folder / "tiny_model")
    out = f"outputs/judge-{folder.name.removeprefix('dpo-')}"
    say(f"no --config: three answers of {folder} and of what it started from, judged by you; {out}")
    candidate = {"name": "dpo", "adapter": str(folder)}
    chosen = {
        "baseline.model": base,
        "candidates": [candidate],
        "prompts.dataset": settings["dataset"],
        "prompts.fold": settings["eval_fold"],
        "output_dir": out,
    }
    words = [word for name, value in chosen.items() for word in (f"--{name}", json.dumps(value))]
    return recipes / "configs" / "judge-smoke.yaml", words


def _finished(folder: Path) -> dict[str, Any] | None:
    run = read_run(folder)
    return run if run is not None and "result" in run else None


def _train(script: Path, config: Path, folder: Path) -> None:
    dataset = "made-up" if find_data() is None else "ifllm"
    command = [
        *(sys.executable, str(script), "--config", str(config), "--dataset", dataset),
        *("--output_dir", str(folder), "--resume_from_checkpoint", AUTO),
    ]
    subprocess.run(command, stdout=sys.stderr, check=False)
