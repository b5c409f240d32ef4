from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ifllm_hf import files
from ifllm_hf.data.marker import MARKER, is_prepared, prepared_version
from ifllm_hf.data.prepared.folder import check_target, config_files, with_card_metadata
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import (
    CONFIGS,
    CONVERSATION_TICK_COLUMNS,
    SCHEMA_VERSION,
    SCHEMAS,
    TURN_TICK_COLUMNS,
)
from ifllm_hf.errors import OutputError, TableError
from tests.helpers import prepared_folder
from tests.helpers.prepared_folder import write


def rows(folder: Path, config: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in config_files(folder, config)]
    return pa.concat_tables(tables).to_pylist()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_layout_is_that_of_a_dataset_repository(tmp_path: Path) -> None:
    prepared = write(tmp_path / "ifllm")
    assert sorted(os.listdir(prepared.path)) == sorted([*CONFIGS, "README.md"])
    for config in CONFIGS:
        assert os.listdir(prepared.path / config) == ["train-00000-of-00001.parquet"]
    assert prepared.rows == {
        "pairwise": 4, "pointwise": 2, "turns": 6, "ticks": 3, "preferences": 1, "tasks": 1,
        "workers": 1,
    }  # fmt: skip
    assert prepared.n_bytes == sum(len(data) for data in content(prepared.path).values())
    assert os.listdir(tmp_path) == ["ifllm"]


def test_card_keeps_its_text_and_gets_configs_and_marker(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    _, head, text = (tmp_path / "ifllm" / "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["license"] == "apache-2.0"
    assert metadata[MARKER] == SCHEMA_VERSION
    assert [c["config_name"] for c in metadata["configs"]] == list(CONFIGS)
    assert [c["config_name"] for c in metadata["configs"] if c.get("default")] == ["pairwise"]
    assert "dataset_info" not in metadata
    assert text == "\n# A made-up dataset\n"


def test_card_may_be_made_from_the_written_tables(tmp_path: Path) -> None:
    def card(folder: Path) -> str:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.png").write_bytes(b"png")
        return f"{len(rows_of(folder))} turns"

    def rows_of(folder: Path) -> list[dict[str, Any]]:
        return pq.read_table(folder / "pairwise").to_pylist()

    write(tmp_path / "ifllm", card=card)
    assert (tmp_path / "ifllm" / "README.md").read_text().endswith("4 turns")
    write(tmp_path / "ifllm", card=card)  # its own figures do not stop it from being replaced


@pytest.mark.parametrize("card", ["plain", "---\na: 1\n---\nplain", "---\na: 1\n---\n\nplain"])
def test_adding_card_metadata_twice_changes_nothing(card: str, tmp_path: Path) -> None:
    once = with_card_metadata(card, tmp_path)
    assert with_card_metadata(once, tmp_path) == once
    assert once.endswith("---\n\nplain")


def test_ticks_reach_their_turn_in_file_order(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    by_id = {row["query_id"]: row for row in rows(tmp_path / "ifllm", "pairwise")}
    # Turn 11 goes on after turn 12 has begun: a reload.
    assert by_id[11]["file_row"] == [1, 2, 3, 6, 7]
    assert by_id[12]["file_row"] == [4, 5, 8]
    assert by_id[11]["gaze_x_px"] == [1.0, 2.0, 3.0, 6.0, 7.0]
    assert by_id[11]["gaze_on"] == ["a", "b", "a", "a", "a"]
    assert by_id[11]["gaze_char"] == [None, 2, None, 6, None]
    assert by_id[11]["camera_ok"] == [False, None, True, True, False]
    assert by_id[11]["mouse_x_px"] == [None] * 5


def test_turns_keep_what_they_are(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    written = rows(tmp_path / "ifllm", "pairwise") + rows(tmp_path / "ifllm", "pointwise")
    expected = prepared_folder.turns().to_dicts()
    assert [row["query_id"] for row in written] == [11, 12, 13, 31, 21, 22]
    got = {row["query_id"]: row for row in written}
    for row in expected:
        assert {name: got[row["query_id"]][name] for name in row} == row


def test_turn_without_ticks_has_empty_lists_and_no_reading_end(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    by_id = {row["query_id"]: row for row in rows(tmp_path / "ifllm", "pairwise")}
    for query_id in (13, 31):  # 13: others of its conversation have ticks; 31: none has
        assert all(by_id[query_id][name] == [] for name in TURN_TICK_COLUMNS)
        assert by_id[query_id]["reading_end_source"] is None
    assert by_id[12]["reading_end_source"] == "fallback"


def test_ticks_config_has_every_instant_also_those_without_turn(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    written = {row["conversation_id"]: row for row in rows(tmp_path / "ifllm", "ticks")}
    assert list(written) == list(prepared_folder.TICKS_OF)
    for name, (kind, fold, query_ids) in prepared_folder.TICKS_OF.items():
        row = written[name]
        assert (row["kind"], row["fold"]) == (kind, fold)
        source = prepared_folder.ticks(name, query_ids).to_pydict()
        assert {column: row[column] for column in CONVERSATION_TICK_COLUMNS} == {
            column: source[column] for column in CONVERSATION_TICK_COLUMNS
        }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TableError("broken"), ValueError("bug")])
def test_old_folder_stays_when_reading_fails(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "ifllm")
    before = content(tmp_path / "ifllm")

    def conversations() -> Iterator[ConversationRows]:
        yield from list(prepared_folder.conversations())[:1]
        raise error

    with pytest.raises(type(error)):
        write(tmp_path / "ifllm", conversations=conversations(), shard_bytes=1)
    assert content(tmp_path / "ifllm") == before
    assert os.listdir(tmp_path) == ["ifllm"]


def test_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files._Collected, "drain", full)
    with pytest.raises(OutputError, match=r"ifllm: cannot be written.*No space left.*free some"):
        write(tmp_path / "ifllm")
    assert os.listdir(tmp_path) == []


def test_file_that_cannot_grow_is_the_same_error(tmp_path: Path) -> None:
    # The real thing: the kernel refuses to write beyond the limit.
    script = """
import resource, sys
from pathlib import Path
from ifllm_hf.errors import OutputError
from tests.helpers.prepared_folder import write
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    write(Path(sys.argv[1]))
except OutputError as error:
    print(error)
"""
    done = run_python(script, str(tmp_path / "ifllm"))
    assert "cannot be written" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []


def run_python(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[3])
    env = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, env=env, check=False
    )


def test_old_folder_is_back_when_the_last_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ifllm")
    before = content(tmp_path / "ifllm")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EIO, "disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="disk gone"):
        write(tmp_path / "ifllm")
    assert content(tmp_path / "ifllm") == before
    assert os.listdir(tmp_path) == ["ifllm"]


def test_prepared_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "ifllm", shard_bytes=1)
    write(tmp_path / "ifllm")
    assert os.listdir(tmp_path / "ifllm" / "ticks") == ["train-00000-of-00001.parquet"]


def test_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    write(tmp_path / "new" / "deep" / "ifllm")
    assert is_prepared(tmp_path / "empty") and is_prepared(tmp_path / "new/deep/ifllm")


def test_folder_with_other_things_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is not a prepared folder"):
        write(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        check_target(tmp_path / "file")
    write(tmp_path / "ifllm")
    (tmp_path / "ifllm" / ".git").mkdir()
    with pytest.raises(OutputError, match=r"\.git"):
        write(tmp_path / "ifllm")
    assert sorted(os.listdir(tmp_path)) == ["file", "ifllm", "thesis.tex"]


def test_symlink_to_a_prepared_folder_stays_a_symlink(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", shard_bytes=1)
    assert (tmp_path / "link").is_symlink()
    assert len(config_files(tmp_path / "real", "ticks")) == 3


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("---\nifllm_prepared: 1\n---\n", 1),
        ("---\r\nlicense: mit\r\nifllm_prepared: 7\r\n---\r\ntext", 7),
        ("---\nlicense: mit\n---\nifllm_prepared: 1\n", None),
        ("ifllm_prepared: 1\n", None),
        ("---\nifllm_prepared: maybe\n---\n", None),
        ("", None),
    ],
)
def test_marker_counts_only_in_the_front_matter(
    tmp_path: Path, text: str, version: int | None
) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    assert prepared_version(tmp_path) == version


def test_nothing_and_files_are_no_prepared_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    assert not is_prepared(tmp_path / "missing")
    assert not is_prepared(tmp_path / "file")


def test_missing_shard_and_other_version_are_named(tmp_path: Path) -> None:
    write(tmp_path / "ifllm", shard_bytes=1)
    (tmp_path / "ifllm/ticks/train-00001-of-00003.parquet").unlink()
    with pytest.raises(TableError, match="ticks: 2 of 3 Parquet files"):
        config_files(tmp_path / "ifllm", "ticks")
    card = tmp_path / "ifllm/README.md"
    card.write_text(card.read_text().replace(f"{MARKER}: {SCHEMA_VERSION}", f"{MARKER}: 999"))
    with pytest.raises(TableError, match=r"version 999.*ifllm prepare"):
        config_files(tmp_path / "ifllm", "pairwise")
    with pytest.raises(TableError, match="not a prepared folder"):
        config_files(tmp_path, "pairwise")


def test_a_shard_that_is_a_copy_of_another_is_named_with_it(tmp_path: Path) -> None:
    write(tmp_path / "ifllm", shard_bytes=1)
    shards = sorted((tmp_path / "ifllm/ticks").iterdir())
    shards[2].write_bytes(shards[0].read_bytes())
    with pytest.raises(TableError, match=f"{shards[2].name}: is a copy of {shards[0].name}"):
        config_files(tmp_path / "ifllm", "ticks")


def test_turns_are_both_kinds_without_their_ticks(tmp_path: Path) -> None:
    write(tmp_path / "ifllm", shard_bytes=1)
    light = rows(tmp_path / "ifllm", "turns")
    whole = [*rows(tmp_path / "ifllm", "pairwise"), *rows(tmp_path / "ifllm", "pointwise")]
    assert len(whole) == 6
    assert light == [{name: row[name] for name in SCHEMAS["turns"].names} for row in whole]
    assert {*whole[0]} - {*light[0]} == {*TURN_TICK_COLUMNS}


def test_reads_with_polars_as_well(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    frame = pl.read_parquet(tmp_path / "ifllm" / "pairwise" / "*.parquet")
    assert frame["file_row"].to_list() == [[1, 2, 3, 6, 7], [4, 5, 8], [], []]
    assert json.loads(json.dumps(frame["gaze_on"].to_list()[1])) == ["a", "a", "a"]


def test_half_a_shard_and_one_without_a_column_are_named(tmp_path: Path) -> None:
    write(tmp_path / "ifllm")
    (shard,) = (Path(file) for file in config_files(tmp_path / "ifllm", "pairwise"))
    whole = shard.read_bytes()
    pq.write_table(pq.read_table(shard).drop_columns(["mouse_char"]), shard)
    with pytest.raises(TableError, match=f"{shard.name}: .*mouse_char"):
        config_files(tmp_path / "ifllm", "pairwise")
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match=f"{shard.name}: .*Parquet"):
        config_files(tmp_path / "ifllm", "pairwise")
    shard.write_bytes(whole)
    assert config_files(tmp_path / "ifllm", "pairwise") == [str(shard)]
