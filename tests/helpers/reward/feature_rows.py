"""Rows of features whose preference is known in probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.features.table import ANTISYMMETRIC_COLUMNS, CATALOGUE, FEATURE_COLUMNS
from ifllm_hf.benchmark.protocol.rows import swap_sides

Rows = tuple[pl.DataFrame, np.ndarray, np.ndarray]
_WORDS = [
    "the",
    "of",
    "a",
    "river",
    "stone",
    "light",
    "blue",
    "method",
    "answer",
    "perhaps",
    "because",
    "first",
    "second",
]


def make_rows(
    workers: int = 20,
    each: int = 15,
    *,
    signal: float = 1.5,
    column: str = "pooled_late_20pct_log_ratio",
    missing: float = 0.1,
    seed: int = 0,
) -> Rows:
    """Pairs whose preference follows one antisymmetric column and, half as much, the length.

    Returns:
        Rows with every feature column, truth (1 = b), reader of every row.
    """
    rng = np.random.default_rng(seed)
    n = workers * each
    columns: dict[str, Any] = {}
    for feature in CATALOGUE:
        for name in feature.columns:
            # By name: what one feature is does not hang on which others there are.
            own = np.random.default_rng([seed, *name.encode()])
            columns[name] = own.normal(size=n) if feature.low < 0 else own.lognormal(size=n)
    columns["reading_ms"] = rng.uniform(2e3, 9e4, n)
    gone = rng.random(n) < missing
    for name in FEATURE_COLUMNS:
        columns[name] = np.where(gone, np.nan, columns[name])
    texts = [
        [" ".join(rng.choice(_WORDS, size=rng.integers(5, 60))) for _ in range(n)] for _ in "ab"
    ]
    length = np.log([len(b) / len(a) for a, b in zip(*texts, strict=True)])
    logit = signal * np.nan_to_num(columns[column]) + 0.5 * signal * length
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    reader = np.repeat([f"w{i:02d}" for i in range(workers)], each)
    rows = pl.DataFrame(
        {
            "query_id": np.arange(100, 100 + n),
            "conversation_id": [f"{r}/{i // 3}" for i, r in enumerate(reader)],
            "user_id": reader,
            "turn": np.arange(n) % 3 + 1,
            "kind": ["pairwise"] * n,
            "prompt": ["why " * k for k in rng.integers(1, 9, n)],
            "response_a": texts[0],
            "response_b": texts[1],
            "preference": np.where(y == 1, "b", "a"),
            **columns,
        }
    )
    return rows, y, reader


def swap(rows: pl.DataFrame) -> pl.DataFrame:
    """Exchange left and right."""
    return swap_sides(rows, antisymmetric=ANTISYMMETRIC_COLUMNS)
