"""The schema of `ifllm_hf.data.sessions` at work: the one place that decides what is stored."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import orjson

from ifllm_space.server.refusals import malformed


@cache
def schema() -> dict[str, Any]:
    """Return the capture schema, version 2."""
    text = files("ifllm_hf.data.sessions").joinpath("event.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validator(definition: str) -> Any:
    return jsonschema_rs.validator_for({**schema(), "$ref": f"#/$defs/{definition}"})


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
    validator = _validator(definition)
    try:
        fits = validator.is_valid(value)
    except ValueError as error:  # a number or string that JSON cannot hold
        raise malformed(f"This is no JSON: {error}.") from None
    if not fits:
        fault = next(validator.iter_errors(value))
        place = "/".join(map(str, fault.instance_path)) or "the top"
        rule = "/".join(map(str, fault.schema_path))
        raise malformed(
            f"At {place}: does not fit {rule}. Expected $defs/{definition} of event.schema.json."
        )
