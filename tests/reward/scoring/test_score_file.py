"""Every pair is scored by a head that does not know its reader, and a killed run goes on."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ifllm_hf import cli
from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import read_parquet
from ifllm_hf.reward.baselines.late_reading import Signals
from ifllm_hf.reward.pretrained.build import build, fit_heads
from ifllm_hf.reward.pretrained.heads import ALL, HEADS_FILE, READERS_FILE
from ifllm_hf.reward.scoring import score_file, score_shard
from ifllm_hf.reward.scoring.score_file import score_pairs_file
from ifllm_hf.reward.scoring.score_shard import SCORES
from ifllm_hf.table_parts import table_files
from tests.helpers.prepared_folder import equal, resharded


@pytest.fixture(scope="module")
def model(prepared_synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the shipped kind that knows the made-up readers."""
    folder = tmp_path_factory.mktemp("model") / "own"
    build(prepared_synthetic, folder)
    return folder


@pytest.fixture(scope="module")
def table(
    model: Path, prepared_synthetic: Path, tmp_path_factory: pytest.TempPathFactory
) -> pl.DataFrame:
    return score(prepared_synthetic, tmp_path_factory.mktemp("scores") / "s.parquet", model=model)


def score(source: Path, out: Path, **settings: Any) -> pl.DataFrame:
    said: list[str] = []
    written = score_pairs_file(source, out, progress=False, **{"say": said.append, **settings})
    return written.collect()


def test_scores_are_those_of_the_head_without_the_reader(
    table: pl.DataFrame, prepared_synthetic: Path
) -> None:
    pairs = read_parquet(config_files(prepared_synthetic, "pairwise"))
    rows = pairs.join(behavior_features(read_turns(prepared_synthetic)), on="query_id", how="left")
    fitted, _ = fit_heads(prepared_synthetic)
    known = set(rows.filter(pl.col("preference").is_in(["a", "b"]))["user_id"])
    joined = rows.select("query_id", "fold", "user_id").join(table, on="query_id", how="left")
    heads = [
        f"fold_{fold}" if reader in known else ALL
        for fold, reader in joined.select("fold", "user_id").iter_rows()
    ]
    assert joined["head"].to_list() == heads and len(set(heads)) >= 5
    assert joined["held_out"].all()
    signals = Signals.of_rows(rows)
    logits = {head: one.logits(signals) for head, one in fitted.items()}
    expected = [logits[head][row] for row, head in enumerate(heads)]
    gap = joined["score_b"] - joined["score_a"]
    np.testing.assert_allclose(gap.to_numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(joined["p_b"].to_numpy(), 1 / (1 + np.exp(-gap.to_numpy())))
    parts = joined["length_a"] + joined["late_reading_a"]
    np.testing.assert_allclose(parts.to_numpy(), joined["score_a"].to_numpy(), atol=1e-5)
    assert dict(table.schema) == SCORES and table["query_id"].to_list() == [*pairs["query_id"]]


def test_one_head_for_all_has_seen_those_it_was_fitted_on(
    table: pl.DataFrame, model: Path, prepared_synthetic: Path, tmp_path: Path
) -> None:
    fold = score(prepared_synthetic, tmp_path / "f.parquet", model=model, head="fold_3")
    assert set(fold["head"]) == {"fold_3"}
    held = set(fold.filter("held_out")["user_id"])
    assert held == set(table.filter(pl.col("head").is_in(["fold_3", ALL]))["user_id"])
    with pytest.raises(ConfigError, match="fold_9"):
        score(prepared_synthetic, tmp_path / "g.parquet", model=model, head="fold_9")


def test_a_killed_run_goes_on(
    table: pl.DataFrame,
    model: Path,
    prepared_synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, scored = score_shard._score, []

    def killed_at(limit: int) -> Any:
        def one(network: Any, processor: Any, rows: pl.DataFrame) -> Any:
            if len(scored) >= limit:
                raise KeyboardInterrupt
            scored.extend(rows["query_id"])
            return whole(network, processor, rows)

        return one

    out = tmp_path / "s.parquet"
    monkeypatch.setattr(score_shard, "_score", killed_at(4))
    with pytest.raises(KeyboardInterrupt):
        score(prepared_synthetic, out, model=model, batch_size=4)
    assert not out.exists() and len(scored) >= 4
    monkeypatch.setattr(score_shard, "_score", killed_at(10_000))
    said: list[str] = []
    found = score(prepared_synthetic, out, model=model, batch_size=7, say=said.append)
    assert len(scored) == len(set(scored)) == found.height
    assert any(line.startswith("4 of ") for line in said)
    for column in ("score_a", "score_b"):
        np.testing.assert_allclose(found[column].to_numpy(), table[column].to_numpy(), atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["s.parquet"]


def test_shards_are_scored_as_the_whole_is(
    table: pl.DataFrame,
    model: Path,
    prepared_synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = resharded(prepared_synthetic, tmp_path / "ifllm")
    files = config_files(many, "pairwise")
    found = score(many, tmp_path / "s.parquet", model=model)
    assert found["query_id"].to_list() == read_parquet(files, ["query_id"])["query_id"].to_list()
    found, whole = found.sort("query_id"), table.sort("query_id")
    assert_frame_equal(found, whole, check_exact=False, rel_tol=0, abs_tol=1e-6)
    asked: list[int] = []

    def elsewhere(workers: int, *, rank: Any) -> Any:
        """Run as other processes do: what is run is sent there, and ends in any order."""
        sent = pickle.dumps(rank)

        def run(work: Path, numbers: list[int], done: Any) -> None:
            asked.append(workers)
            for number in reversed(numbers):
                pickle.loads(sent)(work, number)
                done(number)

        return run

    monkeypatch.setattr(score_file, "engine_for", elsewhere)
    score(many, tmp_path / "shards", model=model, workers=2)
    assert asked == [2, 2]
    assert [read_parquet(f).height for f in table_files(tmp_path / "shards")] == [
        read_parquet(f, ["query_id"]).height for f in files
    ]
    assert equal(read_parquet(table_files(tmp_path / "shards")).sort("query_id"), found)


def test_a_model_that_names_no_reader_leaves_it_open(
    model: Path, prepared_synthetic: Path, tmp_path: Path
) -> None:
    other = tmp_path / "model"
    shutil.copytree(model, other)
    for name in (HEADS_FILE, READERS_FILE):
        (other / name).unlink()
    said: list[str] = []
    found = score(prepared_synthetic, tmp_path / "a.parquet", model=other, say=said.append)
    assert found["held_out"].null_count() == found.height
    assert any("does not say whom" in line for line in said)
    reader = found["user_id"][0]
    (other / "run.json").write_text(json.dumps({"data": {"readers": [reader]}}))
    found = score(prepared_synthetic, tmp_path / "b.parquet", model=other)
    assert set(found.filter(~pl.col("held_out"))["user_id"]) == {reader}


def test_what_cannot_be_scored_is_one_line(
    prepared_synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    out = tmp_path / "s.parquet"
    with pytest.raises(ConfigError, match="type 'bert'"):
        score(prepared_synthetic, out, model=tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"\.parquet"):
        score(prepared_synthetic, tmp_path / "s.csv")
    out.touch()
    assert cli.main(["score", str(prepared_synthetic), str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["score", str(prepared_synthetic), str(out), "--overwrite"]) == 0
    assert capsys.readouterr().out == "" and set(pl.read_parquet(out)["head"]) == {ALL}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (pl.lit(7, pl.Int64), "query_id 7 stands in"),
        (pl.lit(None, pl.Int64), "rows have no query_id"),
        (None, "no turn has two answers"),
    ],
)
def test_turns_that_cannot_be_told_apart_are_refused(
    change: pl.Expr | None, says: str, model: Path, prepared_synthetic: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ifllm"
    shutil.copytree(prepared_synthetic, folder)
    file, *others = config_files(folder, "pairwise")
    for other in others:
        Path(other).unlink()
    rows = read_parquet(file)
    changed = rows.clear() if change is None else rows.with_columns(query_id=change)
    changed.write_parquet(file)
    with pytest.raises(DataError, match=says):
        score(folder, tmp_path / "s.parquet", model=model)
    assert not list(tmp_path.glob("*.parquet"))
