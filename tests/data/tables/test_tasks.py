from __future__ import annotations

import html
import re
from datetime import UTC, datetime

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TABLE_COLUMNS, TASK_TABLE
from ifllm_hf.data.tables.tasks import EMAIL_MASK, TASK_SCHEMA, build_tasks
from ifllm_hf.errors import TableError

COLUMNS = TABLE_COLUMNS[TASK_TABLE]


def task_table(*rows: dict[str, str]) -> pl.DataFrame:
    """Make a raw table; cells that are not named are empty."""
    data = {c: [row.get(c, "") for row in rows] for c in COLUMNS}
    data["user_id"] = [row.get("user_id", "w") for row in rows]
    frame = pl.DataFrame(data, schema=dict.fromkeys(COLUMNS, pl.String))
    return frame.with_columns(line=pl.int_range(2, pl.len() + 2), line_ends=False)


def test_a_finished_task() -> None:
    done = {
        "task_id": "8",
        "copy_sentence": "Tom &amp; &quot;Jerry&quot;",
        "summary": "ask me@my-home.co.uk!",
        "feedback": "my name is Jane",
        "understand_before": "2.0",
        "understand_after": "5.0",
        "accuracy": "71.0",
        "finished": "2025-11-18 03:24:10",
        "domain": "Cats",
    }
    tasks, ledger = build_tasks(task_table(done))
    assert tasks.schema == TASK_SCHEMA
    assert tasks.row(0, named=True) == {
        "conversation_id": "w/8",
        "user_id": "w",
        "task_id": 8,
        "domain": "Cats",
        "finished": True,
        "finished_at": datetime(2025, 11, 18, 3, 24, 10, tzinfo=UTC),
        "understand_before": 2,
        "understand_after": 5,
        "calibration_score": 71.0,
        "copy_sentence": 'Tom & "Jerry"',
        "summary": f"ask {EMAIL_MASK}!",
        "query_copy": None,
        "llm_response_copy": None,
    }
    assert ledger.repaired == {"email_masked": 1}


def test_a_ticked_topic_is_an_unfinished_row_of_nulls() -> None:
    tasks, ledger = build_tasks(task_table({"task_id": "9"}))
    row = tasks.row(0, named=True)
    assert row.pop("finished") is False
    assert {c for c, v in row.items() if v is not None} == {"conversation_id", "user_id", "task_id"}
    assert (ledger.seen, ledger.kept, ledger.repaired) == (1, 1, {})


def test_entities_are_decoded_once() -> None:
    row = {"task_id": "1", "llm_response_copy": "&amp;quot; &lt;b&gt; &#039; &copy;"}
    tasks, ledger = build_tasks(task_table(row))
    assert tasks["llm_response_copy"].to_list() == ["&quot; <b> ' &copy;"]
    assert ledger.repaired == {"html_entities": 1}


def test_of_two_rows_the_fuller_then_the_earlier_one_is_kept() -> None:
    late = {"task_id": "3", "summary": "late", "finished": "2025-04-23 23:39:24"}
    early = {"task_id": "3", "summary": "early", "finished": "2025-04-23 19:39:24"}
    tasks, ledger = build_tasks(task_table({"task_id": "3"}, late, early, {"task_id": "4"}))
    assert tasks["summary"].to_list() == ["early", None]
    assert tasks["task_id"].to_list() == [3, 4]
    assert (ledger.seen, ledger.kept, ledger.dropped) == (4, 2, {"duplicate_task": 2})


def test_a_zero_date_still_says_finished() -> None:
    tasks, ledger = build_tasks(task_table({"task_id": "3", "finished": "0000-00-00 00:00:00"}))
    assert tasks.select("finished", "finished_at").rows() == [(True, None)]
    assert ledger.repaired == {"zero_date": 1}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"task_id": ""}, "line 2: 'task_id' is ''"),
        ({"task_id": "1", "user_id": ""}, "line 2: 'user_id' is ''"),
        ({"task_id": "1", "understand_after": "6"}, "'understand_after' is '6'.* from 1 to 5"),
        ({"task_id": "1", "accuracy": "good"}, "'accuracy' is 'good'"),
        ({"task_id": "1", "finished": "yes"}, "'finished' is 'yes'"),
    ],
)
def test_a_bad_cell_is_named(row: dict[str, str], says: str) -> None:
    with pytest.raises(TableError, match=f"^{TASK_TABLE}, .*{says}"):
        build_tasks(task_table(row))


address = st.from_regex(r"[a-z0-9.+_'-]{1,8}@[a-z0-9-]{1,8}(\.[a-z]{2,5}){1,2}", fullmatch=True)


@settings(deadline=None, max_examples=50)
@given(before=st.text(max_size=10), address=address, after=st.text(max_size=10))
def test_no_address_survives(before: str, address: str, after: str) -> None:
    text = before.replace("\x00", "") + address + after.replace("\x00", "")
    tasks, _ = build_tasks(task_table({"task_id": "1", "summary": text}))
    assert not re.search(r"[a-zA-Z0-9]@[a-zA-Z0-9-]+\.[a-zA-Z]{2}", tasks["summary"][0])
    assert EMAIL_MASK in tasks["summary"][0]


def test_release_task_table(release_cells: dict[str, pl.DataFrame]) -> None:
    tasks, ledger = build_tasks(release_cells[TASK_TABLE])
    assert tasks.schema == TASK_SCHEMA
    assert ledger == Ledger(
        "tasks",
        seen=1336,
        kept=1335,
        repaired={"email_masked": 2, "html_entities": 3},
        dropped={"duplicate_task": 1},
    )
    assert tasks["conversation_id"].is_unique().all()
    assert tasks["user_id"].n_unique() == 211
    assert tasks["task_id"].n_unique() == 274
    finished = tasks.filter("finished")
    assert (finished.height, finished["user_id"].n_unique()) == (562, 90)
    twice = tasks.filter(conversation_id="worker_6129fc84/23")
    assert twice["finished_at"].to_list() == [datetime(2025, 4, 23, 19, 39, 24, tzinfo=UTC)]
    scores = tasks["calibration_score"].drop_nulls()
    assert (scores.min(), scores.max(), tasks["domain"].n_unique() - 1) == (71, 95, 246)


def test_release_tasks_hold_no_feedback_and_no_address(
    release_cells: dict[str, pl.DataFrame],
) -> None:
    tasks, _ = build_tasks(release_cells[TASK_TABLE])
    published = "\n".join(
        text for c in tasks.select(cs.string()) for text in c.drop_nulls().to_list()
    )
    assert "@" in "".join(release_cells[TASK_TABLE]["llm_response_copy"].to_list())
    assert not re.search(r"\w@\w+\.\w", published)
    assert not re.search(r"&(quot|#039|amp|lt|gt);", published)
    comments = [f for f in release_cells[TASK_TABLE]["feedback"].to_list() if len(f) > 30]
    assert comments
    assert not [f for f in comments if f in published]


def test_release_copies_are_answers_of_their_conversation(
    release_cells: dict[str, pl.DataFrame],
) -> None:
    """What a reader copied was an answer: so entities are undone rightly, and nothing more."""
    tasks, _ = build_tasks(release_cells[TASK_TABLE])
    answers: dict[str, set[str]] = {}
    columns = ("user_id", "task_id", "llm_response_1", "llm_response_2")
    for user_id, task_id, *responses in release_cells[QUERY_LOGS].select(columns).iter_rows():
        texts = {"".join(text.split()) for text in responses}
        answers.setdefault(f"{user_id}/{task_id}", set()).update(texts)
    strays = [
        copy
        for conversation_id, copy in tasks.select(
            "conversation_id", "llm_response_copy"
        ).iter_rows()
        if copy and conversation_id in answers
        if "".join(copy.split()) not in answers[conversation_id]
    ]
    assert len(strays) == 2
    assert all(EMAIL_MASK in copy for copy in strays)
    assert html.unescape(strays[0]) == strays[0]
