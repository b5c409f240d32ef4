from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.pairs.source import check_pairs, open_pairs
from ifllm_hf.errors import ConfigError, DataError, SourceError

ROWS = {
    "prompt": ["p", "q"],
    "chosen": ["a", "b"],
    "rejected": ["c", "d"],
    "confidence": [0.9, 0.5],
}


def dataset(**columns: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({**ROWS, **columns})


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_file_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(path) if suffix == "parquet" else frame.write_ndjson(path)
    assert open_pairs(str(path)).to_dict() == ROWS


def test_a_folder_is_read_whichever_way_it_was_written(tmp_path: Path) -> None:
    plain, saved, hub = tmp_path / "plain", tmp_path / "saved", tmp_path / "hub"
    for folder in (plain, hub / "preferences", hub / "pairwise"):
        folder.mkdir(parents=True)
    pl.DataFrame(ROWS).write_parquet(plain / "part-0.parquet")
    dataset().save_to_disk(str(saved))
    pl.DataFrame(ROWS).write_parquet(hub / "preferences" / "train.parquet")
    pl.DataFrame({"x": [1]}).write_parquet(hub / "pairwise" / "train.parquet")
    (hub / "README.md").write_text(
        "---\nconfigs:\n- config_name: pairwise\n  data_files: pairwise/*.parquet\n"
        "  default: true\n"
        "- config_name: preferences\n  data_files: preferences/*.parquet\n---\n"
    )
    for folder in (plain, saved, hub):
        assert open_pairs(str(folder)).to_dict() == ROWS, folder


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_implicit_prompt_is_taken_out_of_the_answers(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pl.DataFrame({"chosen": ["Q: why? A: so"], "rejected": ["Q: why? A: no"]}).write_ndjson(path)
    (row,) = open_pairs(str(path))
    assert (row["prompt"] + row["chosen"], row["rejected"].strip()) == ("Q: why? A: so", "no")


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pairs.txt").write_text("x")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    for name, expected in {
        "missing.parquet": "no such file",
        "./nowhere": "no such file",
        str(tmp_path / "empty"): "no .parquet",
        str(tmp_path / "pairs.txt"): "cannot read .txt",
        str(tmp_path / "broken.parquet"): "cannot be read",
    }.items():
        with pytest.raises(SourceError, match=expected):
            open_pairs(name)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: '*.parquet'\n---\n"
    )
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"no split 'test'; it has train"):
        open_pairs(str(tmp_path), split="test")


def test_confidence_is_returned_and_is_one_without_the_column() -> None:
    assert check_pairs(dataset(), "pairs") == [0.9, 0.5]
    assert check_pairs(dataset().remove_columns("confidence"), "pairs") == [1.0, 1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"chosen": ["a", "d"]},
            r"'chosen' equals 'rejected' in 1 of 2 rows.*row 1",
        ),
        ({"rejected": ["c", " "]}, r"'rejected' is empty in 1 of 2 rows.*row 1"),
        ({"chosen": [None, "b"]}, r"'chosen' is empty in 1 of 2 rows.*row 0"),
        ({"prompt": ["", ""]}, r"'prompt' is empty in 2 of 2 rows"),
        (
            {"confidence": [0.9, 1.4]},
            r"outside \[0.5, 1\] in 1 of 2 rows; first at row 1.*\('1.4'\)",
        ),
        ({"confidence": [0.2, 0.9]}, r"first at row 0.*\('0.2'\); it is the probability"),
        ({"confidence": [math.nan, 0.9]}, r"'confidence' is missing or outside"),
        ({"confidence": [None, 0.9]}, r"'confidence' is missing or outside"),
        ({"confidence": ["high", "low"]}, r"outside \[0.5, 1\] in 2 of 2 rows.*\('high'\)"),
        ({"prompt": [1, 2]}, r"'prompt' is neither a text nor messages in 2 of 2 rows.*\('1'\)"),
        ({"chosen": [["a"], ["b"]]}, r"'chosen' is neither a text nor"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_pairs(dataset(**columns), "pairs")


def test_empty_and_one_sided_datasets_are_refused(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).head(0).write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="0 pairs; expected at least one"):
        check_pairs(open_pairs(str(tmp_path / "empty.parquet")), "empty.parquet")
    with pytest.raises(DataError, match="0 pairs"):
        check_pairs(dataset().select([]), "pairs")
    with pytest.raises(DataError, match="rejected; .*prompt, chosen, confidence"):
        check_pairs(dataset().remove_columns("rejected"), "pairs")


def test_the_room_imports_nothing_heavy() -> None:
    files = (
        *("alignment.dpo.losses", "alignment.pairs.config", "alignment.pairs.source"),
        *("alignment.pairs.format", "alignment.policy.load", "alignment.policy.run_card"),
        *("training.checkpoints", "training.local_paths", "training.run_record"),
        "training.tiny_models",
    )
    code = (
        "import importlib, sys, ifllm_hf.alignment\n"
        f"for name in {files}:\n"
        "    importlib.import_module(f'ifllm_hf.{name}')\n"
        "assert not {'torch', 'transformers', 'trl', 'datasets', 'peft'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
