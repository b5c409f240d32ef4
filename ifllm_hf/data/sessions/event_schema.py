"""The capture schema at work: the one place that decides what fits, for server and reader.

Version 2 is `event.schema.json`: the pages of the app, whose answers are A and B. Version 3 is what
`event_3.schema.json` defines over it: chat pages of anybody, whose messages have ids.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

VERSIONS = (2, 3)
PAGES = 3
"""The version of sessions that a chat page tells of."""


@cache
def schema(version: int = 2) -> dict[str, Any]:
    """Return a version of the capture schema."""
    loaded = _read("event.schema.json")
    if version == PAGES:
        over = _read("event_3.schema.json")
        loaded = {**over, "$defs": _of_pages(loaded["$defs"]) | over["$defs"]}
    return loaded


def version_of(value: Any) -> int:
    """Return the version that an upload or a line says it is of; 2 where it says none we know."""
    said = value.get("v") if isinstance(value, dict) else None
    return PAGES if isinstance(said, int) and said == PAGES else 2


@cache
def validator(
    definition: str, anything: str | None = None, version: int = 2
) -> jsonschema_rs.Validator:
    """Return what says whether a value is `$defs/<definition>`, and why not.

    Args:
        definition: Name of a definition.
        anything: Name of a definition inside it that is not looked at.
        version: Of the schema.
    """
    whole = schema(version)
    definitions = {**whole["$defs"], **({anything: True} if anything else {})}
    return jsonschema_rs.validator_for(
        {**whole, "$defs": definitions, "$ref": f"#/$defs/{definition}"}
    )


@cache
def _quick_validator(
    definition: str, anything: str | None, version: int
) -> jsonschema_rs.Validator:
    """Return a validator that says the same in half the time, but not why.

    Kinds of events differ in their first letter, so no event fits two: the first will do.
    """
    whole = schema(version)
    definitions = whole["$defs"]
    definitions = {
        **definitions,
        "event": {"anyOf": definitions["event"]["oneOf"]},
        "events": {"type": "array", "items": {"$ref": "#/$defs/event"}},
    }
    definitions |= {anything: True} if anything else {}
    return jsonschema_rs.validator_for(
        {**whole, "$defs": definitions, "$ref": f"#/$defs/{definition}"}
    )


def fits(value: Any, definition: str, anything: str | None = None, version: int = 2) -> bool:
    """Tell whether a value is what `validator` asks for; `events` are any number of `event`."""
    try:
        return _quick_validator(definition, anything, version).is_valid(value)
    except ValueError:  # a number or string that JSON cannot hold
        return False


def _read(name: str) -> dict[str, Any]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _of_pages(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return definitions of version 2 as version 3 has them: lines that say so, and their page."""
    made = dict(definitions)
    for name, more in (("batch_line", {"v": {"const": PAGES}}), ("session_line", _SESSION)):
        line = definitions[name]
        made[name] = {
            **line,
            "required": [*line["required"], *(key for key in more if key not in line["required"])],
            "properties": {**line["properties"], **more},
        }
    return made


_SESSION = {"v": {"const": PAGES}, "page": {"$ref": "#/$defs/page"}}
