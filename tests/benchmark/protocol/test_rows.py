from __future__ import annotations

import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import labelled, refuse_raw, swap_sides, visible
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.baselines.protocol import BETTER, LIKERT


def test_unlabelled_and_tied_turns_are_counted(turns: pl.DataFrame) -> None:
    label = ["tie", None, "a"] + turns["preference"].to_list()[3:]
    data = labelled(turns.with_columns(pl.Series("preference", label)))
    assert data.ledger.dropped == {"no label": 1, "tie": 1}
    assert data.ledger.kept == len(data.rows) == len(data.y) == len(turns) - 2
    assert data.y[0] == 0.0


def test_rows_come_in_order_of_id(turns: pl.DataFrame) -> None:
    data = labelled(turns.sample(fraction=1.0, shuffle=True, seed=1))
    assert data.rows["query_id"].is_sorted()
    assert (data.y == (data.rows["preference"] == "b").to_numpy()).all()


def test_a_set_of_ids_is_kept_and_the_rest_counted(turns: pl.DataFrame) -> None:
    ids = turns["query_id"][:10].to_list()
    data = labelled(turns, ids=ids)
    assert sorted(data.rows["query_id"].to_list()) == sorted(ids)
    assert data.ledger.dropped["outside the set"] == len(turns) - 10


def test_an_id_that_is_not_labelled_is_named(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="1 of the 2 ids .* 7"):
        labelled(turns, ids=[7, turns["query_id"][0]])


def test_doubled_turns_are_named(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match=f"query_id {turns['query_id'][0]} .*2 rows"):
        labelled(pl.concat([turns, turns[:1]]))


def test_an_unknown_preference_is_named(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="has the preference 'left'"):
        labelled(turns.with_columns(preference=pl.lit("left")))


def test_no_labels_at_all_is_an_error(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="none of the 108 turns"):
        labelled(turns.with_columns(preference=pl.lit(None, pl.String)))


def test_a_missing_column_is_named(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no column user_id"):
        labelled(turns.drop("user_id"))


def test_pointwise_tasks_take_pointwise_turns(turns: pl.DataFrame) -> None:
    pointwise = turns.with_columns(
        kind=pl.lit("pointwise"), better_than_previous=pl.Series([None, True, False] * 36)
    )
    better = labelled(pointwise, BETTER)
    assert better.ledger.dropped == {"no label": 36}
    assert better.y[:2].tolist() == [1.0, 0.0]
    assert labelled(pointwise, LIKERT).y.tolist() == [4.0] * 108
    assert labelled(pl.concat([turns[:5], pointwise[5:]]), LIKERT).ledger.dropped == {
        "not pointwise": 5
    }


def test_ticks_are_left_out_and_refused(turns: pl.DataFrame) -> None:
    raw = turns.with_columns(mouse_x_px=pl.lit([1.0, 2.0]))
    assert "mouse_x_px" not in labelled(raw).rows.columns
    with pytest.raises(ConfigError, match="raw ticks"):
        refuse_raw(raw)


def test_an_infinite_feature_is_named_and_a_missing_one_allowed(turns: pl.DataFrame) -> None:
    refuse_raw(turns.with_columns(dwell_a=pl.lit(float("nan"))))
    bad = turns.with_columns(
        dwell_a=pl.when(pl.col("query_id") == turns["query_id"][4])
        .then(float("inf"))
        .otherwise(0.0)
    )
    with pytest.raises(DataError, match=f"'dwell_a' is infinite at query {turns['query_id'][4]}"):
        refuse_raw(bad)


def test_a_model_never_sees_the_labels_it_predicts(turns: pl.DataFrame) -> None:
    assert not {"preference", "likert_a", "likert_b"} & set(visible(turns).columns)


def test_swapping_twice_changes_nothing(turns: pl.DataFrame) -> None:
    signs = ["dwell_difference"]
    once = swap_sides(turns, signs)
    assert once["dwell_a"].equals(turns["dwell_b"], check_names=False)
    assert once["response_b"].equals(turns["response_a"], check_names=False)
    assert (once["dwell_difference"] == -turns["dwell_difference"]).all()
    assert (once["preference"] != turns["preference"]).all()
    assert once["user_id"].equals(turns["user_id"])
    assert swap_sides(once, signs).equals(turns)


def test_an_unknown_antisymmetric_column_is_named(turns: pl.DataFrame) -> None:
    with pytest.raises(ConfigError, match="no column 'speed'"):
        swap_sides(turns, ["speed"])
