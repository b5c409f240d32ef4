from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TABLE_COLUMNS, TASK_TABLE
from ifllm_hf.data.tables.tasks import TASK_SCHEMA, build_tasks
from ifllm_hf.data.tables.turns import EXCLUDED_BY_PAPER, TURN_SCHEMA, build_turns
from ifllm_hf.errors import TableError

COLUMNS = TABLE_COLUMNS[QUERY_LOGS]
NO_TASKS = pl.DataFrame(schema=TASK_SCHEMA)
QUESTION = {
    "user_id": "w",
    "task_id": "3",
    "user_query": "why?",
    "llm_response_1": "left",
    "llm_response_2": "right",
    "llm_name_1": "m1",
    "llm_name_2": "m2",
    "adjustment": "0",
    "query_timestamp": "2025-11-18 03:24:10",
}
ONE_SIDED = {"task_id": "4", "llm_response_2": "", "llm_name_2": ""}


def query_logs(*rows: dict[str, str]) -> pl.DataFrame:
    """Make a raw table of questions like QUESTION, numbered from 1 unless they have a number."""
    numbered = [QUESTION | {"query_ID": str(i + 1)} | row for i, row in enumerate(rows)]
    data = {c: [row.get(c, "") for row in numbered] for c in COLUMNS}
    frame = pl.DataFrame(data, schema=dict.fromkeys(COLUMNS, pl.String))
    return frame.with_columns(line=pl.int_range(2, pl.len() + 2), line_ends=False)


def turns_of(*rows: dict[str, str]) -> pl.DataFrame:
    return build_turns(query_logs(*rows), NO_TASKS)[0]


def at(time: str) -> dict[str, str]:
    return {"query_timestamp": f"2025-11-18 {time}"}


@pytest.fixture(scope="module")
def built(release_cells: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, Ledger]:
    return build_turns(release_cells[QUERY_LOGS], build_tasks(release_cells[TASK_TABLE])[0])


@pytest.fixture(scope="module")
def turns(built: tuple[pl.DataFrame, Ledger]) -> pl.DataFrame:
    return built[0]


def counts(column: pl.Series) -> dict[Any, int]:
    return dict(Counter(column.to_list()))


def test_a_pairwise_turn() -> None:
    row = {"likert_1": "4.0", "likert_2": "5.0", "preference": "2.0", "adjustment": "1"}
    turns = turns_of(row)
    assert turns.schema == TURN_SCHEMA
    assert turns.row(0, named=True) == {
        "query_id": 1,
        "conversation_id": "w/3",
        "user_id": "w",
        "task_id": 3,
        "turn": 1,
        "kind": "pairwise",
        "domain": None,
        "prompt": "why?",
        "response_a": "left",
        "response_b": "right",
        "model_a": "m1",
        "model_b": "m2",
        "bullet_suffix": True,
        "history_a": [],
        "history_b": [],
        "likert_a": 4,
        "likert_b": 5,
        "preference": "b",
        "better_than_previous": None,
        "asked_at": datetime(2025, 11, 18, 3, 24, 10, tzinfo=UTC),
        "understand_before": None,
        "understand_after": None,
        "calibration_score": None,
        "has_error_answer": False,
        "excluded_by_paper": False,
        "fold": 0,
    }


def test_one_answer_makes_a_pointwise_turn_whatever_the_task_number() -> None:
    turns = turns_of(
        ONE_SIDED | {"task_id": "3"} | at("01:00:00"),
        ONE_SIDED | {"task_id": "3", "preference": "1.0"} | at("02:00:00"),
        ONE_SIDED | {"task_id": "3", "preference": "0.0"} | at("03:00:00"),
    )
    assert set(turns["kind"]) == {"pointwise"}
    assert turns["better_than_previous"].to_list() == [None, True, False]
    for column in ("preference", "response_b", "model_b", "history_b", "likert_b"):
        assert turns[column].null_count() == 3
    assert turns["history_a"].list.len().to_list() == [0, 2, 4]


def test_a_second_name_alone_makes_a_pair() -> None:
    turns = turns_of({"llm_response_2": ""})
    assert turns.select("kind", "response_b").rows() == [("pairwise", "")]


def test_each_side_has_its_own_past() -> None:
    turns = turns_of(
        {"user_query": "q1", "llm_response_1": "a1", "llm_response_2": "b1"} | at("01:00:00"),
        {"user_query": "other", "task_id": "5"} | at("01:30:00"),
        {"user_query": "q2", "llm_response_1": "a2", "llm_response_2": "b2"} | at("02:00:00"),
        {"user_query": "q3"} | at("03:00:00"),
    )
    assert turns["prompt"].to_list() == ["q1", "q2", "q3", "other"]
    assert turns["history_b"][2].to_list() == [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "b1"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "b2"},
    ]
    assert [m["content"] for m in turns["history_a"][1]] == ["q1", "a1"]
    assert turns["history_a"][3].to_list() == []


def test_turns_stand_in_the_order_of_time() -> None:
    turns = turns_of(at("03:00:00"), at("01:00:00"), at("02:00:00"))
    assert turns.select("turn", "query_id").rows() == [(1, 2), (2, 3), (3, 1)]


@pytest.mark.parametrize(
    ("query_ids", "order"), [((5, 7, 6), [5, 6, 7]), ((6, 7, 5), [5, 6, 7]), ((5, 6, 7), [5, 6, 7])]
)
def test_a_question_without_a_time_is_placed_by_its_number(
    query_ids: tuple[int, int, int], order: list[int]
) -> None:
    first, second, unknown = map(str, query_ids)
    turns, ledger = build_turns(
        query_logs(
            {"query_ID": first} | at("01:00:00"),
            {"query_ID": second} | at("02:00:00"),
            {"query_ID": unknown, "query_timestamp": "0000-00-00 00:00:00"},
        ),
        NO_TASKS,
    )
    assert turns["query_id"].to_list() == order
    assert turns.filter(query_id=int(unknown))["asked_at"].to_list() == [None]
    assert ledger.repaired == {"zero_date": 1}


def test_texts_stay_as_stored() -> None:
    text = " x\r\n\ty \u00a0😀\n\n "
    turns = turns_of({"user_query": text, "llm_response_1": text, "llm_response_2": text})
    assert turns.select("prompt", "response_a", "response_b").row(0) == (text, text, text)


def test_a_line_break_leaves_the_name_of_a_model() -> None:
    turns, ledger = build_turns(query_logs({"llm_name_2": "deepseek-ai/\r\nV3"}), NO_TASKS)
    assert turns["model_b"].to_list() == ["deepseek-ai/V3"]
    assert ledger.repaired == {"line_break_in_model_name": 1}


def test_an_error_on_either_side_is_flagged() -> None:
    error = "AI Error. Please report"
    turns = turns_of({"llm_response_1": error}, {"llm_response_2": error}, {"user_query": error})
    assert turns["has_error_answer"].to_list() == [True, True, False]


@pytest.mark.parametrize(("finished", "hours"), [("04:30:00", 0), ("03:59:59", 1), ("00:01:00", 4)])
def test_a_clock_whole_hours_ahead_of_the_end_is_set_back(finished: str, hours: int) -> None:
    tasks = pl.DataFrame(
        {
            "conversation_id": ["w/3"],
            "finished_at": [datetime.fromisoformat(f"2025-11-18 {finished}+00:00")],
        },
        schema_overrides={"finished_at": pl.Datetime("us", "UTC")},
    )
    tasks = pl.concat([NO_TASKS, tasks], how="diagonal")
    logs = query_logs(at("03:30:00"), at("04:00:00"), at("04:00:00") | {"user_id": "v"})
    turns, ledger = build_turns(logs, tasks)
    last = datetime(2025, 11, 18, 4, tzinfo=UTC)
    back = timedelta(hours=hours)
    assert turns["asked_at"].to_list() == [last - timedelta(minutes=30) - back, last - back, last]
    assert ledger.repaired == ({"clock_ahead": 2} if hours else {})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"query_ID": "x"}, "line 2: 'query_ID' is 'x'"),
        ({"user_id": ""}, "line 2: 'user_id' is ''"),
        ({"likert_1": "0"}, "line 2: 'likert_1' is '0'.* 1 to 5"),
        ({"preference": "0"}, r"line 2: 'preference' is 0, expected 1 \(left\) or 2 \(right\)"),
        (ONE_SIDED | {"preference": "2"}, "line 2: 'preference' is 2, expected 1 or 0"),
        ({"preference": "3"}, "line 2: 'preference' is '3'.* 0 to 2"),
        ({"adjustment": ""}, "line 2: 'adjustment' is ''"),
        ({"query_timestamp": "today"}, "line 2: 'query_timestamp' is 'today'"),
        ({"query_ID": "2"}, "line 3: query_ID 2 .*line 2"),
    ],
)
def test_a_bad_cell_is_named(row: dict[str, str], says: str) -> None:
    with pytest.raises(TableError, match=f"^{QUERY_LOGS}, {says}"):
        build_turns(query_logs(row, {}), NO_TASKS)


def test_no_questions() -> None:
    turns, ledger = build_turns(query_logs(), NO_TASKS)
    assert turns.schema == TURN_SCHEMA
    assert (turns.height, ledger.seen) == (0, 0)


def test_release_counts(built: tuple[pl.DataFrame, Ledger]) -> None:
    turns, ledger = built
    assert turns.schema == TURN_SCHEMA
    assert ledger == Ledger(
        "turns",
        seen=1691,
        kept=1691,
        repaired={"zero_date": 1, "line_break_in_model_name": 1, "clock_ahead": 145},
    )
    sizes = turns.select(pl.col("query_id", "user_id", "conversation_id", "task_id").n_unique())
    assert sizes.row(0) == (1691, 87, 512, 205)
    assert counts(turns["kind"]) == {"pairwise": 821, "pointwise": 870}
    conversations = turns.group_by("kind").agg(pl.col("conversation_id").n_unique())
    assert dict(conversations.iter_rows()) == {"pairwise": 255, "pointwise": 257}
    lengths = turns.group_by("conversation_id").len()["len"]
    assert counts(lengths) == {1: 3, 3: 412, 4: 53, 5: 27, 6: 14, 7: 3}
    odd = turns.filter(pl.col("task_id") % 2 == 1, kind="pointwise")
    assert (odd.height, set(odd["conversation_id"])) == (
        6,
        {"worker_b734ff9a/207", "worker_5b0f819d/209"},
    )
    assert turns["bullet_suffix"].sum() == 799
    assert turns["has_error_answer"].sum() == 14
    assert turns["asked_at"].null_count() == 1


def test_release_labels(turns: pl.DataFrame) -> None:
    pairs = turns.filter(kind="pairwise")
    single = turns.filter(kind="pointwise")
    assert counts(pairs["preference"]) == {"a": 400, "b": 387, None: 34}
    assert counts(single["better_than_previous"]) == {True: 451, False: 148, None: 271}
    assert counts(pairs["likert_a"]) == {1: 6, 2: 32, 3: 90, 4: 375, 5: 284, None: 34}
    assert counts(pairs["likert_b"]) == {1: 12, 2: 29, 3: 102, 4: 372, 5: 272, None: 34}
    assert counts(single["likert_a"]) == {1: 16, 2: 14, 3: 42, 4: 401, 5: 385, None: 12}
    assert single["preference"].null_count() == single["likert_b"].null_count() == 870
    assert pairs["better_than_previous"].null_count() == 821
    assert single.filter(turn=1)["better_than_previous"].null_count() == 257


def test_release_after_the_papers_exclusion(turns: pl.DataFrame) -> None:
    kept = turns.filter(~pl.col("excluded_by_paper"))
    sizes = kept.select(pl.col("query_id", "user_id", "conversation_id").n_unique()).row(0)
    assert sizes == (1536, 64, 465)
    assert len(EXCLUDED_BY_PAPER) == 24
    assert counts(kept.filter(kind="pairwise")["preference"]) == {"a": 365, "b": 329, None: 27}


def test_release_models(turns: pl.DataFrame) -> None:
    uses = counts(pl.concat([turns["model_a"], turns["model_b"].drop_nulls()]))
    assert uses == {
        "deepseek-ai/DeepSeek-V3": 693,
        "gpt-4o-mini": 647,
        "meta-llama/Llama-3.3-70B-Instruct-Turbo": 557,
        "claude-sonnet-4-5-20250929": 409,
        "claude-3-5-sonnet-20240620": 206,
    }
    assert turns.filter(pl.col("model_a") == pl.col("model_b")).height == 0


def test_release_texts_are_the_stored_ones(
    release_cells: dict[str, pl.DataFrame], turns: pl.DataFrame
) -> None:
    logs = release_cells[QUERY_LOGS].select(
        pl.col("query_ID").cast(pl.Int64).alias("query_id"),
        "user_query",
        "llm_response_1",
        "llm_response_2",
    )
    both = turns.join(logs, on="query_id", how="full", validate="1:1")
    assert (both["prompt"] == both["user_query"]).all()
    assert (both["response_a"] == both["llm_response_1"]).all()
    assert (both["response_b"].fill_null("") == both["llm_response_2"]).all()
    assert turns["response_a"].str.contains("\r\n").sum() == 18
    assert turns["response_b"].str.contains("\r\n").sum() == 10


def test_release_order_and_histories(turns: pl.DataFrame) -> None:
    assert turns.filter(turn=1)["query_id"].is_sorted()
    past: dict[str, dict[str, list[dict[str, str]]]] = {}
    previous = ""
    for row in turns.iter_rows(named=True):
        name = row["conversation_id"]
        assert name == previous or name not in past, "a conversation is not in one piece"
        previous = name
        sides = past.setdefault(name, {"a": [], "b": []})
        assert row["history_a"] == sides["a"]
        assert row["history_b"] == (sides["b"] if row["kind"] == "pairwise" else None)
        assert 2 * (row["turn"] - 1) == len(sides["a"])
        for side in ("a", "b"):
            if row[f"response_{side}"] is not None:
                sides[side] += [
                    {"role": "user", "content": row["prompt"]},
                    {"role": "assistant", "content": row[f"response_{side}"]},
                ]
    unknown = turns.filter(pl.col("asked_at").is_null())
    assert unknown.select("query_id", "conversation_id", "turn").rows() == [
        (443, "worker_998a6ee4/88", 1)
    ]
    steps = turns.select(pl.col("asked_at").diff().over("conversation_id")).to_series()
    assert (steps.drop_nulls() >= timedelta(0)).all()


def test_release_times_fit_the_end_of_their_tasks(
    release_cells: dict[str, pl.DataFrame], turns: pl.DataFrame
) -> None:
    tasks, _ = build_tasks(release_cells[TASK_TABLE])
    last = turns.group_by("conversation_id").agg(pl.col("asked_at").max())
    ends = last.join(tasks, on="conversation_id").filter(pl.col("finished"))
    minutes = (ends["finished_at"] - ends["asked_at"]).dt.total_seconds() / 60
    assert ends.height == 505
    assert 0 <= minutes.min() <= minutes.max() < 12  # type: ignore[operator]
    stored = release_cells[QUERY_LOGS].select(
        pl.col("query_ID").cast(pl.Int64).alias("query_id"),
        pl.col("query_timestamp").str.to_datetime(strict=False).dt.replace_time_zone("UTC"),
    )
    moved = turns.join(stored, on="query_id").filter(
        pl.col("asked_at") != pl.col("query_timestamp")
    )
    assert moved["conversation_id"].n_unique() == 46
    assert set(moved["query_timestamp"] - moved["asked_at"]) == {timedelta(hours=4)}
    assert moved["query_timestamp"].max() < datetime(2025, 9, 16, tzinfo=UTC)


def test_release_joins_the_task(
    release_cells: dict[str, pl.DataFrame], turns: pl.DataFrame
) -> None:
    assert turns["calibration_score"].null_count() == 0
    # Seven tasks were left before the end, and the first tasks had no title.
    assert turns["understand_before"].null_count() == turns["understand_after"].null_count() == 17
    assert turns["domain"].null_count() == 23


def test_release_folds_are_whole_workers_and_balanced(turns: pl.DataFrame) -> None:
    per_worker = turns.group_by("user_id").agg(pl.col("fold").n_unique())
    assert set(per_worker["fold"]) == {1}
    labelled = turns.filter(pl.col("preference").is_not_null())
    pairs = labelled.group_by("fold").len().sort("fold")["len"].to_list()
    assert pairs == [157, 158, 158, 156, 158]
