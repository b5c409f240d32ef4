from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf import cli
from ifllm_hf.alignment.labels.signals import INPUTS, label_model
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.benchmark.protocol.rows import groups_of, labelled, visible
from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.baselines.protocol import config_hash


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
