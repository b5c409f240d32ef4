"""Parts of the rows on which a model is scored again, without being trained again."""

from __future__ import annotations

import numpy as np
import polars as pl

from ifllm_hf.reward.baselines.inputs import lengths

# About a third of the release's pairs: length cannot tell which answer is liked better.
SIMILAR_RATIO = 1.17


def similar_length(rows: pl.DataFrame, ratio: float = SIMILAR_RATIO) -> pl.Series:
    """Return the ids of pairs whose longer answer has less than `ratio` times the characters."""
    a, b = lengths(rows)
    longer, shorter = np.maximum(a, b), np.minimum(a, b)
    return rows.filter((longer < ratio * shorter) | (longer == shorter))["query_id"]


def length_thirds(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the ids of the pairs with the shortest, middle and longest answers, by their mean."""
    a, b = lengths(rows)
    low, high = np.quantile(a + b, [1 / 3, 2 / 3])
    total = a + b
    return {
        "short answers": rows.filter(total <= low)["query_id"],
        "middling answers": rows.filter((total > low) & (total <= high))["query_id"],
        "long answers": rows.filter(total > high)["query_id"],
    }


def standard_subsets(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Return every subset of the pairwise report, by name; empty ones are left out."""
    parts = {"similar length": similar_length(rows), **length_thirds(rows)}
    return {name: ids for name, ids in parts.items() if len(ids)}
