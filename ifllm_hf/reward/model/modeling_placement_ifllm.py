"""Where the parts of the reward model may lie, and in which precision. Travels with a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

UNITS = ("TokenBehavior", "TrajectoryEncoder", "TrajectoryJoin", "EvidenceHead")
"""Modules with weights of their own beside those of their parts: all on one device."""
BEHAVIOR_PATHS = ("token_path", "trajectory_path", "join", "evidence")
"""Small and new: not worth quantising, and trained beside a quantised backbone."""
NO_TEXT = "no_text"


def parts_in_float32(model: nn.Module, prefix: str = "", more: Iterable[str] = ()) -> list[str]:
    """Return the names of the parts that stay in float32 where the rest is in float16.

    transformers looks for such a name anywhere in that of a weight, and its quantizers at the
    beginning of that of a module, so it is the whole one.

    Args:
        model: What the paths are parts of.
        prefix: Before its names, seen from the model that is loaded.
        more: Other names, of parts that may be there.
    """
    paths = [f"{prefix}{name}" for name in BEHAVIOR_PATHS if getattr(model, name) is not None]
    return [*paths, *more]


def units_of(model: Any, *, placed: bool) -> set[str]:
    """Return the names of the classes in a model that must not be split.

    Two of the peers read them. A device map must keep together what holds the embeddings; FSDP
    wraps each of them, and gathers the weights of one only in its own forward, but the embeddings
    of the tokens are called directly. Device maps are made before weights are loaded, FSDP wraps
    afterwards.

    Args:
        model: With `_no_split_modules` of all its parts.
        placed: Whether its weights have their place.
    """
    units = model._no_split_modules & {type(module).__name__ for module in model.modules()}
    embeddings = model.get_input_embeddings()
    if not placed or embeddings is None:
        return units  # type: ignore[no-any-return]
    holders = {
        type(module).__name__
        for module in model.modules()
        if module is not embeddings and any(part is embeddings for part in module.modules())
    }
    return units - holders  # type: ignore[no-any-return]


def kept_off_the_disk(device_map: Any) -> Any:
    """Return a device map with the vector for missing texts in memory.

    It is no module, so nothing would fetch it from the disk when it is read.
    """
    if not isinstance(device_map, dict):
        return device_map
    return {
        name: "cpu" if place == "disk" and name.split(".")[-1] == NO_TEXT else place
        for name, place in device_map.items()
    }
