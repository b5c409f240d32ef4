"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

from ifllm_hf.errors import require_one_of

LATE_READING, KNOWN_TRUTH = "late-reading", "known-truth"
PRETRAINED = (LATE_READING,)
"""Those that score answers."""
_HERE = Path(__file__)
_FOLDERS = {
    LATE_READING: _HERE.with_name(LATE_READING),
    KNOWN_TRUTH: _HERE.parents[2] / "alignment" / "pretrained" / KNOWN_TRUTH,
}


def pretrained(name: str = LATE_READING) -> Path:
    """Return the folder of a model that comes with the package, for the Auto classes.

    Args:
        name: `late-reading`, a reward model; or `known-truth`, a small language model.

    Example:
        >>> pretrained("late-reading").name
        'late-reading'

    Raises:
        ConfigError: There is no such model.
    """
    require_one_of("name", name, tuple(_FOLDERS))
    return _FOLDERS[name]


def place_of_language_model(name: str) -> str:
    """Return the folder of a language model that comes with the package; other names as they are.

    >>> place_of_language_model("Qwen/Qwen3-4B-Base")
    'Qwen/Qwen3-4B-Base'
    """
    return str(pretrained(name)) if name == KNOWN_TRUTH and not Path(name).is_dir() else name
