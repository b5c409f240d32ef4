"""The YAML at the head of a card (README.md): the one place that takes it off the text.

As `huggingface_hub.metadata_load`, but a byte that is no UTF-8 does no harm, the text below comes
along, and broken YAML is an error of ours.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ifllm_hf.errors import SourceError

HEAD = re.compile(r"\A\s*---\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)


def split_card(text: str, name: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    r"""Return what the head of a card says, empty without one, and the text below it.

    Args:
        text: The card.
        name: Where it is from, for the message.

    Raises:
        SourceError: The YAML is broken.

    >>> split_card("---\nlicense: mit\n---\n# Data", "README.md")
    ({'license': 'mit'}, '# Data')
    """
    import yaml

    head = HEAD.match(text)
    if head is None:
        return {}, text
    try:
        said = yaml.safe_load(head.group(1))
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise SourceError(f"{name}: the YAML of its card is broken ({why}). Mend it.") from error
    return said if isinstance(said, dict) else {}, text[head.end() :].lstrip("\r\n")


def card_head(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the head of a folder's README.md says; empty if there is none to read.

    Raises:
        SourceError: The YAML is broken.
    """
    try:
        text = (Path(folder) / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return split_card(text, folder)[0]
