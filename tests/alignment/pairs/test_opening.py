"""Where pairs are opened: files, folders with their splits, whatever they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.pairs.opening import open_dataset
from ifllm_hf.errors import ConfigError, SourceError
from ifllm_hf.files import write_parquet

SIDES = ("prompt", "chosen", "rejected")

ROWS = {
    "prompt": ["p", "q"],
    "chosen": ["a", "b"],
    "rejected": ["c", "d"],
    "confidence": [0.9, 0.5],
}


def dataset(**columns: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({**ROWS, **columns})


def opened(place: Path | str, split: str = "train", config: str | None = None) -> Any:
    return open_dataset(str(place), config, split).to_dict()


def write_lines(file: Path, *prompts: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": prompt, "chosen": "a", "rejected": "b"} for prompt in prompts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def with_configs(folder: Path) -> Path:
    """Write a folder like that of `ifllm prepare`: a card with two configs."""
    for name, columns in (("preferences", ROWS), ("pairwise", {"x": [1]})):
        (folder / name).mkdir(parents=True)
        pl.DataFrame(columns).write_parquet(folder / name / "train.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: pairwise\n  data_files: pairwise/*.parquet\n"
        "  default: true\n"
        "- config_name: preferences\n  data_files: preferences/*.parquet\n---\n"
    )
    return folder


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_file_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(path) if suffix == "parquet" else frame.write_ndjson(path)
    assert opened(path) == ROWS


@pytest.mark.parametrize("name", ["plain", "run[1]", "a*b", "q?"])
def test_a_path_is_a_path_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    """Neighbours that a glob would find too are left alone."""
    for place, prompt in ((name, "mine"), ("run1", "other"), ("axxb", "other"), ("qx", "other")):
        write_lines(tmp_path / place / "train.jsonl", prompt)
        write_lines(tmp_path / place / "test.jsonl", f"{prompt} too")
    folder = tmp_path / name
    assert opened(folder)["prompt"] == opened(folder / "train.jsonl")["prompt"] == ["mine"]
    assert opened(folder, "test")["prompt"] == ["mine too"]
    card = with_configs(tmp_path / "cards" / name)
    assert opened(card) == ROWS
    assert opened(card, config="pairwise") == {"x": [1]}
    with pytest.raises((ConfigError, SourceError), match="nothing"):
        opened(card, config="nothing")
    dataset().save_to_disk(str(tmp_path / "saved" / name))
    assert opened(tmp_path / "saved" / name) == ROWS


def test_a_folder_is_read_whichever_way_it_was_written(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    pl.DataFrame(ROWS).write_parquet(plain / "part-0.parquet")
    assert opened(plain) == opened(with_configs(tmp_path / "hub")) == ROWS


def test_splits_of_a_folder_are_kept_apart(tmp_path: Path) -> None:
    from datasets import DatasetDict

    write_lines(tmp_path / "plain" / "train.jsonl", "t1", "t2")
    write_lines(tmp_path / "plain" / "test.jsonl", "held out")
    both = {"train": dataset(), "test": dataset(prompt=["x", "y"])}
    DatasetDict(both).save_to_disk(str(tmp_path / "saved"))
    assert opened(tmp_path / "plain")["prompt"] == ["t1", "t2"]
    assert opened(tmp_path / "plain", "test")["prompt"] == ["held out"]
    assert opened(tmp_path / "saved")["prompt"] == ["p", "q"]
    assert opened(tmp_path / "saved", "test")["prompt"] == ["x", "y"]


def test_a_missing_split_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    from datasets import DatasetDict

    file = write_lines(tmp_path / "plain" / "test.jsonl", "x")
    dataset().save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"test": dataset()}).save_to_disk(str(tmp_path / "dict"))
    for place, split, there in (
        (file.parent, "train", "test"),
        (file, "test", "train"),
        (tmp_path / "saved", "test", "train"),
        (tmp_path / "dict", "train", "test"),
    ):
        with pytest.raises(ConfigError, match=f"no split '{split}'; it has {there}"):
            opened(place, split)


def test_files_that_a_folder_does_not_give_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pl.DataFrame(ROWS).write_parquet(
        write_lines(tmp_path / "kinds" / "b.jsonl", "x").parent / "a.parquet"
    )
    write_lines(tmp_path / "splits" / "train.jsonl", "t")
    write_lines(tmp_path / "splits" / "more[1].jsonl", "x")
    write_lines(tmp_path / "whole" / "a" / "1.jsonl", "x")
    write_lines(tmp_path / "whole" / ".cache" / "2.jsonl", "x")
    for folder, unread in (("kinds", "b.jsonl"), ("splits", "more[1].jsonl"), ("whole", None)):
        caplog.clear()
        opened(tmp_path / folder)
        said = [record.getMessage() for record in caplog.records if record.name.startswith("ifllm")]
        assert len(said) == (unread is not None) and all(str(unread) in line for line in said)


def test_a_card_that_cannot_be_read_or_has_a_choice_is_one_line(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "broken" / "a.jsonl", "x").parent
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    with pytest.raises(SourceError, match="broken"):
        opened(folder)
    folder = with_configs(tmp_path / "choice")
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(
        card.replace("  default: true\n", "").replace("name: preferences", "name: other")
    )
    with pytest.raises(ConfigError, match="pairwise, other; set dataset_config"):
        opened(folder)
    assert opened(folder, config="other") == ROWS


@pytest.mark.parametrize("content", ["", "\n", "[]"])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "empty.json").write_text(content)
    assert opened(tmp_path / "x" / "empty.json") == {}
    assert opened(tmp_path / "x") == {}


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pairs.txt").write_text("x")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    for name, expected in {
        "missing.parquet": "no such file",
        "./nowhere": "no such file",
        str(tmp_path / "empty"): "cannot be read.*.parquet",
        str(tmp_path / "pairs.txt"): "cannot read .txt",
        str(tmp_path / "broken.parquet"): "cannot be read",
    }.items():
        with pytest.raises(SourceError, match=expected):
            opened(name)


def test_a_folder_in_which_a_shard_is_missing_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        rows = pl.DataFrame({"prompt": [f"p{number}"], "chosen": ["a"], "rejected": ["b"]})
        write_parquet(tmp_path / f"train-{number:05d}-of-00003.parquet", rows)
    assert open_dataset(str(tmp_path), None, "train").num_rows == 3
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(SourceError, match="2 of 3 files train-NNNNN-of-00003"):
        open_dataset(str(tmp_path), None, "train")


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_shard_that_is_a_copy_of_another_is_refused_with_both_names(
    tmp_path: Path, ending: str
) -> None:
    shards = [tmp_path / f"train-0000{number}-of-00004.{ending}" for number in range(4)]
    for number, shard in enumerate(shards):
        n_rows = number % 3  # without rows: two are alike, and no copies
        rows = pl.DataFrame({side: [f"{side} {number}"] * n_rows for side in SIDES})
        rows = rows.cast(dict.fromkeys(SIDES, pl.String))
        write_parquet(shard, rows) if ending == "parquet" else rows.write_ndjson(shard)
    assert open_dataset(str(tmp_path), None, "train").num_rows == 3
    shards[1].write_bytes(shards[2].read_bytes())
    with pytest.raises(SourceError, match=f"{shards[2].name}: is a copy of {shards[1].name}"):
        open_dataset(str(tmp_path), None, "train")


def test_shards_of_different_tables_are_one_line(tmp_path: Path) -> None:
    columns = {f"column {i}": ["x"] for i in range(60)}
    pl.DataFrame({"prompt": ["a"], **columns}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(SourceError) as refused:
        open_dataset(str(tmp_path), None, "train")
    assert "cannot be read as a dataset" in str(refused.value)
    assert len(str(refused.value)) < 900 and "\n" not in str(refused.value)
