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


@cache
def _quick_validator(definition: str, anything: str | None) -> jsonschema_rs.Validator:
    """Return a validator that says the same in half the time, but not why.

    Kinds of events differ in their first letter, so no event fits two: the first will do.
    """
    definitions = schema()["$defs"]
    events = {"type": "array", "items": {"$ref": "#/$defs/event"}}
    definitions = {
        **definitions,
        "event": {"anyOf": definitions["event"]["oneOf"]},
        "events": events,
    }
    definitions |= {anything: True} if anything else {}
    return jsonschema_rs.validator_for(
        {**schema(), "$defs": definitions, "$ref": f"#/$defs/{definition}"}
    )


def fits(value: Any, definition: str, anything: str | None = None) -> bool:
    """Tell whether a value is what `validator` asks for; `events` are any number of `event`."""
    try:
        return _quick_validator(definition, anything).is_valid(value)
    except ValueError:  # a number or string that JSON cannot hold
        return False
