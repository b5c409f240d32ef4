"""Labels of a folder, shard by shard, are those of all turns at once, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ifllm_hf import cli
from ifllm_hf.alignment.labels import turn_facts
from ifllm_hf.alignment.labels.check import check_labels
from ifllm_hf.alignment.labels.label_file import LABELS, METADATA_KEY
from ifllm_hf.alignment.labels.signals import label_model
from ifllm_hf.alignment.labels.write import read_turns_with_features, write_labels
from ifllm_hf.alignment.pairs.source import open_pairs
from ifllm_hf.behavior.features.table import turn_files
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet
from ifllm_hf.reward.scoring.score_file import score_pairs_file
from ifllm_hf.reward.training.run import _labels
from ifllm_hf.table_parts import table_files
from tests.helpers.prepared_folder import equal, resharded


@pytest.fixture(scope="module")
def many(prepared_synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resharded(prepared_synthetic, tmp_path_factory.mktemp("many") / "ifllm")


@pytest.fixture(scope="module")
def turns(many: Path) -> pl.DataFrame:
    return read_turns_with_features(many)


@pytest.mark.parametrize(
    ("source", "inputs"),
    [("explicit", "best"), ("reward", "best"), ("both", "gaze"), ("all", "best"), ("all", "text")],
)
def test_shard_by_shard_is_equal_to_all_at_once(
    source: str, inputs: str, many: Path, turns: pl.DataFrame, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"source": source, "model": label_model(inputs), "progress": False}
    at_once = write_labels(turns, tmp_path / "once.parquet", **settings)
    table = read_parquet(tmp_path / "once.parquet")
    report = write_labels(many, tmp_path / "pairs.parquet", **settings)
    assert equal(read_parquet(tmp_path / "pairs.parquet"), table)
    assert {**report.to_dict(), "path": None} == {**at_once.to_dict(), "path": None}
    names = {"once.parquet", "pairs.parquet"}
    assert {place.name for place in tmp_path.iterdir()} == names


def test_a_folder_of_shards_is_taken_wherever_a_label_file_is(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    asked = ["label", str(out), "--from", str(many), "--source", "all"]
    assert cli.main([*asked, "--check", "--json"]) == 0
    shown = capsys.readouterr().out
    report = json.loads(shown[: shown.index("\n}\n") + 3])
    assert shown.count("--- ") >= 3
    shards = table_files(out)
    of_pairs = [read_parquet(f).height for f in config_files(many, "pairwise")]
    assert 1 < len(shards) <= len([n for n in of_pairs if n])
    assert all(read_parquet(shard).height for shard in shards)
    for shard in shards:
        schema = pq.read_schema(shard)
        assert schema.remove_metadata().equals(LABELS)
        assert json.loads(schema.metadata[METADATA_KEY])["pairs"] == report["pairs"]
    table = read_parquet(shards)
    ids = table["query_id"].to_list()
    assert cli.main(["label", f"{out}.parquet", *asked[2:]]) == 0
    assert equal(read_parquet(f"{out}.parquet"), table)
    opened = open_pairs(str(out), columns=["query_id"])
    assert [row["query_id"] for row in opened] == ids
    assert [row["confidence"] for row in opened] == table["confidence"].to_list()
    assert [row["query_id"] for row in _labels(str(out))] == ids
    assert check_labels(out, read_parquet(turn_files(many))).pairs == len(ids)
    assert cli.main(asked) == 1
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*asked, "--overwrite"]) == 0
    assert equal(read_parquet(table_files(out)), table)


def test_a_folder_of_scores_labels_as_their_file_does(many: Path, tmp_path: Path) -> None:
    found = []
    for name in ("scores", "scores.parquet"):
        score_pairs_file(many, tmp_path / name, progress=False, say=lambda line: None)
        out = tmp_path / f"of-{name.replace('.', '-')}.parquet"
        settings: Any = {"predictions": tmp_path / name, "progress": False}
        write_labels(many, out, source="reward", **settings)
        found.append(read_parquet(out).drop("label_model"))
    assert equal(*found)


def test_an_interrupted_run_finds_its_features(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    out = tmp_path / "pairs.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(turn_facts, "_checked", killed)
        with pytest.raises(KeyboardInterrupt):
            write_labels(many, out, source="all", progress=False)
    monkeypatch.setattr(turn_facts, "write_features_of", killed)
    write_labels(many, out, source="all", progress=False)
    assert [place.name for place in tmp_path.iterdir()] == ["pairs.parquet"]


def test_turns_that_change_meanwhile_are_refused(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = turn_facts._checked
    monkeypatch.setattr(turn_facts, "_checked", lambda facts: whole(facts.reverse()))
    with pytest.raises(DataError, match="have changed"):
        write_labels(many, tmp_path / "pairs.parquet", source="explicit", progress=False)
    assert list(tmp_path.iterdir()) == []
