"""Scores of preference models.

* `core`: the formulas, checked inputs, intervals over workers; numpy only.
* `weighted`, `grouped`: the same scores under many bootstrap draws at once, by row or by group.
* `modules`: `evaluate` modules over `core`; `scripts/`: the files that `evaluate.load` opens.

`load("ece")` returns the `evaluate` module without network; `evaluate.load(path("ece"))` does the
same through `evaluate` itself. Nothing here needs `evaluate` until a module is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError

if TYPE_CHECKING:
    from ifllm_hf.metrics.modules import ECE as ECE
    from ifllm_hf.metrics.modules import Brier as Brier
    from ifllm_hf.metrics.modules import Likert as Likert
    from ifllm_hf.metrics.modules import PairwiseAccuracy as PairwiseAccuracy
    from ifllm_hf.metrics.modules import PreferenceAUC as PreferenceAUC

MODULES = {
    "pairwise_accuracy": "PairwiseAccuracy",
    "preference_auc": "PreferenceAUC",
    "brier": "Brier",
    "ece": "ECE",
    "likert": "Likert",
}
__all__ = ["ECE", "MODULES", "Brier", "Likert", "PairwiseAccuracy", "PreferenceAUC", "load", "path"]


def _known(name: str) -> str:
    if name not in MODULES:
        raise ConfigError(f"there is no metric named {name!r}; expected one of {list(MODULES)}")
    return name


def path(name: str) -> str:
    """Return the script of an `evaluate` module, for `evaluate.load(path("ece"))`."""
    return str(Path(__file__).parent / "scripts" / f"{_known(name)}.py")


def load(name: str, **kwargs: Any) -> Any:
    """Return the `evaluate` module of that name; needs `evaluate`, but no network.

    Raises:
        ConfigError: No such metric, or `evaluate` is not installed.
    """
    return _metric_class(_known(name))(**kwargs)


def _metric_class(name: str) -> Any:
    try:
        modules = importlib.import_module("ifllm_hf.metrics.modules")
    except ModuleNotFoundError as error:
        if error.name != "evaluate":
            raise
        raise ConfigError(
            "the metric modules need the package `evaluate`, which is not installed. "
            "Install it, or call the functions of ifllm_hf.metrics.core, which need numpy only"
        ) from error
    return getattr(modules, MODULES[name])


def __getattr__(attribute: str) -> Any:
    for name, class_name in MODULES.items():
        if attribute == class_name:
            return _metric_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
