"""One setting of a recipe: a field of a dataclass, with what `--help` says of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import Any


def setting(default: Any, text: str, choices: Collection[str] = ()) -> Any:
    """Return a dataclass field as the parser of TRL and transformers reads it.

    Args:
        default: Its value where neither the YAML nor the command line names it.
        text: What `--help` says of it.
        choices: The values that it can have, where there are a few.
    """
    few = {"choices": list(choices)} if choices else {}
    return field(default=default, metadata={"help": text, **few})
