"""Inside each folder of the Space nothing imports in a circle, folders taken as one."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ifllm_space

ROOT = Path(ifllm_space.__file__).parent


def imported(file: Path) -> set[Path]:
    """Return the modules of the Space that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ifllm_space"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        parts = name.split(".")[1:]
        module = ROOT.joinpath(*parts).with_suffix(".py")
        place = module if module.is_file() else ROOT.joinpath(*parts[:-1])
        found.add(place if place.suffix or place.is_dir() else place.with_suffix(".py"))
    return found


@pytest.mark.parametrize("folder", [".", "explore", "score", "collect", "server"])
def test_no_circles(folder: str) -> None:
    home = ROOT / folder
    graph: dict[str, set[str]] = {}
    for file in home.rglob("*.py"):
        child = file.relative_to(home).parts[0]
        if child == "__init__.py":
            continue
        inside = {
            p.relative_to(home).parts[0]
            for p in imported(file)
            if p.is_relative_to(home) and p != home
        }
        graph.setdefault(child, set()).update(inside - {child})
    assert list(TopologicalSorter(graph).static_order())
