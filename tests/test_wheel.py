"""The wheel, installed with nothing but the base dependencies, imports and reads data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import prepared_folder

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that the tree stays clean."""
    place = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests")
    shutil.copytree(ROOT, place / "source", ignore=ignored)
    (place / "source" / "README.md").touch()
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(place)]
    done = subprocess.run([*build, "./source"], cwd=place, capture_output=True, text=True)
    if done.returncode and _no_index(done.stderr):
        pytest.skip("pip reaches no package index to build the wheel with")
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A new environment with the wheel and its base dependencies, pinned as tested."""
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = str(place / "bin" / "python")
    pins = ROOT / "constraints.txt"
    constraints = ["-c", str(pins)] if pins.exists() else []
    done = subprocess.run(
        # Most of what is installed is never imported here, and need not be compiled.
        [*pip_of(python), "install", "--quiet", "--no-compile", str(wheel), *constraints],
        capture_output=True,
        text=True,
    )
    if done.returncode and _no_index(done.stderr):
        pytest.skip("pip reaches no package index to install the base dependencies from")
    assert done.returncode == 0, done.stderr
    return python


def pip_of(python: str) -> list[str]:
    """Return our own pip, working on another environment: it takes seconds to give that one."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]


def _no_index(stderr: str) -> bool:
    signs = ("No matching distribution", "Could not find a version", "connection broken")
    return any(sign in stderr for sign in signs)


def test_wheel_carries_the_whole_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ifllm_hf").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert not any(name.startswith("tests/") for name in names)


def test_wheel_carries_the_recipes_with_their_settings(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "recipes").rglob("*")
        if path.suffix in (".py", ".yaml")
    }
    assert any(name.endswith(".yaml") for name in recipes) and "recipes/dpo.py" in recipes
    assert {f"ifllm_hf/{name}" for name in recipes} <= names


def test_a_recipe_alone_finds_its_settings_in_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """As `uv run` and Hub Jobs start it: one file, in a folder with nothing else."""
    installed, alone = tmp_path / "installed", tmp_path / "alone"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(installed)
    alone.mkdir()
    shutil.copy(ROOT / "recipes" / "pipeline.py", alone)
    env = {**os.environ, "PYTHONPATH": str(installed), "IFLLM_RELEASE": ""}
    script = "from ifllm_hf.training.settings_file import find_settings as f; print(f('refresh'))"
    found = run(sys.executable, "-c", script, cwd=alone, PYTHONPATH=str(installed)).strip()
    assert found == str(installed / "ifllm_hf" / "recipes" / "refresh.yaml")
    # It and the files that it names are read; then the data are missing.
    command = [sys.executable, "pipeline.py", "--config", "refresh", "--data", "none", "--status"]
    done = subprocess.run(command, cwd=alone, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "none: does not exist" in done.stderr


def test_wheel_carries_the_card_templates(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("ifllm_hf/hub/cards/templates/") for name in names)
    assert "ifllm_hf/data/sessions/sessions_card.md" in names


def test_base_install_imports_and_reads_data_without_torch(
    base_python: str, tmp_path: Path
) -> None:
    prepared_folder.write(tmp_path / "prepared")
    script = """
import importlib.util, json
import ifllm_hf
from datasets import load_dataset
from ifllm_hf import ticks_to_numpy
from ifllm_hf.data.prepared.prepare import prepare_synthetic

rows = load_dataset("ifllm", split="train", data_dir="prepared")
made = prepare_synthetic(4, "ifllm", progress=False)
plain = load_dataset("./ifllm", "ticks", split="train")
print(json.dumps({
    "from_the_wheel": "site-packages" in ifllm_hf.__file__,
    "heavy": [m for m in ("torch", "transformers", "trl") if importlib.util.find_spec(m)],
    "query_ids": list(rows["query_id"]),
    "ticks": len(ticks_to_numpy(rows)["t_ms"]),
    "conversations": plain.num_rows == made.folder.rows["ticks"] > 0,
}))
"""
    env = {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "IFLLM_RELEASE": ""}
    answer: dict[str, Any] = json.loads(run(base_python, "-c", script, cwd=tmp_path, **env))
    assert answer == {
        "from_the_wheel": True,
        "heavy": [],
        "query_ids": [11, 12, 13, 31],
        "ticks": 8,
        "conversations": True,
    }


def test_base_install_is_consistent_and_has_the_command(base_python: str, tmp_path: Path) -> None:
    run(*pip_of(base_python), "check", cwd=tmp_path)
    help_text = run(str(Path(base_python).with_name("ifllm")), "--help", cwd=tmp_path)
    assert "prepare" in help_text and "push" in help_text
