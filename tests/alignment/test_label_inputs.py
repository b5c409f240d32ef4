from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf import cli
from ifllm_hf.alignment.label_inputs import INPUTS, label_model
from ifllm_hf.alignment.labels import read_turns_with_features, write_labels
from ifllm_hf.errors import ConfigError


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


@pytest.mark.parametrize(
    ("inputs", "blind_to"),
    [("gaze", ("mouse_",)), ("mouse", ("gaze_",)), ("text", ("gaze_", "mouse_", "pooled_"))],
)
def test_a_labeller_sees_what_it_is_named_after(
    turns: pl.DataFrame, tmp_path: Path, inputs: str, blind_to: tuple[str, ...]
) -> None:
    plain = label(turns, tmp_path / "a.parquet", inputs)
    other = turns
    for channel in blind_to:
        other = spoilt(other, channel)
    assert label(other, tmp_path / "b.parquet", inputs)["p_b"].equals(plain["p_b"])
    if inputs != "text":
        seen = spoilt(turns, f"{inputs}_")
        assert not label(seen, tmp_path / "c.parquet", inputs)["p_b"].equals(plain["p_b"])
        # Not even the lengths of the answers.
        longer = turns.with_columns(response_a=pl.col("response_a") + " and so on" * 9)
        assert label(longer, tmp_path / "d.parquet", inputs)["p_b"].equals(plain["p_b"])


def test_every_combination_labels_and_is_named_in_the_file(
    turns: pl.DataFrame, tmp_path: Path
) -> None:
    names = {label(turns, tmp_path / "a.parquet", i)["label_model"][0] for i in INPUTS}
    assert len(names) == len(INPUTS)


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
    assert "has no meaning for --source explicit" in capsys.readouterr().err
