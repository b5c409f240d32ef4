from __future__ import annotations

import csv
import io

import polars as pl
import pytest

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TASK_TABLE
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.data.tables.tasks import build_tasks
from ifllm_hf.data.tables.turns import TURN_SCHEMA, build_turns

PAIR = {
    "query_id": 1,
    "conversation_id": "w/3",
    "user_id": "w",
    "task_id": 3,
    "turn": 2,
    "kind": "pairwise",
    "prompt": "why?",
    "response_a": "left",
    "response_b": "right",
    "bullet_suffix": True,
    "history_a": [{"role": "user", "content": "past of a"}],
    "history_b": [{"role": "user", "content": "past of b"}],
    "preference": "a",
    "has_error_answer": False,
    "fold": 2,
}


def preferences_of(*changes: dict[str, object]) -> tuple[pl.DataFrame, Ledger]:
    return build_preferences(pl.DataFrame([PAIR | c for c in changes], schema=TURN_SCHEMA))


@pytest.fixture(scope="module")
def turns(release_cells: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return build_turns(release_cells[QUERY_LOGS], build_tasks(release_cells[TASK_TABLE])[0])[0]


def test_the_liked_answer_is_chosen() -> None:
    pairs, ledger = preferences_of({"preference": "a"}, {"preference": "b", "query_id": 2})
    assert pairs.select("chosen", "rejected").rows() == [("left", "right"), ("right", "left")]
    past = [[m["content"] for m in h] for h in pairs["history_chosen"]]
    assert past == [["past of a"], ["past of b"]]
    assert pairs["history_rejected"].to_list() == pairs["history_chosen"].to_list()[::-1]
    assert (ledger.seen, ledger.kept) == (2, 2)


def test_columns_and_types() -> None:
    pairs, _ = preferences_of({})
    messages = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    assert pairs.schema == {
        "prompt": pl.String,
        "chosen": pl.String,
        "rejected": pl.String,
        "confidence": pl.Float32,
        "source": pl.String,
        "query_id": pl.Int64,
        "conversation_id": pl.String,
        "user_id": pl.String,
        "task_id": pl.Int64,
        "turn": pl.Int16,
        "fold": pl.Int8,
        "bullet_suffix": pl.Boolean,
        "history_chosen": messages,
        "history_rejected": messages,
    }
    assert pairs.select("prompt", "confidence", "source", "turn", "fold", "bullet_suffix").row(
        0
    ) == (
        "why?",
        1.0,
        "explicit",
        2,
        2,
        True,
    )


def test_what_says_nothing_is_counted_and_left_out() -> None:
    pairs, ledger = preferences_of(
        {},
        {"preference": "tie"},
        {"preference": None},
        {"has_error_answer": True},
        {"kind": "pointwise", "preference": None, "response_b": None, "history_b": None},
        {"response_a": ""},
        {"response_b": "left"},
    )
    assert pairs.height == 1
    assert ledger == Ledger(
        "preferences",
        seen=7,
        kept=1,
        dropped={
            "tie": 1,
            "no_preference": 1,
            "error_answer": 1,
            "pointwise": 1,
            "empty_answer": 1,
            "identical_answers": 1,
        },
    )


def test_no_turns() -> None:
    pairs, ledger = build_preferences(pl.DataFrame(schema=TURN_SCHEMA))
    assert (pairs.height, ledger.seen) == (0, 0)


def test_release_chosen_is_what_the_stored_label_says(
    release_bytes: dict[str, bytes], turns: pl.DataFrame
) -> None:
    """Straight from the file: 1 is the left answer, 2 the right one."""
    text = io.StringIO(release_bytes[QUERY_LOGS].decode(), newline="")
    stored = {int(row["query_ID"]): row for row in csv.DictReader(text, strict=True)}
    pairs, _ = build_preferences(turns)
    for query_id, chosen, rejected in pairs.select("query_id", "chosen", "rejected").iter_rows():
        row = stored[query_id]
        liked, other = {"1.0": ("1", "2"), "2.0": ("2", "1")}[row["preference"]]
        assert chosen == row[f"llm_response_{liked}"]
        assert rejected == row[f"llm_response_{other}"]


def test_release_chosen_is_rated_higher(turns: pl.DataFrame) -> None:
    pairs, ledger = build_preferences(turns)
    assert ledger == Ledger(
        "preferences",
        seen=1691,
        kept=780,
        dropped={"pointwise": 870, "no_preference": 34, "error_answer": 7},
    )
    rated = pairs.join(turns, on="query_id").with_columns(
        pl.when(pl.col("chosen") == pl.col("response_a"))
        .then("likert_a")
        .otherwise("likert_b")
        .alias("up"),
        pl.when(pl.col("chosen") == pl.col("response_a"))
        .then("likert_b")
        .otherwise("likert_a")
        .alias("down"),
    )
    assert rated["up"].mean() > rated["down"].mean() + 0.7  # type: ignore[operator]
    assert (rated["up"] > rated["down"]).sum() > 15 * (rated["up"] < rated["down"]).sum()


def test_release_pairs_are_accepted_as_a_dataset(turns: pl.DataFrame) -> None:
    pairs, _ = build_preferences(turns)
    assert pairs.null_count().sum_horizontal()[0] == 0
    assert (pairs["history_chosen"].list.len() == 2 * (pairs["turn"] - 1)).all()
    assert not pairs["chosen"].str.starts_with("AI Error").any()
    assert not pairs["rejected"].str.starts_with("AI Error").any()
