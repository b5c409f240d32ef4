"""Save and load baselines as skops archives: arrays and settings, no code.

A baseline is a dataclass. Its `init` fields are settings, the others are what `fit` learned. Both
are written; the class is written as a name and looked up in `SAVED_CLASSES`, so that loading a file
from the Hub runs nothing that the file brings along.
"""

from __future__ import annotations

import importlib
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import check_free, whole_file

FORMAT = 1
_REFERENCE = "ifllm_hf.reward.baselines.length_rule"
SAVED_CLASSES = {
    "TrainingMean": _REFERENCE,
    "LengthRule": _REFERENCE,
    "LengthLR": _REFERENCE,
    "AntisymmetricLR": "ifllm_hf.reward.baselines.linear",
    "LateReading": "ifllm_hf.reward.baselines.late_reading",
    "AntisymmetricBooster": "ifllm_hf.reward.baselines.boosting",
    "PaperForest": "ifllm_hf.reward.baselines.forest",
    "TfidfLR": "ifllm_hf.reward.baselines.text_models",
    "EncoderLR": "ifllm_hf.reward.baselines.text_models",
    "PointwiseRidge": "ifllm_hf.reward.baselines.pointwise",
}
"""Name in the file -> module; nothing else is ever loaded."""

# scikit-learn's and numpy's own types that skops does not trust by itself: plain arrays of numbers.
_TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)


class Saved:
    """What every baseline can do beside `fit` and `predict_proba`; mix into a dataclass."""

    def config(self) -> dict[str, Any]:
        """Return the settings, as JSON types."""
        named = ("name", "antisymmetric", "reference", "contaminated")
        return {k: v for k, v in _split(self)[0].items() if k not in named}

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the fitted model; see `save_model`."""
        save_model(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a fitted model of this class; see `load_model`.

        Raises:
            DataError: The file holds a model of another class, or none.
        """
        model = load_model(path)
        if not isinstance(model, cls):
            raise DataError(
                f"{path} holds a {type(model).__name__}; expected a {cls.__name__}. Use "
                "`ifllm_hf.reward.baselines.saving.load_model` for any kind"
            )
        return model


def save_model(model: Any, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a fitted baseline to a skops archive, whole or not at all.

    Raises:
        ConfigError: A model of a class that `load_model` would not load, or no skops.
        OutputError: The place is taken or cannot be written.
    """
    name = type(model).__name__
    if SAVED_CLASSES.get(name) != type(model).__module__:
        raise ConfigError(
            f"a {type(model).__module__}.{name} cannot be saved; expected one of "
            f"{', '.join(SAVED_CLASSES)}"
        )
    path = check_free(path, overwrite=overwrite)
    settings, state = _split(model)
    content = {"format": FORMAT, "class": name, "settings": settings, "state": state}
    with whole_file(path) as aside, aside.open("wb") as file:
        _skops().dump(content, file)


def load_model(path: Path | str) -> Any:
    """Read a baseline written by `save_model`; no code of the file is run.

    Raises:
        DataError: Not such a file, or one that names types beyond those of our baselines.
        ConfigError: No skops.
    """
    path = Path(path)
    skops = _skops()
    try:
        foreign = set(skops.get_untrusted_types(file=path)) - _TRUSTED
        if foreign:
            raise DataError(
                f"{path} holds objects of type {', '.join(sorted(foreign)[:3])}, which no baseline "
                "needs; it is not loaded. Ask whoever made it for a file written by `save_model`"
            )
        content = skops.load(path, trusted=sorted(_TRUSTED))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        # The last two: a schema that is no JSON, or not one that skops writes.
        raise DataError(
            f"{path}: not a saved baseline ({error}); expected a file written by `save_model`"
        ) from error
    parts = {"format", "class", "settings", "state"}
    if not isinstance(content, dict) or content.get("format") != FORMAT or parts > set(content):
        raise DataError(f"{path}: not a saved baseline of format {FORMAT}; write it again")
    name, settings, state = (content[part] for part in ("class", "settings", "state"))
    if not isinstance(name, str) or name not in SAVED_CLASSES:
        raise DataError(
            f"{path} holds a {name!r}; expected one of {', '.join(SAVED_CLASSES)}. A newer version "
            "of this package may know it"
        )
    kind = getattr(importlib.import_module(SAVED_CLASSES[name]), name)
    known = {f.name: f.init for f in fields(kind)}
    for key, value in getattr(kind, "absent_from_older_files", {}).items():
        if key not in settings and key not in state:
            (settings if known[key] else state)[key] = value
    wrong = [k for k in settings if not known.get(k)] + [k for k in state if known.get(k, True)]
    wrong += [k for k in known if k not in settings and k not in state]
    if wrong:
        raise DataError(
            f"{path}: field {wrong[0]!r} is not where a {name} of this version has it; the file "
            "comes from another version. Fit the model again"
        )
    model = kind(**settings)
    for key, value in state.items():
        setattr(model, key, value)
    return model


def _split(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and learned values of a dataclass."""
    assert is_dataclass(model)
    settings: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for f in fields(model):
        (settings if f.init else state)[f.name] = getattr(model, f.name)
    return settings, state


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise ConfigError(
            "saving and loading baselines needs skops, which is not installed; install the extra "
            "`learn`"
        ) from error
    return skops.io
