"""Read a YAML file into nested frozen dataclasses; unknown keys are errors, `--a.b value` wins.

For settings with lists and parts inside (judging, pipelines). Flat training settings go through
TRL's parser.
"""

from __future__ import annotations

import argparse
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ifllm_hf.errors import ConfigError
from ifllm_hf.files import shipped_folder

T = TypeVar("T")


def find_settings(name: str) -> str:
    """Return the path of a YAML file: `name` itself, else the one in recipes/ of this package.

    So a recipe that runs away from its checkout finds its settings: as
    `recipes/configs/qwen3-4b.yaml`, or in short `qwen3-4b`.

    Args:
        name: What was asked for; returned as it is where nothing is found.
    """
    if Path(name).exists():
        return name
    inside = name.removeprefix("recipes/").removesuffix(".yaml") + ".yaml"
    recipes = shipped_folder("recipes")
    known = {file.relative_to(recipes).as_posix(): file for file in recipes.rglob("*.yaml")}
    found = known.get(inside) or known.get(f"configs/{inside}")
    return name if found is None else str(found)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the settings of a YAML file, by name.

    Raises:
        ConfigError: It cannot be read, or holds something else.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(
            f"{path}: cannot be read as YAML ({why}); name a YAML file of settings, as in recipes/"
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(
            f"{path}: holds {type(settings).__name__}; expected settings, "
            "`name: value` on each line"
        )
    return settings


def read_settings(kind: type[T], path: Path | str, overrides: Sequence[str] = ()) -> T:
    """Read settings from a YAML file and the command line.

    Args:
        kind: The dataclass to fill.
        path: The YAML file.
        overrides: What stood on the command line: `--judge.model`, `gpt-4.1-mini`, ... Values are
            read as YAML; a dot enters a part.

    Raises:
        ConfigError: No such file, no YAML mapping, an unknown or missing key, or a wrong type.
    """
    values = read_yaml(path)
    for name, text in _pairs(overrides):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name} {text}: no YAML value; put it in quotes") from error
        _put(values, name.removeprefix("--").split("."), value, name)
    return build(kind, values, str(path))


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of `--NAME VALUE` and of `--NAME=VALUE`."""
    words = iter(overrides)
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} stands where a setting was expected; write --NAME VALUE")
        name, equals, value = word.partition("=")
        if not equals and (following := next(words, None)) is None:
            raise ConfigError(f"{word} has no value; write {word} VALUE")
        yield name, value if equals else str(following)


def settings_parser(kind: type[Any], description: str | None) -> argparse.ArgumentParser:
    """Return a parser that explains; what it does not know is for `read_settings`.

    Args:
        kind: The dataclass that the YAML fills; `--help` describes its settings.
        description: What the script does.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"settings of the YAML, or --NAME VALUE:\n\n{describe(kind)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", help="YAML with the settings below, or the name of one in recipes/"
    )
    return parser


def describe(kind: type[Any], prefix: str = "") -> str:
    """Return the settings of a dataclass and of its parts, for `--help`.

    The text of a setting is what its class says of it under `Attributes:`.
    """
    hints = typing.get_type_hints(kind)
    lines = []
    for name, text in _attributes(kind):
        lines += textwrap.wrap(f"{prefix}{name}: {text}", 96, subsequent_indent="      ")
        many = typing.get_origin(hints[name]) is tuple
        for part in (hints[name], *typing.get_args(hints[name])):
            if isinstance(part, type) and is_dataclass(part):
                lines += [describe(part, f"{prefix}{name}{'[]' if many else ''}.")]
    return "\n".join(filter(None, lines))


def _attributes(kind: type[Any]) -> list[tuple[str, str]]:
    """Return name and text of each field that stands under `Attributes:`."""
    _, _, block = inspect.cleandoc(str(kind.__doc__)).partition("Attributes:\n")
    known = {f.name for f in fields(kind)}
    texts: list[tuple[str, str]] = []
    for line in block.splitlines():
        name, colon, rest = line.strip().partition(":")
        if colon and name in known:
            texts.append((name, rest.strip()))
        elif texts:
            texts[-1] = (texts[-1][0], f"{texts[-1][1]} {line.strip()}")
    return texts


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Fill a dataclass from a mapping, checking names and types on the way.

    Raises:
        ConfigError: An unknown or missing key, or a value of a wrong type.
    """
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ConfigError(
            f"{where}: there is no setting {unknown[0]!r}; expected some of {', '.join(known)}"
        )
    missing = [
        name
        for name, f in known.items()
        if name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} is missing; add it")
    return kind(
        **{key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        origin = typing.get_origin(option) or option
        if is_dataclass(option) and isinstance(value, Mapping):
            return build(typing.cast(type[Any], option), value, where)
        if origin is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(option)[0]
            return tuple(_value(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin in (int, str, bool, dict) and type(value) is origin:
            return value
    names = " or ".join(
        "nothing" if o is type(None) else getattr(o, "__name__", str(o)) for o in options
    )
    raise ConfigError(f"{where} is {value!r}; expected {names}")


def _put(values: dict[str, Any], path: Sequence[str], value: Any, name: str) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {part} holds {inner!r}, which has no parts")
        values = inner
    values[path[-1]] = value
