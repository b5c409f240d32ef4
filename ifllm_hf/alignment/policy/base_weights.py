"""Know again the base model that an adapter was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLACES, _BYTES = 64, 4096


def base_fingerprint(model: str, revision: str | None = None) -> str | None:
    """Return a hash of weights that is the same wherever a copy of them lies.

    It reads the names and shapes of all tensors, and 64 places of each file: enough to tell two
    models apart, at no cost beside loading them.

    Args:
        model: A folder, or a model on the Hub that is in the local cache.
        revision: On the Hub.

    Returns:
        16 hex digits; None where no safetensors lie.
    """
    from huggingface_hub import try_to_load_from_cache

    folder = Path(model)
    if not folder.is_dir():
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
        if not isinstance(cached, str):
            return None
        folder = Path(cached).parent
    files = sorted(folder.glob("model*.safetensors"))  # others may lie beside what is loaded
    content = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            head = opened.read(8)
            length = int.from_bytes(head, "little")
            content.update(file.name.encode() + head + opened.read(length))
            first, size = 8 + length, file.stat().st_size
            for i in range(_PLACES):
                opened.seek(first + (size - first) * i // _PLACES)
                content.update(opened.read(_BYTES))
    return content.hexdigest()[:16] if files else None


def has_weights_of(
    run: Mapping[str, Any] | None, model: str, revision: str | None = None
) -> bool | None:
    """Tell whether a model has the weights that the adapter of a run was trained on.

    Args:
        run: The record of the run; None: there is none.
        model: A folder, or a model on the Hub.
        revision: On the Hub.

    Returns:
        None where the run, or the model, does not say.
    """
    recorded = (run or {}).get("base_weights")
    found = base_fingerprint(model, revision) if recorded else None
    return None if found is None else bool(found == recorded)
