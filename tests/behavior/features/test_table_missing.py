"""Missing is missing, edge cases are defined, and bad input is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.features.table import (
    CATALOGUE,
    FEATURE_COLUMNS,
    behavior_features,
)
from ifllm_hf.errors import DataError
from tests.helpers.reading_turns import features_of, random_turns, table, turn


def of_channel(row: dict[str, Any], channel: str) -> list[float]:
    return [
        row[c]
        for f in CATALOGUE
        if f.channel == channel and not f.name.startswith("gaze_camera")
        for c in f.columns
    ]


def test_a_turn_without_ticks_is_missing_altogether() -> None:
    rows = table([turn(query_id=1), turn([0, 50], ["a0", "a1"], query_id=2)])
    features = behavior_features(rows)
    assert features["query_id"].to_list() == [1, 2]
    assert all(math.isnan(v) for v in features.select(FEATURE_COLUMNS).row(0))
    null_lists = rows.with_columns(
        pl.when(pl.col("query_id") == 1).then(None).otherwise(pl.col(c)).alias(c)
        for c, dtype in rows.schema.items()
        if isinstance(dtype, pl.List)
    )
    assert behavior_features(null_lists).equals(features, null_equal=True)


def test_a_turn_without_reading_is_missing_altogether() -> None:
    f = features_of([0, 100], mouse=["a0", "a1"], phase=["rating", "after"])
    assert all(math.isnan(f[c]) for c in FEATURE_COLUMNS)


def test_no_turns_at_all() -> None:
    features = behavior_features(table([]))
    assert features.height == 0
    assert features.columns == ["query_id", "contaminated", *FEATURE_COLUMNS]


def test_a_channel_that_was_not_recorded_is_missing() -> None:
    f = features_of([0, 100, 200], mouse=["a0", "b0", "-"])
    assert all(math.isnan(v) for v in of_channel(f, "gaze"))
    assert f["mouse_dwell_ms_a"] == 100.0
    assert math.isnan(f["mouse_gaze_ms"])
    assert math.isnan(f["mouse_gaze_agreement"])
    assert f["either_dwell_ms_a"] == 100.0


def test_a_channel_that_is_no_column_is_missing() -> None:
    rows = table([turn([0, 100, 200], mouse=["a0", "b0", "-"], gaze=["a0", "a0", "a0"])])
    f = behavior_features(rows.drop("gaze_on", "gaze_char", "gaze_x_px")).row(0, named=True)
    assert all(math.isnan(v) for v in of_channel(f, "gaze"))
    assert f["mouse_dwell_ms_a"] == 100.0


def test_recorded_but_never_on_an_answer_is_zero() -> None:
    f = features_of([0, 100, 200], mouse=["-", "-", "-"])
    zero = (
        "dwell_ms_a dwell_ms_per_char_b dwell_share_a recency_3s_ms_a last_third_share_b pauses_a "
        "longest_pause_ms_b coverage_a depth_b sentences_visited_share_a regressions_b visits_a "
        "fixations_b switches on_text_share dwell_ms_log_ratio visits_log_ratio"
    )
    for name in zero.split():
        assert f[f"mouse_{name}"] == 0.0, name
    undefined = (
        "position_mean_a spread_entropy_b top1_paragraph_share_a regression_share_a "
        "forward_share_b speed_chars_per_s_a first_look_ms_a last_look_before_end_ms_b "
        "visit_ms_mean_a first_side "
        "last_side switches_per_min pause_share_a idle_share_b fixation_ms_mean_a"
    )
    for name in undefined.split():
        assert math.isnan(f[f"mouse_{name}"]), name
    assert f["mouse_off_text_ms"] == 200.0


def test_a_pointwise_turn_has_no_second_side() -> None:
    f = features_of([0, 100, 200], mouse=["a0", "a50", "-"], gaze=["a1", "-", "a2"], b=None)
    for feature in CATALOGUE:
        if feature.scope == "per_response":
            assert math.isnan(f[f"{feature.name}_b"]), feature.name
        if feature.scope == "per_pair_antisymmetric":
            assert math.isnan(f[feature.name]), feature.name
    assert f["mouse_dwell_ms_a"] == 200.0
    assert f["mouse_on_text_share"] == 1.0
    assert f["mouse_gaze_agreement"] == 1.0
    assert math.isnan(f["mouse_switches"])


def test_answers_of_one_character_and_of_none() -> None:
    f = features_of([0, 100, 300], mouse=["a0", "-", "a0"], a="?", b="")
    assert f["mouse_coverage_a"] == 1.0
    assert f["mouse_depth_a"] == 1.0
    assert f["mouse_position_mean_a"] == 0.5
    assert f["mouse_spread_entropy_a"] == 0.0
    assert f["mouse_dwell_ms_per_word_a"] == 100.0
    assert f["mouse_dwell_ms_b"] == 0.0
    assert math.isnan(f["mouse_dwell_ms_per_char_b"])
    assert math.isnan(f["mouse_coverage_b"])


def test_an_answer_of_white_space_has_no_words() -> None:
    f = features_of([0, 100], mouse=["a1", "a1"], a=" \n ")
    assert math.isnan(f["mouse_dwell_ms_per_word_a"])
    assert f["mouse_dwell_ms_per_sentence_a"] == 100.0


def test_a_single_tick_has_no_time() -> None:
    f = features_of([5], mouse=["a3"], gaze=["b4"])
    assert f["reading_ms"] == 0.0
    assert f["mouse_dwell_ms_a"] == 0.0
    assert f["mouse_visits_a"] == 1.0
    assert f["mouse_last_side"] == -1.0
    assert math.isnan(f["mouse_dwell_share_a"])
    assert math.isnan(f["mouse_spread_entropy_a"])


def test_on_an_answer_without_a_character_is_off_the_text() -> None:
    row = turn([0, 100, 200], mouse=["a0", "a5", "-"])
    row["mouse_char"] = [None, 5, None]
    f = behavior_features(table([row])).row(0, named=True)
    assert f["mouse_dwell_ms_a"] == 100.0
    assert f["mouse_off_text_ms"] == 100.0


def test_nothing_is_infinite() -> None:
    values = behavior_features(random_turns(11, n=40)).select(FEATURE_COLUMNS).to_numpy()
    assert not np.isinf(values).any()


# --- bad input --------------------------------------------------------------------------------


def test_lists_of_different_length_are_named() -> None:
    row = turn([0, 100, 200], mouse=["a0", "a0", "a0"], query_id=77)
    row["mouse_char"] = [0, 0]
    with pytest.raises(DataError, match=r"query 77: 2 values in 'mouse_char' and 3 in 't_ms'"):
        behavior_features(table([turn(query_id=76), row]))


def test_a_position_outside_its_answer_is_named() -> None:
    with pytest.raises(DataError, match="query 9: mouse_char is 100"):
        features_of([0, 100], mouse=["a99", "a100"], query_id=9)
    with pytest.raises(DataError, match="on answer b, which has 0"):
        features_of([0, 100], gaze=["b0", "b0"], b=None)


def test_time_running_backwards_is_named() -> None:
    with pytest.raises(DataError, match="query 1: t_ms .*100.0 .*90.0"):
        features_of([0, 100, 90], mouse=["a0"] * 3)
    with pytest.raises(DataError, match="no time"):
        features_of([0, float("nan")], mouse=["a0"] * 2)


def test_unknown_sides_and_phases_are_named() -> None:
    with pytest.raises(DataError, match="(?i)expected gaze_on"):
        features_of([0, 100], mouse_on=["left", "a"])
    with pytest.raises(DataError, match="phases holds 'writing'"):
        behavior_features(table([]), phases=("writing",))
    with pytest.raises(DataError, match="phases holds 'nothing'"):
        behavior_features(table([]), phases=())


@pytest.mark.parametrize(
    ("dropped", "named"),
    [("phase", "phase"), ("response_b", "response_b"), ("user_id", "user_id"), ("turn", "turn")],
)
def test_missing_columns_are_named(dropped: str, named: str) -> None:
    rows = table([turn([0, 100], ["a0", "a0"])])
    with pytest.raises(DataError, match=f"no column {named}"):
        behavior_features(rows.drop(dropped))


def test_single_ticks_doubled_ids_and_other_objects() -> None:
    rows = table([turn([0, 100], ["a0", "a0"])])
    with pytest.raises(DataError, match="query_id 1 "):
        behavior_features(pl.concat([rows, rows]))
    with pytest.raises(DataError, match="expected a list per turn"):
        behavior_features(rows.with_columns(pl.col("t_ms").list.first()))
    with pytest.raises(DataError, match="rows are a dict"):
        behavior_features({"query_id": [1]})


# --- input and output -------------------------------------------------------------------------


def test_arrow_datasets_and_polars_give_the_same() -> None:
    from datasets import Dataset

    rows = random_turns(4, n=9)
    plain = behavior_features(rows)
    arrow = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert behavior_features(arrow).equals(plain)
    assert behavior_features(rows.lazy()).equals(plain)
    dataset = Dataset(arrow)
    assert behavior_features(dataset).equals(plain)
    chosen = behavior_features(dataset.select([6, 2]))
    assert chosen["query_id"].to_list() == rows["query_id"].gather([6, 2]).to_list()
