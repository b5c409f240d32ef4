"""`event.schema.json` at work: the one place that decides what fits, for server and reader."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs


@cache
def schema() -> dict[str, Any]:
    """Return the capture schema, version 2."""
    text = Path(__file__).with_name("event.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def validator(definition: str, anything: str | None = None) -> jsonschema_rs.Validator:
    """Return what says whether a value is `$defs/<definition>`, and why not.

    Args:
        definition: Name of a definition.
        anything: Name of a definition inside it that is not looked at.
    """
    definitions = {**schema()["$defs"], **({anything: True} if anything else {})}
    return jsonschema_rs.validator_for(
        {**schema(), "$defs": definitions, "$ref": f"#/$defs/{definition}"}
    )


def all_fit(values: list[Any], definition: str) -> bool:
    """Tell whether each of many values fits, in one call."""
    try:
        return _validator_of_lists(definition).is_valid(values)
    except ValueError:
        return False


@cache
def _validator_of_lists(definition: str) -> jsonschema_rs.Validator:
    items = {"type": "array", "items": {"$ref": f"#/$defs/{definition}"}}
    of_one = {name: value for name, value in schema().items() if name != "$ref"}
    return jsonschema_rs.validator_for({**of_one, **items})


def fits(value: Any, definition: str, anything: str | None = None) -> bool:
    """Tell whether a value is what `validator` asks for."""
    try:
        return validator(definition, anything).is_valid(value)
    except ValueError:  # a number or string that JSON cannot hold
        return False
