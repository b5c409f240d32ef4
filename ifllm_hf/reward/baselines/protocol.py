"""What is predicted, and what the benchmark asks of a model that predicts it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from ifllm_hf.files import digest
from ifllm_hf.metrics.weighted import FloatArray

Weight = FloatArray | None
"""Weight of every row, shape (n,); all 1 if None."""


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        name: Name on the command line and in reports.
        kind: Turns that can carry the label, `pairwise` or `pointwise`.
        column: Column of the label.
        binary: Whether predictions are probabilities of the label being 1; else ratings.
    """

    name: str
    kind: str
    column: str
    binary: bool


PREFERENCE = Task("preference", "pairwise", "preference", True)
BETTER = Task("better_than_previous", "pointwise", "better_than_previous", True)
LIKERT = Task("likert", "pointwise", "likert_a", False)


@runtime_checkable
class Model(Protocol):
    """A model that can be benchmarked.

    The benchmark deep-copies the model before every fit, so `fit` starts from the settings alone.
    Everything that is learned or chosen (scaling, selection, thresholds, settings) must happen in
    `fit`, from the rows given there. Optional attributes: `reference` (bool, default False: stands
    in the table for comparison), `contaminated` (bool, default False: saw more than a fair model
    may) and `reads` (names of the feature columns that it looks at, beside `turn` and the lengths
    of the texts; a model without it may look at all features and at the texts themselves).

    Attributes:
        name: Name in the table; unique within a run.
        antisymmetric: Whether swapping left and right must give 1 - p. If True it is enforced.
    """

    @property
    def name(self) -> str:
        """Name in the table."""
        ...

    @property
    def antisymmetric(self) -> bool:
        """Whether swapping left and right gives 1 - p."""
        ...

    def config(self) -> Mapping[str, Any]:
        """Return the settings, as JSON types; two models with equal settings are the same model."""
        ...

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> Any:
        """Learn from training rows.

        Args:
            rows: Training turns: text, keys, features, labels; one row each.
            y: Truth, shape (n,): 1 where `b` was preferred, else 0.
            groups: Worker of every row, shape (n,), for selection within the training rows.
            weight: See `Weight`.
        """
        ...

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred) of every row, shape (n,); `rows` has no label columns.

        For the task `likert`, the expected rating.
        """
        ...


def config_hash(model: Model) -> str:
    """Return 12 hex digits that name the class and settings of a model.

    A class of this package counts by its name alone, so that it may move between files.
    """
    package, _, _ = type(model).__module__.partition(".")
    described = {
        "class": f"{package}.{type(model).__qualname__}",
        "name": model.name,
        "config": dict(model.config()),
    }
    return digest(described, 12)


def code_hash(model: Model) -> str:
    """Return 8 hex digits of the module that defines the model, so that edits refresh a cache."""
    try:
        source = inspect.getsource(inspect.getmodule(type(model)) or type(model))
    except (OSError, TypeError):  # defined at a prompt
        source = ""
    return digest(source, 8)
