from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf import cli
from ifllm_hf.alignment.labels.inputs import INPUTS, label_model
from ifllm_hf.alignment.labels.write import read_turns_with_features, write_labels
from ifllm_hf.benchmark.protocol.predictions import read_predictions, write_predictions
from ifllm_hf.benchmark.protocol.rows import groups_of, labelled, visible
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.baselines.protocol import config_hash


@pytest.fixture(scope="module")
def turns(prepared_synthetic: Path) -> pl.DataFrame:
    return read_turns_with_features(prepared_synthetic)


def label(turns: pl.DataFrame, out: Path, inputs: str) -> pl.DataFrame:
    write_labels(
        turns, out, source="reward", model=label_model(inputs), folds=2, inner_folds=2,
        overwrite=True, progress=False,
    )  # fmt: skip
    return pl.read_parquet(out)


def spoilt(turns: pl.DataFrame, starts: str) -> pl.DataFrame:
    """Change the numbers of one channel."""
    names = [c for c in turns.columns if c.startswith(starts) and turns.schema[c].is_float()]
    assert names
    return turns.with_columns((pl.col(name) * 3).abs() for name in names)


def told(turns: pl.DataFrame, inputs: str) -> list[float]:
    """What the labelling model says of the pairs that it was fitted on."""
    rows = labelled(turns)
    model: Any = label_model(inputs)()
    model.fit(visible(rows.rows), rows.y, groups_of(rows.rows))
    return list(model.predict_proba(visible(rows.rows)))


@pytest.mark.parametrize(
    ("inputs", "blind_to"),
    [("gaze", ("mouse_",)), ("mouse", ("gaze_",)), ("text", ("gaze_", "mouse_", "pooled_"))],
)
def test_a_labeller_sees_what_it_is_named_after(
    turns: pl.DataFrame, inputs: str, blind_to: tuple[str, ...]
) -> None:
    plain = told(turns, inputs)
    other = turns
    for channel in blind_to:
        other = spoilt(other, channel)
    assert told(other, inputs) == plain
    longer = turns.with_columns(response_a=pl.col("response_a") + " and so on" * 9)
    if inputs == "text":
        assert told(longer, inputs) != plain
    else:
        assert told(spoilt(turns, f"{inputs}_"), inputs) != plain
        # Not even the lengths of the answers.
        assert told(longer, inputs) == plain


def test_labels_name_the_model_that_made_them(turns: pl.DataFrame, tmp_path: Path) -> None:
    assert label(turns, tmp_path / "a.parquet", "text")["label_model"][0].startswith("TF-IDF LR ")
    assert len({config_hash(label_model(inputs)()) for inputs in INPUTS}) == len(INPUTS)


def test_the_command_line_knows_the_same_names() -> None:
    parsed = [
        cli.parser().parse_args(["label", "x.parquet", "--source", "reward", "--inputs", i]).inputs
        for i in INPUTS
    ]
    assert tuple(parsed) == INPUTS
    with pytest.raises(ConfigError, match="expected one of best, text"):
        label_model("smell")


def test_clicks_have_no_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["label", str(tmp_path / "x.parquet"), "--inputs", "gaze"]) == 1
    assert "no meaning for --source explicit" in capsys.readouterr().err


# --- predictions made elsewhere ------------------------------------------------------------------


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
    with pytest.raises(ConfigError, match="were trained on the readers of that fold"):
        write_labels(turns, out, source="reward", predictions=predicted, judge_fold=0)
    leaky = read_predictions(predicted).with_columns(fold=(pl.col("query_id") % 3).cast(pl.Int64))
    leaky.write_parquet(tmp_path / "leaky.parquet")
    with pytest.raises(DataError, match="their own user_id was trained on"):
        write_labels(turns, out, source="reward", predictions=tmp_path / "leaky.parquet")
    by_row = read_predictions(predicted).with_columns(protocol=pl.lit("row"))
    by_row.write_parquet(tmp_path / "row.parquet")
    with pytest.raises(DataError, match="no row of the protocol 'worker'"):
        write_labels(turns, out, source="reward", predictions=tmp_path / "row.parquet")
    assert not out.exists()


def test_predictions_and_inputs_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["label", str(tmp_path / "x.parquet"), "--source", "reward", "--inputs", "gaze"]
    assert cli.main([*command, "--predictions", "p.parquet"]) == 1
    assert "exclude each other" in capsys.readouterr().err
