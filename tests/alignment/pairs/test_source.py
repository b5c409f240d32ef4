from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.pairs.source import open_pairs, open_prompts
from ifllm_hf.errors import ConfigError, DataError

ROWS = {
    "prompt": ["p", "q"],
    "chosen": ["a", "b"],
    "rejected": ["c", "d"],
    "confidence": [0.9, 0.5],
}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write columns into a file, and open it."""

    def call(table: dict[str, list[Any]], opener: Any = open_pairs, **options: Any) -> Any:
        file = tmp_path / "pairs.jsonl"
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return opener(str(file), name="pairs.jsonl", **options)

    return call


def test_rows_come_as_they_are_with_the_columns_that_are_asked_for(read: Any) -> None:
    columns = {**ROWS, "fold": [3, 4], "more": [1, 2]}
    first, _ = read(columns, columns=("fold", "not there"))
    assert first == {
        "prompt": "p",
        "chosen": "a",
        "rejected": "c",
        "confidence": 0.9,
        "fold": 3,
        "has_template": False,
    }


def test_confidence_is_one_without_the_column(read: Any) -> None:
    assert [row["confidence"] for row in read(ROWS)] == [0.9, 0.5]
    bare = {name: values for name, values in ROWS.items() if name != "confidence"}
    assert [row["confidence"] for row in read(bare)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"chosen": ["a", "d"]}, r"'chosen' equals 'rejected' in 1 of 2 rows.*row 1"),
        ({"rejected": ["c", " "]}, r"'rejected' is empty in 1 of 2 rows.*row 1"),
        ({"chosen": [None, "b"]}, r"'chosen' is empty in 1 of 2 rows.*row 0"),
        ({"prompt": ["", ""]}, r"'prompt' is empty in 2 of 2 rows"),
        ({"prompt": [None, " "]}, r"'prompt' is empty in 2 of 2 rows"),
        ({"confidence": [0.9, 1.4]}, r"\[0.5, 1\] in 1 of 2 rows; first at row 1.*\('1.4'\)"),
        ({"confidence": [0.2, 0.9]}, r"first at row 0.*\('0.2'\); it is the probability"),
        ({"confidence": [math.nan, 0.9]}, r"'confidence' is missing"),
        ({"confidence": [None, 0.9]}, r"'confidence' is missing"),
        ({"confidence": ["0.9", "0.8"]}, r"'confidence' is missing, no number"),
        ({"confidence": ["high", "low"]}, r"outside \[0.5, 1\] in 2 of 2 rows.*\('high'\)"),
        ({"prompt": [1, 2]}, r"'prompt' is neither a text nor messages in 2 of 2 rows.*\('1'\)"),
        ({"chosen": [["a"], ["b"]], "rejected": [["c"], ["d"]]}, "'chosen' has a turn without"),
        ({"chosen": [["a"], ["b"]]}, "of two kinds"),
        ({"chosen": ["p1", "q1"], "rejected": ["p2", "q2"]}, "the whole 'prompt' in 2 of 2"),
    ],
)
def test_pairs_that_no_loss_can_learn_from_are_refused(
    read: Any, columns: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(DataError, match=rf"^pairs.jsonl: .*{message}"):
        read({**ROWS, **columns})


def test_texts_that_are_not_utf8_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes('{"prompt": "p", "chosen": "café", "rejected": "b"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        open_pairs(str(file))


def test_an_answer_may_begin_with_its_question_in_some_rows(read: Any) -> None:
    assert len(read({**ROWS, "chosen": ["p1", "x"], "rejected": ["p2", "y"]})) == 2


def test_no_rows_and_missing_columns_are_refused(read: Any, tmp_path: Path) -> None:
    pl.DataFrame(schema=dict.fromkeys(ROWS, pl.String)).write_parquet(tmp_path / "empty.parquet")
    (tmp_path / "empty.jsonl").touch()
    for opener in (open_pairs, open_prompts):
        for suffix in ("parquet", "jsonl"):
            with pytest.raises(DataError, match="0 pairs"):
                opener(str(tmp_path / f"empty.{suffix}"))
    with pytest.raises(DataError, match="no column rejected; it has prompt, chosen"):
        read({"prompt": ["p"], "chosen": ["a"]})
    with pytest.raises(ConfigError, match="no column 'prompt'.*it has text"):
        read({"text": ["p"]}, open_prompts)


def test_questions_are_read_with_or_without_answers(read: Any) -> None:
    def prompts(**columns: list[Any]) -> list[Any]:
        return [row["prompt"] for row in read(columns, open_prompts)]

    question = [{"role": "user", "content": "Why?"}]
    whole = [*question, {"role": "assistant", "content": "So"}]
    other = [*question, {"role": "assistant", "content": "No"}]
    assert prompts(prompt=["Why?"]) == prompts(prompt=["Why?"], chosen=["a"]) == ["Why?"]
    assert prompts(prompt=["Why?"], chosen=["a"], rejected=["a"]) == ["Why?"]  # a tie, still asked
    assert prompts(prompt=["Why?"], chosen=[whole], rejected=[other]) == [question]
    assert prompts(chosen=[whole], rejected=[other]) == prompts(prompt=[question]) == [question]
    with pytest.raises(DataError, match="'prompt' ends with a turn of the assistant"):
        prompts(prompt=[whole])


def test_the_room_imports_nothing_heavy() -> None:
    files = (
        *("alignment.dpo.losses", "alignment.pairs.config", "alignment.pairs.source"),
        *("alignment.pairs.format", "alignment.policy.load", "alignment.policy.run_card"),
        *("training.checkpoints", "training.local_paths", "training.run_record"),
        *("training.tiny_models", "training.local_dataset"),
    )
    code = (
        "import importlib, sys, ifllm_hf.alignment\n"
        f"for name in {files}:\n"
        "    importlib.import_module(f'ifllm_hf.{name}')\n"
        "assert not {'torch', 'transformers', 'trl', 'datasets', 'peft'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
