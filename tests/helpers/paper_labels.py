"""The labels of the paper's feature file."""

from __future__ import annotations

import polars as pl

from ifllm_hf.behavior.paper.counters import SIDES


def paper_labels(turns: pl.DataFrame) -> pl.DataFrame:
    """Return the labels as the paper's feature file has them.

    Args:
        turns: The turns table; used are `query_id, kind, likert_a, likert_b, preference`.

    Returns:
        `query_id, comparison_type, likert_1, likert_2, preference, normalized_likert_1,
        normalized_likert_2, binary_preference`. `preference` is 1 = left, 2 = right, null for
        pointwise turns. `binary_preference` is 0, not null, for an unrated pair that has a second
        Likert value: the paper's.
    """
    likert = [pl.col(f"likert_{side}").cast(pl.Float64) for side in SIDES]
    code = {"a": 1.0, "b": 2.0}
    preference = pl.col("preference").replace_strict(code, default=None, return_dtype=pl.Float64)
    return turns.select(
        "query_id",
        pl.col("kind").alias("comparison_type"),
        likert[0].alias("likert_1"),
        likert[1].alias("likert_2"),
        preference.alias("preference"),
        (likert[0] / 5).alias("normalized_likert_1"),
        (likert[1] / 5).alias("normalized_likert_2"),
        pl.when(likert[1].is_not_null())
        .then((preference == 2).fill_null(False).cast(pl.Float64))
        .alias("binary_preference"),
    )
