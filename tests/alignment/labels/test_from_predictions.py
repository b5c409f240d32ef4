from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf import cli
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.benchmark.protocol.predictions import read_predictions, write_predictions
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.errors import ConfigError, DataError


@pytest.fixture
def predicted(turns: pl.DataFrame, tmp_path: Path) -> Path:
    """What a model that is right seven times in eight, and too sure, would write in two repeats."""
    rows = labelled(turns)
    readers = rows.rows["user_id"].unique().sort().to_list()
    rng = np.random.default_rng(0)
    parts = []
    for repeat in range(2):
        right = np.where(rng.random(len(rows.y)) < 0.875, rows.y, 1 - rows.y)
        parts.append(
            rows.rows.select(
                "query_id",
                pl.lit("worker").alias("protocol"),
                pl.lit(repeat).alias("repeat"),
                pl.col("user_id").replace_strict(readers, range(len(readers))).mod(3).alias("fold"),
                pl.Series("p_b", 0.01 + 0.98 * right),
                pl.lit("abc").alias("config_hash"),
            )
        )
    write_predictions(pl.concat(parts), tmp_path / "reward.parquet")
    return tmp_path / "reward.parquet"


def test_predictions_of_any_reward_model_label(
    turns: pl.DataFrame, predicted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pairs.parquet"
    report = write_labels(turns, out, source="reward", predictions=predicted, progress=False)
    table = pl.read_parquet(out)
    assert set(table["label_model"]) == {"reward.parquet abc"}
    assert set(report.slopes) == {0, 1, 2} == set(table["label_fold"])
    # Too sure by far: .99 is right seven times in eight. The slope takes that off.
    assert all(0 < slope < 1 for slope in report.slopes.values())
    assert report.behavior is not None and report.behavior["accuracy"]["estimate"] > 0.75
    raw = read_predictions(predicted).with_columns(z=(pl.col("p_b") / (1 - pl.col("p_b"))).log())
    z = raw.group_by("query_id").agg(pl.col("z").mean())
    joined = table.join(z, on="query_id")
    slope = joined["label_fold"].cast(pl.Int64).replace_strict(report.slopes).to_numpy()
    expected = 1 / (1 + np.exp(-slope * joined["z"].to_numpy()))
    np.testing.assert_allclose(joined["p_b"], expected, rtol=1e-9)
    # Pairs on which both repeats contradict each other are left out: nothing is known of them.
    assert report.ledger.dropped["undecided"] == z.filter(pl.col("z").abs() < 1e-9).height + (
        turns.filter(pl.col("kind") == "pairwise")["preference"].null_count()
    )


def test_predictions_that_saw_the_reader_or_the_judge_are_refused(
    turns: pl.DataFrame, predicted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pairs.parquet"
    with pytest.raises(ConfigError, match="readers of that fold"):
        write_labels(turns, out, source="reward", predictions=predicted, judge_fold=0)
    leaky = read_predictions(predicted).with_columns(fold=(pl.col("query_id") % 3).cast(pl.Int64))
    leaky.write_parquet(tmp_path / "leaky.parquet")
    with pytest.raises(DataError, match="their own user_id"):
        write_labels(turns, out, source="reward", predictions=tmp_path / "leaky.parquet")
    by_row = read_predictions(predicted).with_columns(protocol=pl.lit("row"))
    by_row.write_parquet(tmp_path / "row.parquet")
    with pytest.raises(DataError, match="protocol 'worker'"):
        write_labels(turns, out, source="reward", predictions=tmp_path / "row.parquet")
    assert not out.exists()


def test_predictions_and_inputs_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["label", str(tmp_path / "x.parquet"), "--source", "reward", "--inputs", "gaze"]
    assert cli.main([*command, "--predictions", "p.parquet"]) == 1
    assert "exclude each other" in capsys.readouterr().err


def _scored(turns: pl.DataFrame, file: Path, head: str, seen: list[int]) -> Path:
    """Write what `ifllm score` would: right seven times in eight, readers of some folds seen."""
    rows = turns.filter(pl.col("kind") == "pairwise").sort("query_id")
    likes_b = (rows["preference"] == "b").fill_null(False).to_numpy()
    right = np.random.default_rng(0).random(rows.height) < 0.875
    rows.select(
        "query_id",
        "user_id",
        pl.Series("p_b", 0.01 + 0.98 * (likes_b == right)),
        held_out=~pl.col("fold").is_in(seen),
        head=pl.lit(head) if head else "fold_" + pl.col("fold").cast(pl.String),
        model=pl.lit("late-reading"),
    ).write_parquet(file)
    return file


def test_scores_label_readers_that_their_head_has_not_seen(
    turns: pl.DataFrame, tmp_path: Path
) -> None:
    by_reader = _scored(turns, tmp_path / "s.parquet", "", [])
    out = tmp_path / "pairs.parquet"
    write_labels(turns, out, source="reward", predictions=by_reader, progress=False)
    table = pl.read_parquet(out)
    assert set(table["label_model"]) == {"s.parquet late-reading by reader"}
    assert table["label_fold"].to_list() == table["fold"].to_list()
    # The heads of the others have learned from the judges.
    with pytest.raises(ConfigError, match="ifllm score --head fold_3"):
        write_labels(
            turns, tmp_path / "x.parquet", source="reward", predictions=by_reader, judge_fold=3
        )
    seen = _scored(turns, tmp_path / "seen.parquet", "all", [0, 1])
    first = pl.read_parquet(seen)["held_out"].to_list().index(False)
    with pytest.raises(DataError, match=rf"seen\.parquet: held_out is false .* at row {first},"):
        write_labels(turns, out, source="reward", predictions=seen, overwrite=True)


def test_scores_of_one_head_label_for_judges_that_it_has_not_seen(
    turns: pl.DataFrame, tmp_path: Path
) -> None:
    one = _scored(turns, tmp_path / "s.parquet", "fold_3", [0, 1, 2, 4])
    out = tmp_path / "pairs.parquet"
    report = write_labels(
        turns, out, source="reward", predictions=one, judge_fold=3, progress=False, overwrite=True
    )
    # What it says of its labels does not count readers whom the head has learned from.
    pairs = turns.filter(pl.col("kind") == "pairwise")
    assert report.behavior is not None
    assert report.behavior["workers"] == pairs.filter(pl.col("fold") == 3)["user_id"].n_unique()
    assert report.known > 0 and f"{report.known} turns by a model that has" in report.text()
    table = pl.read_parquet(out)
    assert set(table.filter(pl.col("fold") == 3)["label_fold"]) == {-1}
    assert (table.filter(pl.col("fold") != 3)["label_fold"] >= 0).all()
    with pytest.raises(DataError, match="held_out is false .* of fold 2, who are judged on"):
        write_labels(turns, out, source="reward", predictions=one, judge_fold=2, overwrite=True)


def test_scores_of_other_readers_or_of_a_part_are_refused(
    turns: pl.DataFrame, tmp_path: Path
) -> None:
    """Ids of turns are small numbers: those of other data may be the same."""
    whole = pl.read_parquet(_scored(turns, tmp_path / "s.parquet", "", []))
    query = whole["query_id"][4]
    changed = pl.when(pl.col("query_id") == query).then(pl.lit("zz")).otherwise("user_id")
    for name, frame, says in (
        ("others", whole.with_columns(user_id=changed), rf"query {query} is told of reader 'zz'"),
        ("half", whole.head(5), r"has scores of \d of the "),
    ):
        file = tmp_path / f"{name}.parquet"
        frame.write_parquet(file)
        with pytest.raises(DataError, match=says):
            write_labels(turns, tmp_path / "x.parquet", source="reward", predictions=file)
