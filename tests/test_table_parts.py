"""A table in parts: file, lines and folder of shards, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from ifllm_hf.errors import ConfigError, OutputError, TableError
from ifllm_hf.files import held, read_parquet, write_parquet
from ifllm_hf.table_parts import check_table_place, kept_beside, table_files, write_table

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])
PARTS = [
    pa.table({"n": range(start, stop), "text": ["é"] * (stop - start)}, schema=SCHEMA)
    for start, stop in ((0, 3), (3, 3), (3, 5))
]


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t"])
def test_parts_are_one_table(name: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / name
    write_table(out, PARTS, SCHEMA, {b"said": b"so"})
    read = pl.read_ndjson(out) if out.suffix == ".jsonl" else read_parquet(table_files(out))
    assert read.rows() == [(i, "é") for i in range(5)]
    assert [file.name for file in out.parent.iterdir()] == [name]
    if out.suffix != ".jsonl":
        schemas = [pq.read_schema(file) for file in table_files(out)]
        assert all(schema.metadata[b"said"] == b"so" for schema in schemas)
        assert all(schema.remove_metadata().equals(SCHEMA) for schema in schemas)


def test_a_folder_has_a_shard_for_each_part_and_loads(tmp_path: Path) -> None:
    write_table(tmp_path / "t", PARTS, SCHEMA)
    rows = [pq.read_metadata(file).num_rows for file in table_files(tmp_path / "t")]
    assert rows == [3, 0, 2]
    loaded = load_dataset(str(tmp_path / "t"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["n"][:] == [0, 1, 2, 3, 4]
    (tmp_path / "t" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(TableError, match="2 Parquet files"):
        table_files(tmp_path / "t")


def test_a_shard_that_is_a_copy_of_another_is_refused_with_both_names(tmp_path: Path) -> None:
    write_table(tmp_path / "t", [*PARTS, PARTS[1]], SCHEMA)
    shards = [Path(file) for file in table_files(tmp_path / "t")]  # two are empty, and alike
    shards[2].write_bytes(shards[0].read_bytes())
    with pytest.raises(TableError, match=f"{shards[2].name}: is a copy of {shards[0].name}"):
        table_files(tmp_path / "t")


@pytest.mark.parametrize(
    "name", ["pairwise", "pairwise/train-00000-of-00001.parquet", "labels.parquet", "features"]
)
def test_no_table_is_written_into_a_prepared_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nifllm_prepared: 3\n---\n")
    write_table(tmp_path / "pairwise", PARTS[:1], SCHEMA)
    with pytest.raises(OutputError, match="lies in the prepared folder"):
        check_table_place(tmp_path / name, overwrite=True)
    assert check_table_place(tmp_path.parent / "features", overwrite=False)


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.Table]:
        yield PARTS[0]
        raise KeyboardInterrupt

    for name in ("t", "t.parquet", "t.jsonl"):
        write_table(tmp_path / name, PARTS, SCHEMA)
        with pytest.raises(KeyboardInterrupt):
            write_table(tmp_path / name, broken(), SCHEMA)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t", "t.jsonl", "t.parquet"]
    assert read_parquet(table_files(tmp_path / "t")).height == 5


def test_places_that_are_taken_or_cannot_be(tmp_path: Path) -> None:
    for name in ("t", "t.parquet"):
        write_table(tmp_path / name, PARTS, SCHEMA)
        with pytest.raises(OutputError, match="exists already"):
            check_table_place(tmp_path / name, overwrite=False)
        assert check_table_place(tmp_path / name, overwrite=True) == tmp_path / name
    with pytest.raises(ConfigError, match=r"\.parquet"):
        check_table_place(tmp_path / "t.csv", overwrite=True)
    (tmp_path / "t" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"notes\.txt"):
        check_table_place(tmp_path / "t", overwrite=True)
    (tmp_path / "plain").touch()
    with pytest.raises(OutputError, match="is a file"):
        check_table_place(tmp_path / "plain", overwrite=True)


def test_what_is_kept_beside_is_whole_and_of_this_run_alone(tmp_path: Path) -> None:
    out, names = tmp_path / "x", ("whole.parquet", "cut.parquet", "empty.parquet", "cut.npy")
    for state in ("a" * 12, "b" * 12):
        with pytest.raises(KeyboardInterrupt), kept_beside(out, state) as aside:
            for name in names[:3]:
                write_parquet(aside / name, pl.DataFrame({"n": [1]}))
            (aside / "features").mkdir()
            write_parquet(aside / "features" / "0.parquet", pl.DataFrame({"n": [1]}))
            (aside / "features" / "1.parquet").touch()
            np.save(aside / "cut.npy", np.zeros(99))
            for name, size in (("cut.parquet", 50), ("empty.parquet", 0), ("cut.npy", 200)):
                os.truncate(aside / name, size)
            raise KeyboardInterrupt
    with held(tmp_path / f".x.{'c' * 12}.part", ""):
        (tmp_path / f".x.{'c' * 12}.part").mkdir()
        with kept_beside(out, "b" * 12) as aside:
            assert [file.name for file in aside.iterdir()] == ["whole.parquet"]
        assert (tmp_path / f".x.{'c' * 12}.part").is_dir(), "another run is at work"
        assert not list(tmp_path.glob(".x.[ab]*"))
