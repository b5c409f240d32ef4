"""What the channels go with."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.studies.channel_links import channel_links, habit_links, outcomes
from ifllm_hf.benchmark.studies.readers import _verdict


def answers_of(
    readers: int = 12, each: int = 14, gaze: float = 0.0, mouse: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Pointwise turns whose rating follows gaze and mouse coverage within readers, as told.

    Readers who cover more rate lower throughout, which must not show within readers.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for r in range(readers):
        level = rng.normal() * 2
        for _ in range(each):
            g, m = rng.normal(size=2)
            rating = np.clip(np.rint(3 - level + gaze * g + mouse * m + rng.normal() * 0.3), 1, 5)
            rows.append(
                {
                    "query_id": len(rows),
                    "user_id": f"reader_{r:02d}",
                    "conversation_id": f"reader_{r:02d}/{len(rows) // 3}",
                    "kind": "pointwise",
                    "response_a": "x" * int(rng.integers(50, 90)),
                    "response_b": None,
                    "likert_a": int(rating),
                    "likert_b": None,
                    "understand_before": None,
                    "understand_after": None,
                    "gaze_coverage_a": level + g,
                    "gaze_coverage_b": float("nan"),
                    "mouse_coverage_a": level + m,
                    "mouse_coverage_b": float("nan"),
                }
            )
    schema: dict[str, Any] = {c: pl.Int8 for c in ("likert_a", "likert_b", "understand_before")}
    schema |= {"understand_after": pl.Int8, "response_b": pl.String}
    return pl.DataFrame(rows, schema_overrides=schema)


def test_a_habit_goes_with_a_rating_within_readers_not_between_them() -> None:
    (rating, *_) = outcomes(answers_of(gaze=1.0))
    found = {r["channel"]: r for r in habit_links(rating, draws=400)}
    assert found["gaze"]["low"] > 0.3  # between readers the correlation is negative
    assert found["mouse"]["low"] < 0 < found["mouse"]["high"]
    assert found["gaze"]["n"] == 12 * 14
    assert found["gaze"]["workers"] == 12


def test_the_correlation_within_readers_is_that_of_centred_ranks_without_length() -> None:
    rows = answers_of(readers=5, each=12, gaze=0.6, seed=2)
    (rating, *_) = outcomes(rows)
    record = next(r for r in habit_links(rating, draws=50) if r["channel"] == "gaze")
    frame = rows.select(
        "user_id",
        x=pl.col("gaze_coverage_a").rank(),
        y=pl.col("likert_a").rank(),
        z=pl.col("response_a").str.len_chars().rank(),
    ).with_columns(pl.col(c) - pl.col(c).mean().over("user_id") for c in "xyz")
    x, y, z = (frame[c].to_numpy() for c in "xyz")
    x, y = x - z * (x @ z) / (z @ z), y - z * (y @ z) / (z @ z)
    assert record["r"] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_channels_are_compared_held_out_by_reader_and_a_claim_is_judged() -> None:
    rating, extreme = outcomes(answers_of(gaze=1.0))[:2]
    assert (rating.name, extreme.name) == ("rating", "extreme rating")
    records = channel_links(rating, repeats=2, draws=200)
    found = {r["channel"]: r for r in records}
    assert found["gaze"]["low"] > 0.3
    assert found["gaze - mouse"]["low"] > 0
    said = _verdict("gaze tells it", "rating", "gaze", records)
    assert ": borne out" in said
    assert "contradicted: the gaze goes with it more" in _verdict(
        "the mouse tells it", "rating", "mouse", records
    )
    assert "no mood to test it on" in _verdict("gaze tells mood", "mood", "gaze", records)


def test_noise_bears_a_claim_out_no_more_often_than_its_interval_allows() -> None:
    wrong = 0
    for seed in range(20):
        (rating, *_) = outcomes(answers_of(readers=20, seed=seed))
        records = channel_links(rating, repeats=1, draws=200, seed=seed)
        wrong += ": borne out" in _verdict("gaze tells it", "rating", "gaze", records)
    assert wrong <= 2
