"""What a browser sent is parsed and held against the schema, or refused."""

from __future__ import annotations

from typing import Any

import orjson

from ifllm_hf.data.sessions.event_schema import validator
from ifllm_space.server.refusals import malformed


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        Refusal: It is not JSON (which has no NaN and no infinity), or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed(f"The body is not JSON: {error}. Expected one object.") from None
    if not isinstance(value, dict):
        raise malformed(f"The body is a {type(value).__name__}. Expected one object.")
    return value


def check(value: dict[str, Any], definition: str) -> None:
    """Raise Refusal unless `value` is what `$defs/<definition>` of the schema says.

    The reason names the place and never repeats what was sent.
    """
    of_definition = validator(definition)
    try:
        fits = of_definition.is_valid(value)
    except ValueError as error:  # a number or string that JSON cannot hold
        raise malformed(f"This is no JSON: {error}.") from None
    if not fits:
        fault = next(of_definition.iter_errors(value))
        place = "/".join(map(str, fault.instance_path)) or "the top"
        rule = "/".join(map(str, fault.schema_path))
        raise malformed(
            f"At {place}: does not fit {rule}. Expected $defs/{definition} of event.schema.json."
        )
