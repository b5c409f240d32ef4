"""Every command and every block of Python in README and docs/ is one that the program knows.

Here they are parsed; what runs is tested where it belongs (`test_readme.py`, the tests of a room).
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ifllm_hf.cli import parser
from ifllm_hf.training.settings_file import find_settings, read_settings, read_yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {
    "export": "sets a variable",
    "wait": "of the shell",
    "curl": "asks a program of others for its export",
    "trackio": "shows what a run of docs/dpo.md sent; its own program",
    "uv": "tests/recipes/test_script_headers.py",
    "hf": "tests/recipes/test_script_headers.py asks hf itself",
}
"""Commands that are not ours -> why nothing is parsed, or where."""
# Of recipes whose settings are a YAML: what the script itself takes.
FLAGS = {"--status", "--json", "--quick", "--report"}
_FENCED = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Command(NamedTuple):
    """One command of a page, without variables in front of it and what the shell does after it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    found = _FENCED.findall(page.read_text(encoding="utf-8"))
    return [body for said, body in found if said == language]


def lines(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks, and of others those after a prompt."""
    for block in blocks(page, "bash"):
        yield from block.replace("\\\n", " ").splitlines()
    for block in blocks(page, ""):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


def commands() -> list[Command]:
    found = []
    for page in PAGES:
        variables: dict[str, str] = {}
        for line in lines(page):
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.wordchars += "$@^[]{}:,%"
            parts: list[list[str]] = [[]]
            for word in words:
                if re.fullmatch("[&;|<>()]+", word):
                    if word.startswith((">", "<")):
                        break  # a file follows
                    parts.append([])
                else:
                    parts[-1].append(word)
            for part in parts:
                while part and (given := re.fullmatch(r"([A-Z_]+)=(.*)", part[0])):
                    variables[given[1]] = given[2]
                    part = part[1:]
                if part:
                    found.append(Command(page.relative_to(ROOT).as_posix(), tuple(part)))
    return found


COMMANDS = commands()


def of(tool: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[0] == tool]


def test_the_pages_have_no_command_that_nobody_looks_at() -> None:
    ours = {"ifllm", "python", "accelerate", "make", "pip"}
    unknown = [str(c) for c in COMMANDS if c.words[0] not in ours | ELSEWHERE.keys()]
    assert unknown == []
    assert len(of("ifllm")) > 60 and len(of("accelerate")) > 15


@pytest.mark.parametrize("command", of("ifllm"), ids=str)
def test_a_command_parses(command: Command) -> None:
    assert parser().parse_args(command.words[1:]).command == command.words[1]


def test_options_named_in_a_sentence_exist() -> None:
    """`ifllm label --unpaired`, say, of which the rest is left out."""
    (subparsers,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    wrong, seen = [], 0
    for page in PAGES:
        text = _FENCED.sub("", page.read_text(encoding="utf-8"))
        for words in (span.split() for span in re.findall(r"`ifllm ([^`]+)`", text)):
            if not re.fullmatch("[a-z]+", words[0]):
                continue  # `ifllm ...`
            seen += 1
            known = subparsers.choices.get(words[0])
            options = {w.partition("=")[0] for w in words if w.startswith("--")}
            if known is None or not options <= _options(known):
                wrong.append(f"{page.name}: ifllm {' '.join(words)}")
    assert wrong == [] and seen > 60


def _options(known: argparse.ArgumentParser) -> set[str]:
    """Return the options of a command and of the commands inside it."""
    found = set(known._option_string_actions)
    for action in known._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {o for inner in action.choices.values() for o in _options(inner)}
    return found


def test_make_and_pip_are_given_what_there_is() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {c.words[1] for c in of("make")} <= {*targets}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in of("pip"):
        for extras in re.findall(r"(?:^\.|ifllm-hf)\[(.*?)\]", " ".join(command.words[2:])):
            assert {*extras.split(",")} <= project["optional-dependencies"].keys()


def launched() -> list[Command]:
    """Return each run of a script, as the script and its arguments."""
    found = []
    for command in [*of("python"), *of("accelerate")]:
        script = next((i for i, w in enumerate(command.words) if w.endswith(".py")), None)
        if script is not None:
            found.append(Command(command.page, command.words[script:]))
    return found


def test_modules_that_are_run_are_there() -> None:
    for command in of("python"):
        if command.words[1] == "-m":
            assert importlib.util.find_spec(command.words[2]) is not None, command
    named = [c for c in of("python") if c.words[1] not in {"-m"}]
    assert len(named) + len(of("accelerate")) == len(launched())


@functools.cache
def flat_classes(recipe: str) -> tuple[type[Any], ...]:
    """Return what the parser of TRL fills for a recipe; empty: it is not of that kind."""
    if recipe == "reward":
        from trl import ModelConfig

        from ifllm_hf.reward.training import config as reward

        ours = (reward.RewardDataConfig, reward.RewardInputConfig, reward.RewardTrainingConfig)
        return (*ours, ModelConfig)
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.kto.config import UnpairedKTOConfig
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig

    trained = {"dpo": PairDPOConfig, "kto": UnpairedKTOConfig, "sft": PairSFTConfig}.get(recipe)
    return () if trained is None else (PairDataConfig, trained, PolicyConfig)


@functools.cache
def flat_parser(recipe: str) -> Any:
    from trl import TrlParser

    made = TrlParser(flat_classes(recipe), allow_abbrev=False)
    for action in made._actions:
        action.required = False  # the YAML may hold it
    return made


def nested_class(recipe: str, file: str) -> type[Any]:
    from ifllm_hf.alignment.judge.config import JudgeConfig
    from ifllm_hf.alignment.known_truth.config import TruthGrid
    from ifllm_hf.alignment.known_truth.waves.config import TruthWaves
    from ifllm_hf.alignment.pipeline.config import PipelineConfig

    truth = TruthWaves if "waves" in read_yaml(file) else TruthGrid
    return {"judge": JudgeConfig, "pipeline": PipelineConfig, "known_truth": truth}[recipe]


@pytest.mark.parametrize("command", launched(), ids=str)
def test_a_script_is_there_and_takes_these_settings(command: Command) -> None:
    from ifllm_hf.training.recipe_arguments import split_config

    script, *words = command.words
    source = (ROOT / script).read_text(encoding="utf-8")
    if not script.startswith("recipes/"):
        assert all(f'"{w}"' in source for w in words if w.startswith("--")), "no such option"
        return
    recipe = Path(script).stem
    file, given = split_config(words)
    if file is not None:
        assert read_yaml(find_settings(file))
    if flat_classes(recipe):
        _, left = flat_parser(recipe).parse_known_args(given)
        assert left == []
        return
    flags = [w for w in given if w in FLAGS]
    assert all(f'"{flag}"' in source for flag in flags), "no such flag"
    default = {"judge": "judge-smoke", "known_truth": "known-truth-grid"}.get(recipe, recipe)
    settings = find_settings(file or default)
    overrides = [w for w in given if w not in FLAGS]
    read_settings(nested_class(recipe, settings), settings, overrides)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_of_a_page_compiles_and_imports_what_there_is(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(compile(code, str(page), "exec", flags=ast.PyCF_ONLY_AST)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ifllm_hf"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
