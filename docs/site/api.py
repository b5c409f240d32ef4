"""Pages of the public Python names, one for each room; mkdocstrings reads their docstrings.

Nothing is imported but `ifllm_hf` itself, so that the site can be built without torch.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import ifllm_hf
from ifllm_hf._registration import _AUTO, TASK

ROOT = Path(__file__).parents[2]
ROOMS = {
    "data": "Ticks as arrays. The tables come by `load_dataset` ([prepare](../prepare.md)).",
    "reward": "The [reward model](../reward-model.md), its [processor](../reward-processor.md), "
    "what moved a score, and rewards [in TRL's trainers](../rewards-in-trl.md).",
    "metrics": "Scores of preference models: `evaluate` modules, and the functions under them, "
    "which need numpy alone.",
    "plot": "The three figures; with pictures on [their page](../plot.md).",
    "capture": "Recording on a page of your own: [a chat in Gradio](../chat-pages.md), or a "
    "FastAPI application ([any page](../serve.md)).",
    "hub": "Publishing from Python; [the command](../push.md) does the same.",
}
"""Room -> what its page opens with."""
# Beside what a room exports: modules whose functions are public, all of them.
_MODULES = {"metrics": ["ifllm_hf.metrics.core"]}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of each room, and the list of all names."""
    rooms = _names()
    for room, opening in ROOMS.items():
        parts = [f"# `ifllm_hf.{room}`", opening]
        parts += [f"::: {name}" for name in [*rooms[room], *_MODULES.get(room, [])]]
        page = "\n\n".join(parts) + "\n"
        files.append(File.generated(config, f"api/{room}.md", content=page))
    files.append(File.generated(config, "api/index.md", content=_index(rooms)))
    return files


def _names() -> dict[str, list[str]]:
    """Return what is public by room, as full names."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, module in sorted(ifllm_hf._EXPORTS.items()):
        room = module.split(".")[1]
        if room in ROOMS:
            rooms[room].append(f"{module}.{name}")
    for room in ("plot", "capture", "metrics"):
        file = ROOT / "ifllm_hf" / room / "__init__.py"
        rooms[room] += [f"ifllm_hf.{room}.{name}" for name in _exported(file)]
    return rooms


def _exported(file: Path) -> list[str]:
    """Return `__all__` of a file without running it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value))
    return []


def _index(rooms: dict[str, list[str]]) -> str:
    """Return the page of all names: from where each is imported, and who finds it by itself."""
    lines = [
        "# Public names",
        "",
        "`import ifllm_hf` is cheap: each name is imported when it is asked for.",
        "",
        "| name | import | page |",
        "|---|---|---|",
    ]
    for room, names in rooms.items():
        for full in names:
            name = full.rsplit(".", 1)[1]
            place = "ifllm_hf" if name in ifllm_hf._EXPORTS else f"ifllm_hf.{room}"
            lines.append(
                f"| [`{name}`][{full}] | `from {place} import {name}` | [{room}]({room}.md) |"
            )
    lines += [
        "| `IFLLMError` | `from ifllm_hf import IFLLMError` | [errors](../errors.md) |",
        "| `__version__` | `from ifllm_hf import __version__` | |",
        "",
        "## The Auto classes",
        "",
        "After `import ifllm_hf`, before or after `import transformers`, these know our models:",
        "",
        "| of transformers | gives |",
        "|---|---|",
    ]
    public = {full.rsplit(".", 1)[1]: full for full in rooms["reward"]}
    for classes in _AUTO.values():
        lines += [f"| `{auto}` | [`{ours}`][{public[ours]}] |" for auto, ours in classes.items()]
    pipeline = "ImplicitRewardPipeline"
    lines.append(f'| `pipeline("{TASK}")` | [`{pipeline}`][{public[pipeline]}] |')
    lines += ["", '`load_dataset("ifllm")` of `datasets` is found the same way.', ""]
    return "\n".join(lines)
