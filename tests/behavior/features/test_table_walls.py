"""Nothing that saw the click, and nothing of later turns, reaches a feature: bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from tests.helpers.reading_turns import random_turns

KEYS = (
    "query_id",
    "conversation_id",
    "user_id",
    "turn",
    "asked_at",
    "response_a",
    "response_b",
)


def exploded(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    lists = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.List)]
    filled = rows.filter(pl.col("t_ms").list.len() > 0)
    return filled.select("query_id", *lists).explode(lists), lists


def packed(rows: pl.DataFrame, ticks: pl.DataFrame, lists: list[str]) -> pl.DataFrame:
    back = ticks.group_by("query_id", maintain_order=True).agg(lists)
    empty = [pl.col(name).fill_null([]) for name in lists]
    return (
        rows.drop(lists)
        .join(back, on="query_id", how="left", maintain_order="left")
        .with_columns(empty)
        .select(rows.columns)
    )


def same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert_frame_equal(left, right, check_exact=True)


def noise(ticks: pl.DataFrame, where: pl.Expr, column: str, values: np.ndarray) -> pl.DataFrame:
    fresh = pl.Series(values).cast(ticks.schema[column])
    return ticks.with_columns(pl.when(where).then(fresh).otherwise(pl.col(column)).alias(column))


def scrambled_outside_reading(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Change every value of every tick outside reading, its time and page load included."""
    rng = np.random.default_rng(seed)
    ticks, lists = exploded(rows)
    outside, n = pl.col("phase") != "reading", len(ticks)
    length = rows.select(
        "query_id",
        a=pl.col("response_a").str.len_chars(),
        b=pl.col("response_b").str.len_chars(),
    )
    for c in ("gaze", "mouse"):
        side = rng.choice(["none", "a"], n)
        ticks = noise(ticks, outside, f"{c}_on", side)
        at = ticks.join(length, on="query_id", maintain_order="left")
        char = (pl.Series(rng.random(n)) * at["a"]).floor().cast(pl.Int32)
        ticks = ticks.with_columns(
            pl.when(outside)
            .then(pl.when(pl.col(f"{c}_on") == "none").then(None).otherwise(char))
            .otherwise(pl.col(f"{c}_char"))
            .alias(f"{c}_char")
        )
        for axis in "xy":
            ticks = noise(ticks, outside, f"{c}_{axis}_px", rng.uniform(0, 1900, n))
    ticks = noise(ticks, outside, "t_ms", rng.uniform(0, 1e6, n))
    ticks = noise(ticks, outside, "page_load", rng.integers(0, 9, n))
    ticks = noise(ticks, outside, "mouse_idle_ms", rng.uniform(0, 9000, n))
    ticks = noise(ticks, outside, "camera_ok", rng.random(n) < 0.5)
    return packed(rows, ticks, lists)


def scrambled_off_the_answers(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Change where a channel was whenever it was not on an answer; all screen positions too."""
    rng = np.random.default_rng(seed)
    ticks, lists = exploded(rows)
    n = len(ticks)
    for c in ("gaze", "mouse"):
        off = pl.col(f"{c}_on") == "none"
        for axis in "xy":
            name = f"{c}_{axis}_px"
            ticks = noise(ticks, pl.col(name).is_not_null(), name, rng.uniform(-500, 4000, n))
        ticks = noise(ticks, off, f"{c}_char", rng.integers(-5, 5000, n))
        ticks = noise(
            ticks, off, f"{c}_surface", rng.choice(["none", "page", "rating", "placeholder"], n)
        )
    ticks = noise(ticks, pl.lit(value=True), "surface", rng.choice(["none", "rating"], n))
    off = pl.col("mouse_on") == "none"
    ticks = noise(ticks, off, "mouse_idle_ms", rng.uniform(0, 9000, n))
    return packed(rows, ticks, lists)


@pytest.mark.parametrize("seed", range(4))
def test_ticks_outside_reading_change_nothing(seed: int) -> None:
    rows = random_turns(seed)
    other = scrambled_outside_reading(rows, seed + 50)
    assert other["t_ms"].to_list() != rows["t_ms"].to_list()
    same(behavior_features(other), behavior_features(rows))


@pytest.mark.parametrize("seed", range(4))
def test_ticks_outside_reading_may_be_missing(seed: int) -> None:
    rows = random_turns(seed)
    ticks, lists = exploded(rows)
    cut = packed(rows, ticks.filter(pl.col("phase") == "reading"), lists)
    same(behavior_features(cut), behavior_features(rows))


@pytest.mark.parametrize("seed", range(4))
def test_positions_off_the_answers_change_nothing(seed: int) -> None:
    rows = random_turns(seed)
    other = scrambled_off_the_answers(rows, seed + 50)
    assert other["mouse_x_px"].to_list() != rows["mouse_x_px"].to_list()
    same(behavior_features(other), behavior_features(rows))


def test_the_walls_can_fail() -> None:
    rows = random_turns(0)
    whole = behavior_features(rows, phases=("reading", "rating", "after"))
    scrambled = scrambled_outside_reading(rows, 50)
    with pytest.raises((AssertionError, DataError)):
        same(behavior_features(scrambled, phases=("reading", "rating", "after")), whole)


def test_other_phases_are_marked() -> None:
    rows = random_turns(1)
    assert not behavior_features(rows)["contaminated"].any()
    whole = behavior_features(rows, phases=("reading", "rating", "after"))
    assert whole["contaminated"].all()
    assert (
        whole["reading_ms"].fill_nan(0).sum()
        > behavior_features(rows)["reading_ms"].fill_nan(0).sum()
    )


@pytest.mark.parametrize("seed", range(3))
def test_later_turns_feed_nothing(seed: int) -> None:
    rows = random_turns(seed).sort("asked_at")
    everything = behavior_features(rows)
    for k in (1, 7, 15):
        same(behavior_features(rows[:k]), everything[:k])


def test_other_readers_feed_nothing() -> None:
    rows = random_turns(2)
    everything = behavior_features(rows)
    for user in rows["user_id"].unique():
        own = rows["user_id"] == user
        same(behavior_features(rows.filter(own)), everything.filter(own))


def test_labels_are_not_even_read() -> None:
    rows = random_turns(3)
    labelled = rows.with_columns(
        preference=pl.lit("a"), likert_a=pl.lit(5, pl.Int8), better_than_previous=pl.lit(value=True)
    )
    same(behavior_features(labelled), behavior_features(rows))


LISTS = (
    "t_ms",
    "page_load",
    "phase",
    "gaze_x_px",
    "gaze_y_px",
    "mouse_x_px",
    "mouse_y_px",
    "gaze_on",
    "gaze_char",
    "mouse_on",
    "mouse_char",
    "camera_ok",
    "mouse_idle_ms",
    "gaze_surface",
    "mouse_surface",
    "surface",
)


def check_folder(folder: Path) -> None:
    for config in ("pairwise", "pointwise"):
        rows = pl.scan_parquet(config_files(folder, config)).select(*KEYS, *LISTS).collect()
        plain = behavior_features(rows)
        assert plain["mouse_dwell_ms_a"].is_finite().sum() > 5
        same(behavior_features(scrambled_off_the_answers(rows, 1)), plain)
        same(behavior_features(scrambled_outside_reading(rows, 2)), plain)


def test_walls_hold_on_a_made_up_release(prepared_synthetic: Path) -> None:
    check_folder(prepared_synthetic)


@pytest.mark.slow
def test_walls_hold_on_the_release(prepared_release: Path) -> None:
    check_folder(prepared_release)
