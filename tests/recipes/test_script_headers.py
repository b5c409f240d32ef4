"""Recipes as scripts that say what they need (PEP 723), and the commands of docs/hub-jobs.md."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
# The expression of PEP 723.
_BLOCK = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$",
)
JOBS = (ROOT / "docs" / "hub-jobs.md").read_text(encoding="utf-8")


def header(file: Path) -> dict[str, Any]:
    (block,) = _BLOCK.finditer(file.read_text(encoding="utf-8"))
    assert block["type"] == "script"
    return tomllib.loads("".join(line[2:] + "\n" for line in block["content"].splitlines()))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_names_this_package_with_what_training_needs(file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = header(file)
    (needed,) = map(Requirement, said["dependencies"])
    assert needed.name == project["name"] and needed.extras == {"train"}
    assert needed.extras <= project["optional-dependencies"].keys()
    assert said["requires-python"] == project["requires-python"]
    assert needed.specifier.contains(project["version"])


def commands(tool: str) -> list[list[str]]:
    """Return the commands of the page's code blocks that begin so, as words."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", JOBS, re.DOTALL)).replace("\\\n", " ")
    found = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    return [words for words in found if " ".join(words).startswith(tool)]


def test_the_jobs_of_the_page_are_understood(tmp_path: Path) -> None:
    """Of `hf jobs` itself, which stops before it asks anybody."""
    jobs = commands("hf jobs")
    assert [words[2] for words in jobs] == ["uv", "scheduled"]
    for words in jobs:
        script = next(i for i, word in enumerate(words) if word.endswith(".py"))
        command = [*words[1:script], "--dry-run", "--namespace", "ORG", *words[script:]]
        done = subprocess.run(
            [sys.executable, "-m", "huggingface_hub.cli.hf", *command],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_x", "HF_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert f"args       {' '.join(words[script + 1 :])}" in done.stdout
        assert "(dry run) Job not submitted" in done.stdout


def test_settings_of_jobs_are_names_and_no_files() -> None:
    """A path would be sent without the files beside it, and one that is not here is refused."""
    from ifllm_hf.training.settings_file import find_settings

    for words in [*commands("hf jobs"), *commands("uv run")]:
        named = words[words.index("--config") + 1]
        assert "." not in named
        assert Path(find_settings(named)).is_relative_to(ROOT / "recipes")
