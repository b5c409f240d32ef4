"""The settings of each recipe as tables, read from the dataclasses that its parser fills.

Read, not imported: what `--help` says stands in the source, and torch and TRL take seconds.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from griffe import Docstring, DocstringSectionKind
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "dpo": "dpo.md",
    "kto": "kto.md",
    "sft": "dpo.md#sft-first",
    "reward": "reward-model.md",
    "judge": "judge.md",
    "pipeline": "pipeline.md",
    "known_truth": "known-truth.md",
}
"""Recipe -> the page that explains it."""
_THEIRS = {
    "trl": "https://huggingface.co/docs/trl",
    "transformers": "https://huggingface.co/docs/transformers/main_classes/trainer",
}
_OPENING = """# Settings of the recipes

What a YAML of `recipes/` may hold, and what `--NAME VALUE` changes on the command line: the same
as `--help` says. A dot enters a part (`--judge.model`), `[]` is a list of such parts.
"""


class Row(NamedTuple):
    """One setting: its default as YAML-like text, and empty where it must be given."""

    name: str
    kind: str
    default: str
    text: str


class Found(NamedTuple):
    """A definition, and the module in which it stands."""

    module: str
    node: ast.AST


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    parts = [_OPENING]
    told: set[str] = set()
    for recipe, page in PAGES.items():
        parts.append(f"## `recipes/{recipe}.py`\n\n{_said(recipe)} More: [its page]({page}).\n")
        for module, name in _classes(recipe):
            if name in told:
                parts.append(f"[`{name}`](#{name.lower()}): as above.\n")
            else:
                parts += _section(module, name)
                told.add(name)
    files.append(File.generated(config, "settings.md", content="\n".join(parts)))
    return files


def recipe_rows(recipe: str) -> list[Row]:
    """Return the settings that a recipe has beside those of TRL and transformers."""
    return [row for module, name in _classes(recipe) for row in class_rows(module, name)]


def class_rows(module: str, name: str, prefix: str = "") -> list[Row]:
    """Return the settings of a dataclass and of its parts; a field said again counts once."""
    rows: dict[str, Row] = {}
    found = _find(module, name)
    if found is None or not isinstance(found.node, ast.ClassDef):
        return []
    for base in reversed(found.node.bases):
        rows |= {row.name: row for row in class_rows(found.module, ast.unparse(base), prefix)}
    texts = _attributes(found.node)
    for line in found.node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        kind = ast.unparse(line.annotation)
        if kind.startswith("ClassVar") or _keyword(line.value, "init") == "False":
            continue
        own = line.target.id
        default, text = _default_and_text(found.module, line.value)
        rows[f"{prefix}{own}"] = Row(f"{prefix}{own}", kind, default, text)
        for part in {n.id for n in ast.walk(line.annotation) if isinstance(n, ast.Name)}:
            inner = f"{prefix}{own}{'[]' if kind.startswith('tuple') else ''}."
            rows |= {row.name: row for row in class_rows(found.module, part, inner)}
    for own, text in texts.items():  # of what a base has, too
        if (row := rows.get(f"{prefix}{own}")) is not None:
            rows[row.name] = row._replace(text=text)
    return list(rows.values())


def _section(module: str, name: str) -> Iterator[str]:
    theirs = [*_theirs(module, name)]
    rows = class_rows(module, name)
    yield f"### {name}\n"
    found = _find(module, name)
    if found is not None and isinstance(found.node, ast.ClassDef):
        yield (ast.get_docstring(found.node) or "").partition("Attributes:")[0].strip() + "\n"
    for package, base in theirs:
        which = "All" if not rows else "Beside those below, all"
        yield f"{which} settings of [`{package}.{base}`]({_THEIRS[package]}).\n"
    if rows:
        yield "| setting | type | default | what it is |\n|---|---|---|---|"
        for row in rows:
            text = row.text.replace("|", "&#124;").replace("<", "&lt;")
            cells = (f"`{row.name}`", f"`{row.kind}`", row.default and f"`{row.default}`", text)
            yield "| " + " | ".join(cells) + " |"
        yield ""


def _said(recipe: str) -> str:
    tree = _tree(ROOT / "recipes" / f"{recipe}.py")
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _classes(recipe: str) -> list[tuple[str, str]]:
    """Return module and name of the dataclasses that the script hands to its parser."""
    tree = _tree(ROOT / "recipes" / f"{recipe}.py")
    places = {
        alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {
            "parse_recipe",
            "settings_parser",
        }:
            named = [n.id for n in ast.walk(call.args[0]) if isinstance(n, ast.Name)]
            return [(places[name], name) for name in named if name in places]
    raise ValueError(f"recipes/{recipe}.py hands no dataclass to a parser that is known here")


def _theirs(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the classes of TRL and transformers under one of ours."""
    if not module.startswith("ifllm_hf"):
        yield module, name
        return
    found = _find(module, name)
    if found is not None and isinstance(found.node, ast.ClassDef):
        for base in found.node.bases:
            yield from _theirs(
                _imported(found.module).get(ast.unparse(base), ""), ast.unparse(base)
            )


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _body(module: str) -> ast.Module:
    place = ROOT.joinpath(*module.split("."))
    return _tree(place / "__init__.py" if place.is_dir() else place.with_suffix(".py"))


@functools.cache
def _imported(module: str) -> dict[str, str]:
    """Return, for each name that a module imports, from where; its own names lead to itself."""
    places = {}
    for node in _body(module).body:
        if isinstance(node, ast.ImportFrom):
            places |= {alias.name: node.module or "" for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            places[node.name] = module
    return places


def _find(module: str, name: str) -> Found | None:
    """Return the class or the value of that name, through imports; None: it is not of ours."""
    if not module.startswith("ifllm_hf"):
        return None
    for node in _body(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return Found(module, node)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id == name:
                return Found(module, node.value)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(map(ast.unparse, target.elts), node.value.elts, strict=True)
                if name in (values := dict(pairs)):
                    return Found(module, values[name])
    place = _imported(module).get(name, module)
    return None if place == module else _find(place, name)


def _attributes(node: ast.ClassDef) -> dict[str, str]:
    text = Docstring(ast.get_docstring(node) or "").parse("google", warnings=False)
    return {
        item.name: " ".join(item.description.split())
        for section in text
        if section.kind is DocstringSectionKind.attributes
        for item in section.value
    }


def _keyword(value: ast.expr | None, name: str) -> str | None:
    words = value.keywords if isinstance(value, ast.Call) else []
    return next((ast.unparse(word.value) for word in words if word.arg == name), None)


def _default_and_text(module: str, value: ast.expr | None) -> tuple[str, str]:
    """Return the default of a field as text, and what its metadata say."""
    if value is None:
        return "", ""
    if not isinstance(value, ast.Call):
        return _shown(module, value), ""
    if ast.unparse(value.func) == "setting":
        text = ast.literal_eval(value.args[1])
        few = value.args[2] if len(value.args) > 2 else None
        if few is not None:
            text += f" One of {_choices(module, few)}."
        return _shown(module, value.args[0]), text
    metadata = _keyword(value, "metadata")
    text = str(ast.literal_eval(metadata)["help"]) if metadata else ""
    if (default := _keyword(value, "default")) is not None:
        return default, text
    made = _keyword(value, "default_factory")
    return {"dict": "{}", "list": "[]", "tuple": "()"}.get(str(made), ""), text


def _choices(module: str, few: ast.expr) -> str:
    while isinstance(few, ast.Name):
        found = _find(module, few.id)
        if found is None or not isinstance(found.node, ast.expr):
            return f"`{ast.unparse(few)}`"
        module, few = found.module, found.node
    items = few.keys if isinstance(few, ast.Dict) else getattr(few, "elts", [few])
    return ", ".join(f"`{_shown(module, item)}`" for item in items if item is not None)


def _shown(module: str, value: ast.expr) -> str:
    """Return a default as one writes it in YAML; a constant by its value."""
    if isinstance(value, ast.Name):
        found = _find(module, value.id)
        if found is not None and isinstance(found.node, ast.expr):
            return _shown(found.module, found.node)
    if isinstance(value, ast.Constant):
        if value.value is None or isinstance(value.value, bool):
            return {None: "null", True: "true", False: "false"}[value.value]
        if isinstance(value.value, str):
            plain = value.value.strip() == value.value != "" and "\n" not in value.value
            return value.value if plain else ast.unparse(value).replace("'", '"')
    return ast.unparse(value)
