"""Every command of the README runs, or at least parses, and its files are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ifllm_hf.cli import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_the_readme_names_the_two_commands() -> None:
    assert ["make", "demo"] in commands() and ["make", "test"] in commands()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test", "bench"} <= set(targets)


@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "ifllm"], ids=" ".join)
def test_every_ifllm_command_of_the_readme_parses(command: list[str]) -> None:
    assert parser().parse_args(command[1:]).command == command[1]


def test_every_recipe_of_the_readme_is_there() -> None:
    launched = [c for c in commands() if c[0] == "accelerate"]
    assert launched
    for command in launched:
        assert (ROOT / command[2]).is_file()
        if "--config" in command:  # without it a recipe chooses by itself
            assert (ROOT / command[command.index("--config") + 1]).is_file()


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.split()) < 700
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_lines_of_python_run_from_any_folder(tmp_path: Path, synthetic_release: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "IFLLM_RELEASE": str(synthetic_release),
            "HF_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
