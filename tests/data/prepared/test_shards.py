from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.prepared import shards
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.shards import TickRows
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import CONFIGS, SCHEMAS
from ifllm_hf.errors import TableError
from tests.helpers import prepared_folder
from tests.helpers.prepared_folder import write


def rows(folder: Path, config: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in config_files(folder, config)]
    return pa.concat_tables(tables).to_pylist()


def test_files_have_the_schema_one_row_group_and_zstd(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    for config in CONFIGS:
        for file in config_files(tmp_path / "ifllm", config):
            parquet = pq.ParquetFile(file)
            assert parquet.schema_arrow.equals(SCHEMAS[config])
            assert parquet.metadata.num_row_groups == 1
            assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"


def test_empty_table_is_a_file_with_columns_and_no_rows(tmp_path: Path) -> None:
    nothing = prepared_folder.frame(SCHEMAS["preferences"].empty_table())
    write(tmp_path / "ifllm", preferences=nothing)
    (file,) = config_files(tmp_path / "ifllm", "preferences")
    assert pq.read_table(file).equals(SCHEMAS["preferences"].empty_table())


def test_shards_are_written_while_conversations_still_come(tmp_path: Path) -> None:
    there: list[int] = []

    def conversations() -> Iterator[ConversationRows]:
        for conversation in prepared_folder.conversations():
            there.append(len(list(tmp_path.rglob("*.parquet"))))
            yield conversation

    write(tmp_path / "ifllm", conversations=conversations(), shard_bytes=1)
    assert there == [0, 0, 2]  # ann: ticks and pairwise, written when bob came
    names = [Path(file).name for file in config_files(tmp_path / "ifllm", "ticks")]
    assert names == [f"train-0000{i}-of-00003.parquet" for i in range(3)]


def test_shard_size_changes_nothing_but_the_files(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "many", shard_bytes=1)
    for config in CONFIGS:
        assert rows(tmp_path / "one", config) == rows(tmp_path / "many", config)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([None, 0, 1, 2]), max_size=12), min_size=1, max_size=4),
    st.integers(1, 4000),
)
def test_every_tick_of_a_turn_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[int | None]], shard_bytes: int
) -> None:
    names = [f"u{i}/101" for i in range(len(drawn))]
    turns = [
        prepared_folder.turn(10 * i + k, n, k + 1) for i, n in enumerate(names) for k in range(3)
    ]
    folder = tmp_path_factory.mktemp("rows")
    writer = TickRows(folder, pa.Table.from_pylist(turns, schema=shards.TURNS), shard_bytes)
    expected: dict[int, list[int]] = {turn["query_id"]: [] for turn in turns}
    for i, (name, places) in enumerate(zip(names, drawn, strict=True)):
        ids = [None if place is None else 10 * i + place for place in places]
        for row, query_id in enumerate(ids):
            if query_id is not None:
                expected[query_id].append(row)
        table = prepared_folder.ticks(name, ids) if ids else shards.TICKS.empty_table()
        writer.add(ConversationRows(name, f"u{i}", 101, "pairwise", 0, table))
    writer.close()
    written = pq.read_table(folder / "pairwise").to_pylist()
    assert {row["query_id"]: row["file_row"] for row in written} == expected
    assert [row["query_id"] for row in written] == list(expected)


def test_dictionary_encoded_ticks_are_taken_and_written_as_strings(tmp_path: Path) -> None:
    def conversations() -> Iterator[ConversationRows]:
        for c in prepared_folder.conversations():
            frame = prepared_folder.frame(c.ticks).with_columns(
                pl.col("gaze_on").cast(pl.Categorical)
            )
            ticks = frame.to_arrow()
            yield ConversationRows(c.conversation_id, c.user_id, c.task_id, c.kind, c.fold, ticks)

    write(tmp_path / "a", conversations=conversations())
    write(tmp_path / "b")
    assert rows(tmp_path / "a", "ticks") == rows(tmp_path / "b", "ticks")


def test_missing_and_unknown_columns_are_named(tmp_path: Path) -> None:
    turns = prepared_folder.turns().rename({"prompt": "question"})
    with pytest.raises(TableError, match=r"turns: columns missing: \['prompt'\].*\['question'\]"):
        write(tmp_path / "ifllm", turns=turns)
    assert os.listdir(tmp_path) == []


def test_values_that_do_not_fit_are_named(tmp_path: Path) -> None:
    turns = prepared_folder.turns().with_columns(pl.lit(300).alias("fold"))
    with pytest.raises(TableError, match=r"turns: column 'fold' is .* does not fit int8.*300"):
        write(tmp_path / "ifllm", turns=turns)


def test_tick_of_an_unknown_turn_is_an_error(tmp_path: Path) -> None:
    ticks = prepared_folder.ticks("ann/101", [99, 11, 11])
    stray = ConversationRows("ann/101", "ann", 101, "pairwise", 0, ticks)
    with pytest.raises(TableError, match="query_id 99 belongs to no turn"):
        write(tmp_path / "ifllm", conversations=[stray])


def test_conversation_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    one = next(prepared_folder.conversations())
    with pytest.raises(TableError, match="ann/101 came twice"):
        write(tmp_path / "ifllm", conversations=[one, one])
