"""What a browser sent is parsed and held against the schema: each event by itself.

A batch with an event that does not fit is kept without it, and the event is counted by reason.
Reasons name what the schema says and never repeat what was sent.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import orjson

from ifllm_hf.capture.server.refusals import malformed
from ifllm_hf.data.sessions.event_schema import fits, schema, validator, version_of

_IN_WORDS = {
    "type": "wrong type",
    "minItems": "missing field",
    "required": "missing field",
    "items": "surplus field",
    "additionalProperties": "surplus field",
    "minimum": "out of range",
    "maximum": "out of range",
    "maxLength": "out of range",
    "maxItems": "out of range",
    "pattern": "out of range",
    "const": "unknown value",
    "enum": "unknown value",
    "oneOf": "unknown name or data",
}


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    A number that JSON has not, or half of a character, is let through: it spoils the event, or the
    field of the batch, that it stands in.

    Raises:
        Refusal: It is not JSON, or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:  # slow, and lenient with NaN, infinity and lone surrogates
            value = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            raise malformed(f"The body is not JSON: {error}. Expected one object.") from None
    if not isinstance(value, dict):
        raise malformed(f"The body is a {type(value).__name__}. Expected one object.")
    return value


def check(value: dict[str, Any], definition: str) -> None:
    """Raise Refusal unless `value` is what `$defs/<definition>` of its version's schema says.

    The reason names the place and never repeats what was sent.
    """
    version = version_of(value)
    of_definition = validator(definition, version=version)
    try:
        if of_definition.is_valid(value):
            return
        fault = next(of_definition.iter_errors(value))
    except ValueError as error:  # a number or string that JSON cannot hold
        raise malformed(f"This is no JSON: {type(error).__name__}.") from None
    place = "/".join(map(str, fault.instance_path)) or "the top"
    rule = "/".join(map(str, fault.schema_path))
    raise malformed(
        f"At {place}: does not fit {rule}. Expected $defs/{definition} of version {version}."
    )


def sift(upload: dict[str, Any]) -> tuple[list[Any], Counter[str]]:
    """Return the events of an upload that fit, and how many do not, by reason.

    Raises:
        Refusal: What stands around the events does not fit.
    """
    events, version = upload.get("events"), version_of(upload)
    if fits(upload, "upload", version=version) and _is_json(events):  # nearly always
        return upload["events"], Counter()
    if not isinstance(events, list):
        events = []
    # Any good event will do where it is not looked at.
    check({**upload, "events": [["f", 0, 0]] * len(events)}, "upload")
    good, refused = [], Counter[str]()
    for event in events:
        if fits(event, "event", version=version) and _is_json(event):
            good.append(event)
        else:
            refused[why_not(event, version)] += 1
    return good, refused


def why_not(event: Any, version: int = 2) -> str:
    """Say in a few words why an event does not fit a version of the schema."""
    if not isinstance(event, list) or not event:
        return "no event"
    name = _definitions(version).get(event[0]) if isinstance(event[0], str) else None
    if name is None:
        return "unknown kind"
    if not _is_json(event):
        return f"{name}: not JSON"
    fault = next(validator(name, version=version).iter_errors(event), None)
    rule = str(fault.schema_path[-1]) if fault else ""
    return f"{name}: {_IN_WORDS.get(rule, 'does not fit')}"


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


@cache
def _definitions(version: int) -> dict[str, str]:
    """Return the definition of each kind of event."""
    definitions = schema(version)["$defs"]
    names = [option["$ref"].rsplit("/", 1)[1] for option in definitions["event"]["oneOf"]]
    return {definitions[name]["prefixItems"][0]["const"]: name for name in names}
