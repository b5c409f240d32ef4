"""Styles and clusters of readers with known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.studies.reader_styles import HABITS, find_clusters, reader_styles
from ifllm_hf.errors import DataError


def build_features(
    readers: int = 24, conversations: int = 4, kinds: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Turns with made-up habits: readers of two kinds that lie `kinds` SD apart in each habit."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for r in range(readers):
        own = rng.normal(size=len(HABITS)) * 0.5 + kinds * (r % 2)
        for c in range(conversations):
            kind = "pairwise" if c % 2 else "pointwise"
            for t in range(2):
                felt = own + rng.normal(size=len(HABITS)) * 0.5
                values = dict(zip(HABITS, np.exp(felt), strict=True))
                rows.append(
                    {
                        "query_id": len(rows),
                        "user_id": f"reader_{r:02d}",
                        "conversation_id": f"reader_{r:02d}/{c}",
                        "kind": kind,
                        "turn": t + 1,
                        "reading_ms": values.pop("reading_ms"),
                        "gaze_switches_per_min": values.pop("gaze_switches_per_min"),
                        "mouse_switches_per_min": values.pop("mouse_switches_per_min"),
                        "mouse_gaze_agreement": values.pop("mouse_gaze_agreement"),
                        **{f"{k}_a": v for k, v in values.items()},
                        **{f"{k}_b": v for k, v in values.items()},
                    }
                )
    return pl.DataFrame(rows)


def test_readers_of_two_kinds_are_told_apart_and_called_real() -> None:
    styles = reader_styles(build_features(kinds=3.0))
    found = find_clusters(styles, draws=40)
    assert len(found.centres) == 2
    kind = [int(user.rsplit("_", 1)[1]) % 2 for user in styles.users]
    agreement = np.mean(np.asarray(kind) == found.of_reader)
    assert agreement in (0.0, 1.0)
    assert found.bootstrap > 0.95
    assert found.real
    assert found.same_in_half == 1.0
    assert found.same_by_chance == pytest.approx(0.5)


def test_slices_of_one_cloud_are_not_called_kinds_of_readers() -> None:
    found = find_clusters(reader_styles(build_features(kinds=0.0)), draws=40)
    assert not found.real


def test_clusters_are_the_same_for_the_same_seed_and_in_any_order_of_rows() -> None:
    turns = build_features(kinds=1.0)
    first = find_clusters(reader_styles(turns), draws=30, seed=5)
    shuffled = turns.sample(fraction=1.0, shuffle=True, seed=9)
    again = find_clusters(reader_styles(shuffled), draws=30, seed=5)
    np.testing.assert_array_equal(first.of_reader, again.of_reader)
    assert first.bootstrap == pytest.approx(again.bootstrap)


def test_readers_with_few_turns_are_left_out_and_counted() -> None:
    turns = build_features(readers=12)
    few = turns.filter((pl.col("user_id") != "reader_03") | (pl.col("turn") == 1)).filter(
        (pl.col("user_id") != "reader_03") | pl.col("conversation_id").str.ends_with("0")
    )
    styles = reader_styles(few)
    assert styles.too_few == 1
    assert "reader_03" not in styles.users
    with pytest.raises(DataError, match="styles need 8 readers"):
        reader_styles(build_features(readers=5))
