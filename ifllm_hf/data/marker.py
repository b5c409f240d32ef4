"""How a prepared folder is recognised: by a marker in the YAML of its card."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ifllm_hf.data.card_head import HEAD

MARKER = "ifllm_prepared"
"""The key in the card's YAML that makes a folder a prepared one; its value: the schema version."""

_LINE = re.compile(rf"^{MARKER}:\s*(\d+)\s*$", re.MULTILINE)


def prepared_version(folder: str | os.PathLike[str]) -> int | None:
    """Return the schema version of a prepared folder, or None if `folder` is not one."""
    try:
        text = (Path(folder) / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return version_in(text)


def version_in(card: str) -> int | None:
    """Return the schema version that the text of a card names, or None."""
    # By the line alone: somebody's slip elsewhere in the YAML makes it no other folder.
    head = HEAD.match(card)
    line = _LINE.search(head.group(1)) if head else None
    return int(line.group(1)) if line else None


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Tell whether `folder` carries the marker of a prepared folder."""
    return prepared_version(folder) is not None
