"""How a prepared folder is recognised: by a marker in the YAML of its card."""

from __future__ import annotations

import os

from ifllm_hf.data.card_head import card_head
from ifllm_hf.errors import SourceError

MARKER = "ifllm_prepared"
"""The key in the card's YAML that makes a folder a prepared one; its value: the schema version."""


def prepared_version(folder: str | os.PathLike[str]) -> int | None:
    """Return the schema version of a prepared folder, or None if `folder` is not one."""
    try:
        version = card_head(folder).get(MARKER)
    except SourceError:
        return None
    return version if type(version) is int else None


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Tell whether `folder` carries the marker of a prepared folder."""
    return prepared_version(folder) is not None
