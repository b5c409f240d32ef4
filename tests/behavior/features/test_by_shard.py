"""What is written shard by shard is what is computed at once, cell by cell."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ifllm_hf.behavior.features import by_shard
from ifllm_hf.behavior.features.by_shard import write_features, write_features_of
from ifllm_hf.behavior.features.table import behavior_features, read_turns, turn_files
from ifllm_hf.errors import ConfigError, DataError, OutputError, TableError
from ifllm_hf.files import read_parquet
from ifllm_hf.table_parts import table_files
from tests.helpers.prepared_folder import equal, resharded
from tests.helpers.reading_turns import random_turns


@pytest.fixture(scope="module")
def many(prepared_synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resharded(prepared_synthetic, tmp_path_factory.mktemp("many") / "ifllm")


@pytest.fixture(scope="module")
def at_once(many: Path) -> pl.DataFrame:
    return behavior_features(read_turns(many))


def test_shard_by_shard_is_equal_to_all_at_once(
    many: Path, at_once: pl.DataFrame, tmp_path: Path
) -> None:
    files = turn_files(many)
    shards_of = read_parquet(files).with_columns(pl.lit(0)).group_by("user_id").len()
    assert len(files) > 6 and shards_of["len"].max() > 1
    assert at_once["earlier_turns"].max() > 5
    written = write_features(many, tmp_path / "f.parquet").collect()
    assert equal(written, at_once)
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]
    write_features(many, tmp_path / "shards")
    shards = table_files(tmp_path / "shards")
    assert [pq.read_metadata(f).num_rows for f in shards] == [
        pq.read_metadata(f).num_rows for f in files
    ]
    assert equal(read_parquet(shards), at_once)


def test_shards_that_were_there_before_are_not_read_again(
    many: Path, at_once: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, kept, read = turn_files(many), tmp_path / "kept", list[str]()
    some = [*files[:2], *files[3:]]
    write_features_of(some, tmp_path / "some", kept=kept)
    whole = by_shard.read_shards
    monkeypatch.setattr(
        by_shard, "read_shards", lambda names: (read.extend(names), whole(names))[1]
    )
    write_features_of(files, tmp_path / "all", kept=kept)
    assert read == [files[2]] and equal(read_parquet(table_files(tmp_path / "all")), at_once)
    first = next(iter(kept.iterdir()))
    first.write_bytes(first.read_bytes()[:-9])  # a power cut
    read.clear()
    write_features_of(files, tmp_path / "again", kept=kept)
    assert len(read) == 1 and equal(read_parquet(table_files(tmp_path / "again")), at_once)
    write_features_of(files[:1], tmp_path / "one", kept=kept)
    assert len(list(kept.iterdir())) == 1  # what is gone is not kept


def test_a_run_that_was_interrupted_goes_on(
    many: Path, at_once: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, done = by_shard.own_features, []

    def killed_after(limit: int) -> Any:
        def one(frame: pl.DataFrame, phases: Any) -> pl.DataFrame:
            if len(done) >= limit:
                raise KeyboardInterrupt
            done.append(frame.height)
            return whole(frame, phases)

        return one

    out = tmp_path / "f.parquet"
    monkeypatch.setattr(by_shard, "own_features", killed_after(3))
    with pytest.raises(KeyboardInterrupt):
        write_features(many, out)
    assert not out.exists()
    monkeypatch.setattr(by_shard, "own_features", killed_after(99))
    assert equal(write_features(many, out).collect(), at_once)
    assert len(done) == len(turn_files(many))
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]


def test_two_processes_write_what_one_writes(many: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        write_features(many, tmp_path / f"{workers}.parquet", workers=workers)
    one, two = ((tmp_path / f"{workers}.parquet").read_bytes() for workers in (1, 2))
    assert one == two


def test_what_is_wrong_in_another_process_is_said_and_nothing_stays(
    many: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(many, tmp_path / "ifllm")
    file = turn_files(folder)[0]
    turns = read_parquet(file)
    turns.with_columns(pl.col("t_ms").list.reverse()).write_parquet(file)
    with pytest.raises(DataError, match="runs backwards"):
        write_features(folder, tmp_path / "f.parquet", workers=2)
    assert [place.name for place in tmp_path.iterdir()] == ["ifllm"]


def test_a_turn_in_two_shards_is_refused(many: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(many, tmp_path / "twice")
    first, _, third, *_ = turn_files(folder)
    shutil.copy(first, third)
    with pytest.raises(TableError, match="is a copy of"):
        write_features(folder, tmp_path / "f.parquet")
    pl.read_parquet(first).write_parquet(third, compression="lz4")  # in other bytes
    with pytest.raises(DataError, match="stands in 2 rows"):
        write_features(folder, tmp_path / "f.parquet")


def test_rows_in_memory_are_written_too(tmp_path: Path) -> None:
    rows = random_turns(5, n=6)
    out = tmp_path / "new" / "features.parquet"
    written = write_features(rows, out).collect()
    assert equal(written, behavior_features(rows))
    assert [p.name for p in out.parent.iterdir()] == ["features.parquet"]
    with pytest.raises(OutputError, match="exists already"):
        write_features(rows, out)
    write_features(rows[:3], out, overwrite=True)
    assert pl.read_parquet(out).height == 3
    with pytest.raises(TableError, match="not a prepared folder"):
        write_features(tmp_path, tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"\.parquet"):
        write_features(rows, tmp_path / "x.csv")


def test_a_prepared_folder_gives_one_row_per_turn(prepared_synthetic: Any, tmp_path: Any) -> None:
    turns = read_turns(prepared_synthetic)
    features = write_features(prepared_synthetic, tmp_path / "features.parquet").collect()
    assert features["query_id"].to_list() == turns["query_id"].to_list()
    read = features.filter(pl.col("reading_ms").is_not_nan())
    assert 0 < read.height < features.height
    assert (read["reading_ms"] >= 0).all()
