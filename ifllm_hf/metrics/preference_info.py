"""What the `evaluate` modules of preference probabilities say of themselves."""

from __future__ import annotations

import datasets
import evaluate


def preference_info(description: str, inputs: str) -> evaluate.MetricInfo:
    """Return the info of a module that takes one probability and one label (0 or 1) per pair.

    Args:
        description: What is measured.
        inputs: Its arguments and results.
    """
    features = {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=inputs,
        features=datasets.Features(features),
    )
