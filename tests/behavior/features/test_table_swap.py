"""Swapping left and right does to every column exactly what its declaration says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ifllm_hf.behavior.declaration import ANTISYMMETRIC, PER_RESPONSE, SYMMETRIC, Feature
from ifllm_hf.behavior.features.table import (
    ANTISYMMETRIC_COLUMNS,
    CATALOGUE,
    FEATURE_COLUMNS,
    behavior_features,
    feature_table,
)
from ifllm_hf.benchmark.protocol.rows import swap_sides
from tests.helpers.reading_turns import random_turns

OTHER = {"a": "b", "b": "a", "none": "none"}


def swapped(rows: pl.DataFrame) -> pl.DataFrame:
    """Exchange the sides of pairwise turns in the ticks and texts themselves."""
    swap = pl.element().replace_strict(OTHER, return_dtype=pl.String)
    view = [c for c in rows.columns if c.startswith(("scroll_", "visible_"))]
    return rows.with_columns(
        pl.col("response_b").alias("response_a"),
        pl.col("response_a").alias("response_b"),
        pl.col("gaze_on", "mouse_on").list.eval(swap),
        *(pl.col(c).alias(c[:-1] + OTHER[c[-1]]) for c in view),
    )


@pytest.fixture(name="pairs", scope="module")
def pairs_fixture() -> pl.DataFrame:
    rows = pl.concat(
        random_turns(seed, n=30, ticks=240).with_columns(
            pl.col("query_id") + 1000 * seed,
            pl.concat_str(pl.col("user_id"), pl.lit(f"s{seed}")),
        )
        for seed in range(3)
    ).filter(pl.col("response_b").is_not_null())
    rng = np.random.default_rng(0)
    for side in "ab":
        lists = [
            np.cumsum(rng.normal(0, 50, n)).tolist() for n in rows["t_ms"].list.len().to_list()
        ]
        rows = rows.with_columns(pl.Series(f"scroll_y_px_{side}", lists, dtype=pl.List(pl.Float64)))
        shown = [
            [sorted(rng.integers(0, max(len(text), 1) + 1, 2).tolist()) for _ in range(n)]
            for text, n in zip(
                rows[f"response_{side}"], rows["t_ms"].list.len().to_list(), strict=True
            )
        ]
        for i, edge in enumerate(("from", "to")):
            lists = [[None if k % 3 else pair[i] for k, pair in enumerate(row)] for row in shown]
            name = f"visible_{edge}_char_{side}"
            rows = rows.with_columns(pl.Series(name, lists, dtype=pl.List(pl.Int32)))
    return rows


@pytest.fixture(name="both", scope="module")
def both_fixture(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features of the rows and of the swapped rows."""
    return behavior_features(pairs), behavior_features(swapped(pairs))


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda f: f.name)
def test_every_column_swaps_as_declared(
    feature: Feature, both: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    plain, mirrored = both
    columns = feature.columns
    scope = feature.scope
    before = [plain[c].to_numpy() for c in columns]
    after = [mirrored[c].to_numpy() for c in columns]
    if scope == PER_RESPONSE:
        after = after[::-1]
    elif scope == ANTISYMMETRIC:
        after = [-after[0]]
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)
        # The test rows must show the feature, or the comparison says nothing.
        assert np.isfinite(x).sum() > 10
        if scope != SYMMETRIC:
            assert len(np.unique(x[np.isfinite(x)])) > 1


def test_swapping_columns_is_swapping_sides(pairs: pl.DataFrame) -> None:
    """What models use to mirror a row agrees with features of really mirrored ticks."""
    features = behavior_features(pairs)
    assert_frame_equal(
        swap_sides(features, ANTISYMMETRIC_COLUMNS),
        behavior_features(swapped(pairs)),
        check_exact=True,
    )


def test_columns_and_catalogue_are_the_same(pairs: pl.DataFrame) -> None:
    features = behavior_features(pairs)
    assert features.columns == ["query_id", "contaminated", *FEATURE_COLUMNS]
    assert len(set(FEATURE_COLUMNS)) == len(FEATURE_COLUMNS)
    assert set(features.select(FEATURE_COLUMNS).dtypes) == {pl.Float64}
    assert all(features.select(pl.col(FEATURE_COLUMNS).is_not_null().all()).row(0))


def test_per_pair_names_do_not_look_like_sides() -> None:
    for feature in CATALOGUE:
        if feature.scope != PER_RESPONSE:
            assert not feature.name.endswith(("_a", "_b"))


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda f: f.name)
def test_values_stay_in_their_range(
    feature: Feature, both: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    low, high = feature.low, feature.high
    for column in feature.columns:
        values = both[0][column].to_numpy()
        values = values[~np.isnan(values)]
        assert np.isfinite(values).all()
        assert (values >= low - 1e-9).all()
        assert (values <= high + 1e-6).all()


def test_the_documentation_lists_every_feature() -> None:
    lines = feature_table().splitlines()
    assert len(lines) == 2 + len(CATALOGUE)
    assert all(line.replace("\\|", "").count("|") == 8 for line in lines)
    for feature in CATALOGUE:
        assert feature.formula
        assert feature.source
        assert any(line.startswith(f"| `{feature.name}` |") for line in lines)


# --- invariants -------------------------------------------------------------------------------

_SEEDS = st.integers(0, 10_000)
_QUICK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_QUICK
@given(seed=_SEEDS, shift=st.integers(-(10**6), 10**9))
def test_shifting_time_changes_nothing(seed: int, shift: int) -> None:
    rows = random_turns(seed, n=8)
    later = rows.with_columns(pl.col("t_ms").list.eval(pl.element() + float(shift)))
    assert_frame_equal(behavior_features(later), behavior_features(rows), check_exact=True)


@_QUICK
@given(seed=_SEEDS)
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    rows = random_turns(seed, n=12)
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(
        behavior_features(mixed).sort("query_id"),
        behavior_features(rows).sort("query_id"),
        check_exact=True,
    )


@_QUICK
@given(seed=_SEEDS, factor=st.sampled_from([0.5, 2.0, 3.0]))
def test_slower_reading_scales_times_and_speeds(seed: int, factor: float) -> None:
    rows = random_turns(seed, n=8)
    # Steps of 1 ms, so that neither the cap nor the gap between visits is ever reached.
    dense = rows.with_columns(
        pl.int_ranges(pl.col("t_ms").list.len()).cast(pl.List(pl.Float64)).alias("t_ms")
    )
    slow = dense.with_columns(pl.col("t_ms").list.eval(pl.element() * factor))
    plain, scaled = behavior_features(dense), behavior_features(slow)
    powers = {
        "reading_ms": 1,
        "gaze_dwell_ms_a": 1,
        "mouse_dwell_ms_per_char_b": 1,
        "gaze_first_look_ms_a": 1,
        "gaze_visit_ms_mean_b": 1,
        "mouse_last_third_ms_a": 1,
        "gaze_speed_chars_per_s_a": -1,
        "gaze_speed_change_chars_per_s_b": -1,
        "mouse_switches_per_min": -1,
        "gaze_dwell_share_a": 0,
        "gaze_last_third_share_b": 0,
        "gaze_spread_entropy_a": 0,
        "gaze_reread_share_a": 0,
        "mouse_gaze_agreement": 0,
        "gaze_regressions_b": 0,
        "gaze_visits_a": 0,
        "gaze_depth_a": 0,
    }
    for name, power in powers.items():
        np.testing.assert_allclose(
            scaled[name].to_numpy(), plain[name].to_numpy() * factor**power, rtol=1e-9, err_msg=name
        )


@_QUICK
@given(seed=_SEEDS)
def test_dwell_adds_up_to_the_recorded_time(seed: int) -> None:
    features = behavior_features(random_turns(seed, n=12)).filter(
        pl.col("reading_ms").fill_nan(0) > 0
    )
    for channel in ("gaze", "mouse"):
        here = features.filter(pl.col(f"{channel}_dwell_ms_a").is_finite())
        on_text = here[f"{channel}_dwell_ms_a"] + here[f"{channel}_dwell_ms_b"].fill_nan(0)
        total = (on_text + here[f"{channel}_off_text_ms"]).to_numpy()
        recorded = (here[f"{channel}_recorded_share"] * here["reading_ms"]).to_numpy()
        np.testing.assert_allclose(total, recorded, rtol=1e-9, atol=1e-6)


def test_the_page_about_features_has_the_table_of_the_catalogue() -> None:
    page = Path(__file__).parents[3] / "docs" / "features.md"
    if not page.exists():
        pytest.skip("no docs beside the tests")
    # Write it anew with `feature_table()` after a change of the catalogue.
    assert page.read_text(encoding="utf-8").endswith(feature_table())
