from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.predictions import (
    IncompleteError,
    check_predictions,
    read_predictions,
    write_predictions,
)
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.errors import DataError, OutputError
from tests.helpers.dwell_turns import DwellModel


@pytest.fixture
def data(turns):
    return labelled(turns)


@pytest.fixture
def good(data) -> pl.DataFrame:
    return cross_validate(DwellModel(), data, "worker", repeats=2, progress=False)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_round_trip(good: pl.DataFrame, data, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model 1{suffix}").touch()
    path = tmp_path / f"model [1]{suffix}"  # as a pattern, it would be the other file
    write_predictions(good, path)
    back = read_predictions(path)
    assert back.equals(good)
    assert check_predictions(back, data).equals(good)
    assert len(list(tmp_path.iterdir())) == 2


def test_further_columns_are_ignored(good: pl.DataFrame, tmp_path: Path) -> None:
    good.with_columns(note=pl.lit("x")).write_csv(tmp_path / "m.csv")
    assert read_predictions(tmp_path / "m.csv").equals(good)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.01, r"p_b has 1 values outside \[0, 1\] or NaN; first at row 3 \(query \d+: 1.01\)"),
        (-0.1, "outside"),
        (float("nan"), "or NaN; first at row 3"),
        (None, "p_b has 1 values that are empty"),
    ],
)
def test_a_bad_probability_is_named(good, tmp_path: Path, value, message: str) -> None:
    bad = good.with_columns(
        p_b=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value, pl.Float64)).otherwise("p_b")
    )
    bad.write_parquet(tmp_path / "m.parquet")
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "m.parquet")
    with pytest.raises(DataError, match=message):
        write_predictions(bad, tmp_path / "n.parquet")


def test_text_where_a_number_belongs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "query_id,protocol,repeat,fold,p_b,config_hash\n1,worker,0,0,.5,x\ntwo,worker,0,1,.5,x\n"
    )
    with pytest.raises(DataError, match="query_id has 1 values .* first at row 1 .'two'"):
        read_predictions(path)


@pytest.mark.parametrize("column", ["query_id", "repeat", "fold"])
def test_a_fraction_is_not_rounded_to_an_id(
    good: pl.DataFrame, tmp_path: Path, column: str
) -> None:
    odd = good.with_columns(pl.col(column) + 0.5)
    odd.write_ndjson(tmp_path / "m.jsonl")
    with pytest.raises(DataError, match=f"{column} .*216 .*Int64"):
        read_predictions(tmp_path / "m.jsonl")
    good.with_columns(pl.col(column).cast(pl.Float64)).write_ndjson(tmp_path / "n.jsonl")
    assert read_predictions(tmp_path / "n.jsonl").equals(good)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "no such file"),
        ("m.txt", "x", r"\.txt ending; expected one of"),
        ("m.parquet", "not parquet", "not readable as Parquet"),
        ("m.csv", "query_id,p_b\n1,.5\n", "no column protocol, repeat, fold, config_hash"),
        ("m.csv", "query_id,protocol,repeat,fold,p_b,config_hash\n", "no rows"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / name)


def test_foreign_ids_are_named(good: pl.DataFrame, data) -> None:
    bad = pl.concat([good, good[:1].with_columns(query_id=pl.lit(9, pl.Int64))])
    with pytest.raises(DataError, match="1 query ids .* 9"):
        check_predictions(bad, data)


def test_doubled_ids_are_named(good: pl.DataFrame, data) -> None:
    bad = pl.concat([good, good[:1]])
    with pytest.raises(DataError, match=f"query {good['query_id'][0]} "):
        check_predictions(bad, data)


def test_missing_rows_are_named(good: pl.DataFrame, data) -> None:
    bad = good.filter(pl.int_range(pl.len()) != 7)
    with pytest.raises(IncompleteError, match=f"1 of 108 rows; .* {good['query_id'][7]}"):
        check_predictions(bad, data)


def test_rows_trained_on_their_own_worker_are_refused(good: pl.DataFrame, data) -> None:
    first = pl.int_range(pl.len()) == 0
    bad = good.with_columns(fold=pl.when(first).then((pl.col("fold") + 1) % 5).otherwise("fold"))
    with pytest.raises(DataError, match=r"the rows of worker_\d+ .* lie in 2 folds"):
        check_predictions(bad, data)
    rows = good.with_columns(protocol=pl.lit("rows"))
    assert len(check_predictions(rows, data)) == len(good)


def test_a_leak_through_rows_outside_the_set_is_refused(good: pl.DataFrame, turns) -> None:
    small = labelled(turns, ids=turns["query_id"][1:].to_list())
    with pytest.raises(DataError, match="not labelled turns"):
        check_predictions(good, small)
    assert len(check_predictions(good, small, known=turns)) == len(good) - 2
    outside = pl.col("query_id") == turns["query_id"][0]
    bad = good.with_columns(fold=pl.when(outside).then((pl.col("fold") + 1) % 5).otherwise("fold"))
    with pytest.raises(DataError, match="lie in 2 folds"):
        check_predictions(bad, small, known=turns)


def test_a_conversation_may_not_be_split_under_its_protocol(data) -> None:
    by_rows = cross_validate(DwellModel(), data, "rows", repeats=1, progress=False)
    bad = by_rows.with_columns(protocol=pl.lit("conversation"))
    with pytest.raises(DataError, match="conversation_id was trained on"):
        check_predictions(bad, data)


def test_one_fold_for_everything_is_refused(good: pl.DataFrame, data) -> None:
    with pytest.raises(DataError, match="has a single fold"):
        check_predictions(good.with_columns(fold=pl.lit(0, pl.Int64)), data)


def test_two_configurations_in_one_protocol_are_refused(good: pl.DataFrame, data) -> None:
    bad = good.with_columns(
        config_hash=pl.when(pl.col("repeat") == 0).then(pl.lit("x")).otherwise("config_hash")
    )
    with pytest.raises(DataError, match="2 configurations .*'worker'"):
        check_predictions(bad, data)


def test_an_unknown_protocol_is_named(good: pl.DataFrame, data) -> None:
    with pytest.raises(DataError, match="protocol 'random'"):
        check_predictions(good.with_columns(protocol=pl.lit("random")), data)


def test_future_expects_the_late_workers_only(data) -> None:
    made = cross_validate(DwellModel(), data, "future", progress=False)
    assert 0 < len(made) < len(data.y)
    assert len(check_predictions(made, data)) == len(made)
    with pytest.raises(IncompleteError):
        check_predictions(made[1:], data)


def test_an_unknown_ending_is_not_written(good: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.xlsx ending"):
        write_predictions(good, tmp_path / "m.xlsx")
