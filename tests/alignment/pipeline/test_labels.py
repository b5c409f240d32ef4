"""Labels, the reward model behind them, and the folds of readers."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from ifllm_hf.alignment.labels.signals import label_model
from ifllm_hf.alignment.labels.write import read_turns_with_features, write_labels
from ifllm_hf.alignment.pipeline.config import LabelSource
from ifllm_hf.alignment.pipeline.data import Data, remember_folds
from ifllm_hf.alignment.pipeline.labels import label_run, make_labels, new_pairs, pairs_digest
from ifllm_hf.alignment.pipeline.training import recipe
from ifllm_hf.files import read_parquet
from ifllm_hf.table_parts import table_files
from tests.helpers.prepared_folder import equal, resharded

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file:UserWarning",  # of a base that is a tiny random model
)


def test_labels_come_with_the_reward_model_behind_them(
    prepared_synthetic: Path, tmp_path: Path
) -> None:
    from ifllm_hf.reward.baselines.saving import load_model

    data = Data(prepared_synthetic, tmp_path)
    source = LabelSource("mouse", "reward", "mouse")
    a_run = label_run(source, data, 0, tmp_path)
    labels = make_labels(source, data, 0, a_run)
    model = load_model(a_run.folder / "reward.skops")
    turns = read_turns_with_features(prepared_synthetic).filter(pl.col("kind") == "pairwise")
    p = model.predict_proba(turns)
    assert p.shape == (turns.height,) and ((p > 0) & (p < 1)).all()
    report = a_run.state()["report"]
    assert report["settings"]["judge_fold"] == 0
    table = read_parquet(table_files(labels.pairs))
    assert set(table.filter(fold=0)["label_fold"]) == {-1}
    # The judge's readers shape no weight: their clicks reversed change nothing.
    flipped = turns.with_columns(
        preference=pl.when(pl.col("fold") == 0)
        .then(pl.col("preference").replace({"a": "b", "b": "a"}))
        .otherwise("preference")
    )
    from ifllm_hf.alignment.pipeline.labels import fit_reward

    fit_reward(flipped, source, 0, tmp_path / "again.skops")
    assert (load_model(tmp_path / "again.skops").predict_proba(turns) == p).all()
    fit_reward(flipped, source, None, tmp_path / "all.skops")
    assert (load_model(tmp_path / "all.skops").predict_proba(turns) != p).any()


@pytest.mark.parametrize(("source", "inputs"), [("explicit", "best"), ("all", "text+gaze+mouse")])
def test_labels_are_shards_with_the_pairs_of_all_turns_at_once(
    source: str, inputs: str, prepared_synthetic: Path, tmp_path: Path
) -> None:
    many = resharded(prepared_synthetic, tmp_path / "ifllm")
    dealt = Data(many, tmp_path).folds
    first = {reader: (fold + 1) % 5 for reader, fold in dealt.items()}  # that they keep
    (tmp_path / "folds.json").write_text(json.dumps(first))
    data = Data(many, tmp_path)
    assert data.folds == first
    of = LabelSource("some", source, inputs)
    made = make_labels(of, data, 1, label_run(of, data, 1, tmp_path))
    turns = read_turns_with_features(many)
    fold = pl.col("user_id").replace_strict(data.folds, return_dtype=pl.Int8)
    turns = turns.with_columns(fold.alias("fold"))
    judge_fold = None if source == "explicit" else 1
    settings = {"source": source, "judge_fold": judge_fold, "progress": False}
    write_labels(turns, tmp_path / "once.parquet", model=label_model(inputs), **settings)
    shards = table_files(made.pairs)
    assert len(shards) > 1 and equal(read_parquet(shards), read_parquet(tmp_path / "once.parquet"))
    assert made.digest == pairs_digest(read_parquet(tmp_path / "once.parquet"))


def test_a_reader_keeps_the_first_fold_and_newcomers_move_nobody(tmp_path: Path) -> None:
    from ifllm_hf.data.tables.folds import fold_of_unknown

    file = tmp_path / "folds.json"
    first = pl.DataFrame({"user_id": ["a", "b"], "fold": [0, 1]})
    assert remember_folds(first, file) == {"a": 0, "b": 1}
    dealt_anew = pl.DataFrame({"user_id": ["a", "b", "c"], "fold": [2, 0, 1]})
    assert remember_folds(dealt_anew, file) == {"a": 0, "b": 1, "c": fold_of_unknown("c")}
    # Somebody withdrew, and is not there any more.
    assert remember_folds(dealt_anew[1:], file) == {"b": 1, "c": fold_of_unknown("c")}


def test_the_digest_of_pairs_is_of_their_content(prepared_synthetic: Path) -> None:
    pairs = pl.read_parquet(prepared_synthetic / "preferences" / "*.parquet")
    same = pairs.sample(fraction=1.0, shuffle=True, seed=1).with_columns(source=pl.lit("other"))
    assert pairs_digest(same) == pairs_digest(pairs)
    assert pairs_digest(pairs[1:]) != pairs_digest(pairs)
    assert pairs_digest(pairs.with_columns(confidence=pl.lit(0.9))) != pairs_digest(pairs)


def test_every_source_file_labels(prepared_synthetic: Path, tmp_path: Path) -> None:
    data = Data(prepared_synthetic, tmp_path)
    files = sorted((recipe("pipeline.yaml").parent / "configs" / "sources").glob("*.yaml"))
    assert len(files) == 7
    digests = set()
    for file in files:
        source = LabelSource(**yaml.safe_load(file.read_text()))
        assert source.name == file.stem
        digests.add(make_labels(source, data, 0, label_run(source, data, 0, tmp_path)).digest)
    assert len(digests) == 7


def test_new_pairs_are_those_that_no_run_has_seen() -> None:
    pairs = pl.DataFrame({"query_id": [1, 2, 3, 4], "fold": [1, 1, 0, 2]})
    fresh, table = new_pairs(pairs.lazy(), {1}, 0)
    assert fresh == [2, 4] and table["query_id"].to_list() == [2, 3, 4]
    assert new_pairs(pairs.lazy(), {1, 2, 4}, 0)[0] == []
    assert new_pairs(pairs.lazy(), set(), None)[0] == [1, 2, 3, 4]
