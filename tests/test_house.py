"""The house holds its order: no import climbs or circles, no folder is crowded, one name each.

Imports inside functions and under `TYPE_CHECKING` count like all others.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, APP = "ifllm_hf", "ifllm_space"
SCRIPTS = ("recipes", "dataset_card", "spaces")

# A room may import those on earlier lines, and in one direction those on its own.
ROOMS = (
    ("errors", "version", "card_template"),
    ("files", "append_file", "progress", "retry"),
    ("hub_errors", "chat_server", "remote_path"),
    ("metrics",),
    ("data",),
    ("table_parts",),
    ("training",),
    ("capture",),
    ("behavior",),
    ("reward",),
    ("benchmark",),
    ("plot",),
    ("alignment",),
    ("hub",),
    ("_registration", "__init__", "demo", "cli_arguments", "cli", "__main__"),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

# The travelling model's own copy of an error that this package has where it is installed.
SAME_CLASS = {"DataError"}
# What a file of a folder does has one name in every folder; all other names occur once.
ROLES = {"__init__", "config", "run", "trainer", "report", "figures", "file", "tab"}

Edges = dict[str, dict[str, str]]
"""Module -> imported module -> where, for the message."""


def modules() -> dict[str, Path]:
    """Return the files of the package and the app by module; `x.__init__` for the package x."""
    found = {}
    for name, top in ((PACKAGE, ROOT), (APP, ROOT / "spaces")):
        for file in sorted((top / name).rglob("*.py")):
            found[".".join(file.relative_to(top).with_suffix("").parts)] = file
    return found


def imports(tree: ast.AST, module: str, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """Yield the known modules that a file imports, with the line."""

    def resolve(name: str) -> str | None:
        return (
            name if name in known else f"{name}.__init__" if f"{name}.__init__" in known else None
        )

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            # A name is a module of the package, or something that the package defines.
            names = [n if resolve(n := f"{base}.{a.name}") else base for a in node.names]
        else:
            continue
        for name in names:
            target = resolve(name)
            if target is not None and target != module:
                yield target, node.lineno


@pytest.fixture(scope="module")
def edges() -> Edges:
    known = modules()
    found: Edges = {module: {} for module in known}
    for module, file in known.items():
        for target, line in imports(ast.parse(file.read_text("utf-8")), module, known):
            found[module].setdefault(target, f"{file.relative_to(ROOT)}:{line}")
    return found


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_every_room_stands_in_the_order(edges: Edges) -> None:
    rooms = {room_of(module) for module in edges if module.startswith(f"{PACKAGE}.")}
    assert rooms <= set(RANK), f"say in ROOMS and CONTRIBUTING where {rooms - set(RANK)} belongs"


def test_no_import_climbs(edges: Edges) -> None:
    climbs = [
        f"{where}: {source} imports {target}"
        for source, targets in edges.items()
        for target, where in targets.items()
        if source.startswith(f"{PACKAGE}.")
        and (target.startswith(f"{APP}.") or RANK[room_of(target)] > RANK[room_of(source)])
    ]
    assert climbs == []


def test_recording_is_imported_by_those_who_serve_it_alone(edges: Edges) -> None:
    """What trains and measures knows sessions by their files."""
    users = {
        room_of(source)
        for source, targets in edges.items()
        if source.startswith(f"{PACKAGE}.")
        and any(target.startswith(f"{PACKAGE}.capture.") for target in targets)
    }
    assert users <= {"capture", "hub", "cli", "cli_arguments"}


def test_no_folder_has_a_circle(edges: Edges) -> None:
    """Hold it at every level: files and folders of one folder never import each other in a ring."""
    folders = {module.removesuffix(".__init__") for module in edges if module.endswith("__init__")}
    circles = []
    for folder in sorted(folders):
        depth = folder.count(".") + 1
        graph: dict[str, set[str]] = defaultdict(set)
        for source, targets in edges.items():
            if not source.startswith(f"{folder}."):
                continue
            for target in targets:
                ends = source.split(".")[depth], target.split(".")[depth : depth + 1]
                if target.startswith(f"{folder}.") and ends[1] != [ends[0]]:
                    graph[ends[0]].update(ends[1])
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circles.append(f"{folder}: {' <- '.join(error.args[1])}")
    assert circles == []


def test_plot_alone_imports_matplotlib() -> None:
    """No figure code stands twice: elsewhere figures are put together from what plot has."""
    foreign = []
    for file in (f for top in (PACKAGE, *SCRIPTS) for f in (ROOT / top).rglob("*.py")):
        code = file.read_text("utf-8")
        if "matplotlib" not in code or file.parent == ROOT / PACKAGE / "plot":
            continue
        for node in ast.walk(ast.parse(code)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "matplotlib" for name in names):
                foreign.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert foreign == []


@pytest.mark.parametrize("place", SCRIPTS)
def test_scripts_import_the_package_alone(place: str) -> None:
    """Recipes, card and app stand beside each other: none imports another."""
    known = modules()
    scripts = sorted((ROOT / place).rglob("*.py"))
    assert scripts
    # As Python would find them from the root, or beside the script that runs.
    for file in (f for top in SCRIPTS for f in (ROOT / top).glob("*.py")):
        known |= {f"{file.parent.name}.{file.stem}": file, file.stem: file}
    known |= {f"spaces.{name}": file for name, file in known.items() if name.startswith(APP)}
    ours = (PACKAGE, APP) if place == "spaces" else (PACKAGE,)
    foreign = [
        f"{file.relative_to(ROOT)}:{line} imports {target}"
        for file in [*scripts, *(ROOT / PACKAGE).rglob("*.py")]
        for target, line in imports(ast.parse(file.read_text("utf-8")), "", known)
        if target.split(".")[0] not in ours
    ]
    assert foreign == []


def test_every_folder_of_modules_is_a_package() -> None:
    for top in (ROOT / PACKAGE, ROOT / "spaces" / APP):
        for folder in {file.parent for file in top.rglob("*.py")}:
            assert (folder / "__init__.py").is_file(), f"{folder}: its circles would not be seen"


def test_an_import_of_every_kind_is_seen() -> None:
    known = {name: Path() for name in ("ifllm_hf.a.__init__", "ifllm_hf.a.b", "ifllm_hf.c.d")}
    code = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ifllm_hf.c.d import x\n"
        "def f():\n    from ifllm_hf.c import d\n    import ifllm_hf.c.d\n"
        "from . import here\n"
        "from ..c.d import y\n"
    )
    seen = list(imports(ast.parse(code), "ifllm_hf.a.b", known))
    assert seen == [
        ("ifllm_hf.a.__init__", 7),
        ("ifllm_hf.c.d", 8),
        ("ifllm_hf.c.d", 3),
        ("ifllm_hf.c.d", 5),
        ("ifllm_hf.c.d", 6),
    ]


def test_no_folder_is_crowded() -> None:
    """Fifteen files are the rule and three are slack; a prefix that three share is a folder."""
    crowded = {}
    for top in (PACKAGE, "spaces", "recipes", "tests"):
        for folder in [ROOT / top, *(ROOT / top).rglob("*/")]:
            if "__pycache__" in folder.parts:
                continue
            files = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]
            if len(files) > 18:
                crowded[str(folder.relative_to(ROOT))] = len(files)
    assert crowded == {}


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    twice = {n: where for n, where in places.items() if len(where) > 1 and n not in SAME_CLASS}
    assert twice == {}


def test_no_two_files_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        places[module.rsplit(".", 1)[1]].append(module)
    twice = {n: where for n, where in places.items() if len(where) > 1 and n not in ROLES}
    assert twice == {}
