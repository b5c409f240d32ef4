"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

from ifllm_hf.errors import require_one_of

LATE_READING = "late-reading"
PRETRAINED = (LATE_READING,)


def pretrained(name: str = LATE_READING) -> Path:
    """Return the folder of a model that comes with the package, for the Auto classes.

    Example:
        >>> pretrained("late-reading").name
        'late-reading'

    Raises:
        ConfigError: There is no such model.
    """
    require_one_of("name", name, PRETRAINED)
    return Path(__file__).with_name(name)
