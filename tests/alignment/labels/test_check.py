from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.labels import check
from ifllm_hf.alignment.labels.check import check_labels, recipe_files
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.alignment.pairs.format import format_row
from ifllm_hf.errors import ConfigError, DataError, SourceError
from tests.helpers.labelled_turns import GapModel, make_turns

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def turns() -> pl.DataFrame:
    made: pl.DataFrame = make_turns(workers=10, per_worker=10, nu=0.3, separation=1.5)[0]
    return made


@pytest.fixture(params=["explicit", "reward", "both", "all"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(turns: pl.DataFrame, out: Path, source: str) -> Any:
    return write_labels(turns, out, source=source, model=GapModel, nu=0.3, progress=False)


def reverse(path: Path, out: Path, rows: int | None = None) -> Path:
    """Exchange the answers, as a loader does that takes the label for the other side."""
    table = pl.read_parquet(path)
    n = table.height if rows is None else rows
    turned = table.head(n).rename({"chosen": "rejected", "rejected": "chosen"})
    pl.concat([turned.select(table.columns), table.tail(table.height - n)]).write_parquet(out)
    return out


def test_a_good_file_passes_and_is_shown(turns: pl.DataFrame, tmp_path: Path, source: str) -> None:
    report = write(turns, tmp_path / "x.parquet", source)
    found = check_labels(tmp_path / "x.parquet", turns)
    assert (found.pairs, found.source) == (report.pairs, {source: report.pairs})
    assert found.with_click == report.against_click["n"]
    assert found.agree == found.with_click - report.against_click["against"]
    if source == "explicit":
        assert found.agree == found.with_click
    else:
        assert found.agree < found.with_click
    models = {model for pair in found.shown for model in pair["models"]}
    assert models == {file.stem for file in recipe_files()}
    for model in models:
        assert sum(model in pair["models"] for pair in found.shown) == 3
    assert f"{found.agree} of {found.with_click} pairs" in found.text()


def test_jsonl_is_checked_too(turns: pl.DataFrame, tmp_path: Path, source: str) -> None:
    write(turns, tmp_path / "x.jsonl", source)
    assert check_labels(tmp_path / "x.jsonl", turns).pairs > 90


@pytest.mark.parametrize("rows", [None, 1])
def test_a_reversed_file_fails(
    turns: pl.DataFrame, tmp_path: Path, source: str, rows: int | None
) -> None:
    write(turns, tmp_path / "x.parquet", source)
    wrong = reverse(tmp_path / "x.parquet", tmp_path / "y.parquet", rows)
    with pytest.raises(DataError, match="chosen is the wrong answer") as caught:
        check_labels(wrong, turns)
    assert ("look exchanged" in str(caught.value)) == (rows is None)
    if rows:
        assert "in 1 of " in str(caught.value)
        assert "first at query 1000" in str(caught.value)
    assert ("the reader's click names" in str(caught.value)) == (source == "explicit")
    assert (", but p_b 0." in str(caught.value)) == (source != "explicit")


def test_a_format_shows_what_the_model_reads(turns: pl.DataFrame, tmp_path: Path) -> None:
    write(turns, tmp_path / "x.parquet", "explicit")
    yaml = tmp_path / "mine.yaml"
    yaml.write_text('prompt_template: "Q: {prompt}\\nA:"\nbeta: 0.1\neos_token: "<end>"\n')
    found = check_labels(tmp_path / "x.parquet", turns, [yaml], show=1)
    (pair,) = found.shown
    clicked = turns["preference"][0]
    good, bad = ("left 0", "right 0") if clicked == "a" else ("right 0", "left 0")
    assert pair == {
        "models": ["mine"],
        "query_id": 1000,
        "confidence": 1.0,
        "prompt": "Q: why 0?\nA:",
        "chosen": f" {good}<end>",
        "rejected": f" {bad}<end>",
    }


def test_pairs_from_least_to_most_certain(turns: pl.DataFrame, tmp_path: Path) -> None:
    write(turns, tmp_path / "x.parquet", "both")
    found = check_labels(tmp_path / "x.parquet", turns)
    confidence = pl.read_parquet(tmp_path / "x.parquet")["confidence"]
    (first,) = {tuple(pair["models"]) for pair in found.shown[:1]}
    shown = [pair["confidence"] for pair in found.shown if tuple(pair["models"]) == first]
    assert min(shown) == confidence.min()
    assert max(shown) == confidence.max()


def test_a_format_that_exchanges_the_answers_is_found_out(
    turns: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchanged(row: Any, look: Any, confidence: float) -> Any:
        seen = format_row(row, look, confidence)
        return {**seen, "chosen": seen["rejected"], "rejected": seen["chosen"]}

    write(turns, tmp_path / "x.parquet", "explicit")
    monkeypatch.setattr(check, "format_row", exchanged)
    with pytest.raises(DataError, match="another 'chosen' than response [ab] of query 1000"):
        check_labels(tmp_path / "x.parquet", turns)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("query_id", [1007]),
        ("query_id", "1007"),
        ("source", None),  # held to nothing, it passed
        ("source", "Explicit"),
        ("source", ["explicit"]),
        ("p_b", None),
        ("p_b", "high"),
        ("p_b", 7.0),
    ],
)
def test_a_row_that_says_no_right_side_is_named(
    turns: pl.DataFrame, tmp_path: Path, column: str, value: object
) -> None:
    write(turns, tmp_path / "x.jsonl", "explicit")
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    source = "reward" if column == "p_b" else "explicit"
    wrong = {**rows[0], "source": source, column: value}
    (tmp_path / "x.jsonl").write_text(json.dumps(wrong) + "\n")
    with pytest.raises(DataError, match=f"row 0, counted from 0: '{column}' is ") as caught:
        check_labels(tmp_path / "x.jsonl", turns)
    assert repr(value) in str(caught.value)


def test_a_prompt_that_a_format_cannot_show_is_named(turns: pl.DataFrame, tmp_path: Path) -> None:
    write(turns, tmp_path / "x.jsonl", "explicit")
    table = pl.read_ndjson(tmp_path / "x.jsonl")
    own = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("Hi\n### Response:"))
    table.with_columns(prompt=own.otherwise("prompt")).write_ndjson(tmp_path / "x.jsonl")
    (tmp_path / "chat.yaml").write_text("prompt_format: chat\n")
    with pytest.raises(DataError, match="row 7, counted from 0, as chat .*'prompt' carries"):
        check_labels(tmp_path / "x.jsonl", turns, [tmp_path / "chat.yaml"])


def test_answers_of_another_turn_fail(turns: pl.DataFrame, tmp_path: Path) -> None:
    write(turns, tmp_path / "x.parquet", "explicit")
    table = pl.read_parquet(tmp_path / "x.parquet")
    foreign = table.with_columns(query_id=pl.col("query_id") + 1)
    foreign.head(50).write_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match="query 1001"):
        check_labels(tmp_path / "y.parquet", turns)
    with pytest.raises(DataError, match="not among the turns"):
        check_labels(tmp_path / "x.parquet", turns.tail(50))


def test_files_that_cannot_be_checked(turns: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        check_labels(tmp_path / "none.parquet", turns)
    write(turns, tmp_path / "x.parquet", "explicit")
    bare = pl.read_parquet(tmp_path / "x.parquet").drop("query_id")
    bare.write_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match="no column query_id"):
        check_labels(tmp_path / "y.parquet", turns)
    (tmp_path / "bad.yaml").write_text("prompt_template: nothing\n")
    with pytest.raises(ConfigError, match="once"):
        check_labels(tmp_path / "x.parquet", turns, [tmp_path / "bad.yaml"])
    with pytest.raises(ConfigError, match="no templates"):
        check_labels(tmp_path / "x.parquet", turns, [])


@pytest.mark.parametrize("content", ["", "\n"])
def test_a_file_without_a_pair_is_refused(
    turns: pl.DataFrame, tmp_path: Path, content: str
) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(DataError, match="^x.jsonl: 0 pairs"):
        check_labels(tmp_path / "x.jsonl", turns)


@pytest.mark.parametrize("name", ["run[1]", "a*b"])
def test_labels_are_found_wherever_they_lie(turns: pl.DataFrame, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    write(turns, tmp_path / "x.parquet", "explicit")
    (tmp_path / "x.parquet").rename(tmp_path / name / "x.parquet")
    assert check_labels(tmp_path / name / "x.parquet", turns).pairs > 90


def test_answers_may_be_messages(turns: pl.DataFrame, tmp_path: Path) -> None:
    write(turns, tmp_path / "x.parquet", "explicit")

    def chat(name: str, role: str) -> pl.Expr:
        message = pl.struct(role=pl.lit(role), content=name)
        return pl.concat_list(message).alias(name)

    table = pl.read_parquet(tmp_path / "x.parquet").with_columns(
        chat("prompt", "user"), chat("chosen", "assistant"), chat("rejected", "assistant")
    )
    table.write_parquet(tmp_path / "y.parquet")
    found = check_labels(tmp_path / "y.parquet", turns)
    assert found.agree == found.with_click == table.height


def test_every_model_has_a_recipe() -> None:
    names = {file.stem for file in recipe_files()}
    assert len(names) == 8
    assert "smoke" not in names
