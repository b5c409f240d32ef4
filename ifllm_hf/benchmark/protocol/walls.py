"""The wall that holds antisymmetric models to their word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from ifllm_hf.errors import DataError
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.protocol import Model

# Single precision and summation order leave about 1e-7.
_TOLERANCE = 1e-5


def refuse_asymmetry(
    fitted: Model, rows: pl.DataFrame, p_b: FloatArray, swap: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    """Refuse a model whose p does not become 1 - p when left and right are exchanged.

    Args:
        fitted: The fitted model.
        rows: Rows it predicted, without labels.
        p_b: What it predicted, shape (n,).
        swap: Exchanges the sides of rows.

    Raises:
        DataError: Some row is off by more than 1e-5; the worst one is named.
    """
    mirrored = np.asarray(fitted.predict_proba(swap(rows)), dtype=np.float64)
    off = np.abs(p_b + mirrored - 1.0)
    worst = int(np.argmax(off))
    if not off[worst] <= _TOLERANCE:
        raise DataError(
            f"{fitted.name} declares that swapping left and right gives 1 - p, but query "
            f"{rows['query_id'][worst]} has {p_b[worst]:.6f} and, swapped, {mirrored[worst]:.6f}. "
            "Use per-side columns ending in _a and _b and differences that change sign with them, "
            "fit no intercept, or declare the model not antisymmetric"
        )
