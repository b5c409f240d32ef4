"""The error index: every class of error, and how each message of it begins.

Both come from the source: the classes from `ifllm_hf/errors.py`, a message from the `raise` that
puts it together. What is filled in when it happens is shown as an ellipsis.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
_FILLED = "…"
PAGES = {
    "alignment/dpo": "dpo.md",
    "alignment/generate": "judge.md",
    "alignment/judge": "judge.md",
    "alignment/known_truth": "known-truth.md",
    "alignment/kto": "kto.md",
    "alignment/labels": "label.md",
    "alignment/merge": "merge.md",
    "alignment/pairs": "preference-data.md",
    "alignment/pipeline": "pipeline.md",
    "alignment/policy": "dpo.md",
    "alignment/pretrained": "known-truth.md",
    "alignment/sft": "dpo.md",
    "behavior": "features.md",
    "benchmark/audit": "audit.md",
    "benchmark": "benchmark.md",
    "capture": "serve.md",
    "chat_server": "judge.md",
    "data/imports": "import.md",
    "data/known_truth": "known-truth.md",
    "data/ranks": "scale.md",
    "data/rendered": "collect.md",
    "data/sessions": "sessions.md",
    "data": "prepare.md",
    "demo": "demo.md",
    "hub": "push.md",
    "hub_errors": "push.md",
    "metrics": "api/metrics.md",
    "plot": "plot.md",
    "remote_path": "scale.md",
    "reward/scoring": "score.md",
    "reward": "reward-model.md",
    "training": "settings.md",
}
"""Where one reads on, by folder or file of the package; the longest that fits counts."""
_OPENING = """# Errors

The command line prints an error as one line, `error: ...`, and ends with code 1; from Python it is
an exception, and each of these is an `ifllm_hf.IFLLMError`. The line says what was seen and where,
what was expected, and what to do. Here they are listed by class and by the page to read on; find
some words of yours on this page (Ctrl+F). Names, paths and numbers of your case are … here.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page; in short sections, which is what the search finds."""
    classes = _classes()
    said = _messages({*classes})
    parts = [_OPENING]
    for name, (base, text) in classes.items():
        parts.append(f"## {name}\n\n{text}" + (f" A `{base}`." if base != "IFLLMError" else ""))
        for page, lines in sorted(said[name].items()):
            topic = page.removesuffix(".md").removeprefix("api/")
            parts.append(f"### {name}: {topic or 'anywhere'}")
            parts += [f"Read on: [{topic}]({page})."] if page else []
            parts.append("\n".join(f"- {line}" for line in sorted(lines)))
    files.append(File.generated(config, "errors.md", content="\n\n".join(parts) + "\n"))
    return files


def _classes() -> dict[str, tuple[str, str]]:
    """Return base and docstring of the errors by name, in the order of the source."""
    tree = ast.parse((ROOT / "ifllm_hf" / "errors.py").read_text(encoding="utf-8"))
    found: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        base = ast.unparse(node.bases[0]) if isinstance(node, ast.ClassDef) else ""
        if isinstance(node, ast.ClassDef) and (base == "IFLLMError" or base in found):
            found[node.name] = (base, ast.get_docstring(node) or "")
    return found


def _messages(classes: set[str]) -> dict[str, dict[str, set[str]]]:
    """Return, by class and page to read on, the messages that a `raise` puts together."""
    said: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in classes}
    package = ROOT / "ifllm_hf"
    for file in sorted(package.rglob("*.py")):
        page = _page(file.relative_to(package).with_suffix("").as_posix())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = ast.unparse(call.func)
            if name in classes and len(re.findall(r"[a-z]{2,}", line := _text(call.args[0]))) > 2:
                said[name][page].add(_plain(line))
    return said


def _text(node: ast.expr) -> str:
    """Return a message with an ellipsis for all that is known only when it happens."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _FILLED


def _plain(line: str) -> str:
    """Return a message as text in which no character means anything to Markdown or HTML."""
    line = re.sub(rf"{_FILLED}(\s*{_FILLED})+", _FILLED, " ".join(line.split()))
    return re.sub(r"([\\`*_{}\[\]<>#|~])", lambda m: f"&#{ord(m[1])};", line)


def _page(place: str) -> str:
    fitting = [start for start in PAGES if f"{place}/".startswith(f"{start}/")]
    return PAGES[max(fitting, key=len)] if fitting else ""
