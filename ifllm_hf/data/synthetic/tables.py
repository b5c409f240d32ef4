"""The three tables of a made-up release, written as the real ones are."""

from __future__ import annotations

import csv
import datetime as dt
import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ifllm_hf.data.raw.csv_tables import (
    QUERY_LOGS,
    RECORD_INFO,
    TABLE_COLUMNS,
    TASK_TABLE,
    ZERO_DATE,
)
from ifllm_hf.data.synthetic import story, texts
from ifllm_hf.data.synthetic.story import Conversation, StoryTurn, User
from ifllm_hf.data.synthetic.truth import Defect


@contextmanager
def csv_table(folder: Path, name: str) -> Iterator[Any]:
    """Write one of `TABLE_COLUMNS` into a folder: yield a `csv` writer that wrote its header."""
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TABLE_COLUMNS[name])
        yield writer


def stamp(moment: dt.datetime) -> str:
    """Write a time as the tables do: whole seconds, UTC."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def query_rows(
    rng: np.random.Generator,
    conversation: Conversation,
    turns: Sequence[StoryTurn],
    arrived_epoch_ms: Sequence[int],
) -> tuple[list[list[Any]], list[Defect]]:
    """Return the rows of the query log of one conversation, and the defects in them."""
    pair = rng.choice(len(texts.LLM_NAMES), 2, replace=False).tolist()
    key = conversation.conversation_id
    rows: list[list[Any]] = []
    defects: list[Defect] = []

    def note(kind: str, column: str, query_id: int) -> None:
        defects.append(Defect(kind, key, f"{QUERY_LOGS}:{column}", 1, query_id))

    carried = conversation.defects
    for k, (turn, query_id) in enumerate(zip(turns, conversation.query_ids, strict=True)):
        # Stamped by the server a moment after the answers appeared.
        seen = arrived_epoch_ms[k] + float(rng.uniform(-200, 700))
        when = stamp(dt.datetime.fromtimestamp(seen / 1000, dt.UTC))
        names = [texts.LLM_NAMES[i] for i in pair[: conversation.sides]]
        if k == 1 and story.ZERO_DATE in carried:
            when = ZERO_DATE
            note(story.ZERO_DATE, "query_timestamp", query_id)
        if k == 1 and story.CRLF_NAME in carried:
            names[1] = "made-up/\r\nBasalt-V3"
            note(story.CRLF_NAME, "llm_name_2", query_id)
        if k == 0 and story.CRLF_ANSWER in carried:
            note(story.CRLF_ANSWER, "llm_response_1", query_id)
        if k == 1 and story.BLANK_LINES in carried:
            note(story.BLANK_LINES, "llm_response_1", query_id)
        if k == 1 and story.ERROR_ANSWER in carried:
            note(story.ERROR_ANSWER, f"llm_response_{conversation.sides}", query_id)
        if story.UNLABELLED in carried and not turn.likert:
            note(story.UNLABELLED, "preference", query_id)
        likert = [f"{v}.0" for v in turn.likert] + ["", ""]
        if turn.click is None:
            preference = ""
        elif conversation.sides == 2:
            preference = "1.0" if turn.click == "a" else "2.0"
        else:
            preference = "1.0" if turn.click == "a" else "0.0"
        rows.append(
            [
                query_id,
                conversation.user.user_id,
                conversation.task_id,
                turn.prompt,
                *(turn.answers + [""])[:2],
                *(names + [""])[:2],
                likert[0],
                likert[1] if conversation.sides == 2 else "",
                preference,
                int(turn.bullets),
                when,
            ]
        )
    return rows, defects


def task_rows(
    rng: np.random.Generator,
    conversation: Conversation,
    topic: str,
    turns: Sequence[StoryTurn],
    finished: dt.datetime,
    *,
    with_defects: bool,
) -> tuple[list[list[Any]], list[Defect]]:
    """Return the row of a finished task; with defects also topics ticked and never done."""
    user = conversation.user.user_id
    chosen = turns[int(rng.integers(len(turns)))]
    answer = chosen.answers[0]
    sentence = (answer.splitlines() or [""])[0]  # a model may say nothing
    defects: list[Defect] = []
    place = TASK_TABLE
    if with_defects and conversation.index < 2:
        answer, sentence = (html.escape(t).replace("&#x27;", "&#039;") for t in (answer, sentence))
        if "&" in answer:
            kind = "html_entities"
            defects.append(Defect(kind, conversation.conversation_id, place, 1))
    before = int(rng.integers(1, 5))
    row: list[Any] = [
        user,
        conversation.task_id,
        sentence,
        texts.make_answer(rng, 60, bullets=False),
        "" if rng.random() < 0.8 else "no problems",
        f"{before}.0",
        f"{min(5, before + int(rng.integers(0, 3)))}.0",
        chosen.prompt,
        answer,
        f"{int(rng.integers(71, 96))}.0",
        stamp(finished),
        topic,
    ]
    rows = [row]
    if with_defects and conversation.index == 0:
        again = row.copy()
        again[10] = stamp(finished + dt.timedelta(minutes=7))
        rows.append(again)
        defects.append(Defect("duplicated_task", conversation.conversation_id, place, 1))
    if with_defects and rng.random() < 0.6:
        never = int(rng.integers(1, 4))
        for number in range(never):
            domain = texts.TOPICS[int(rng.integers(len(texts.TOPICS)))]
            task_id = 10_000 + 10 * conversation.index + number
            rows.append([user, task_id, *[""] * 9, domain])
        defects.append(Defect("never_done", conversation.conversation_id, place, never))
    return rows, defects


def worker_rows(
    rng: np.random.Generator, users: Sequence[User], *, with_defects: bool
) -> tuple[list[list[Any]], list[Defect]]:
    """Return the questionnaire: one row per worker, and those who did not consent."""
    rows: list[list[Any]] = []
    defects: list[Defect] = []
    moment = story.FIRST_SESSION - dt.timedelta(days=1)
    for user in users:
        rows.append(
            [
                user.user_id,
                1,
                f"{int(rng.integers(22, 66))}.0",
                rng.choice(["Northshire", "northshire", "Eastmere", "Westvale, EM"]),
                rng.choice(["Bachelor", "Master", "High School Graduate"], p=[0.7, 0.2, 0.1]),
                rng.choice(["White", "Asian", "Black or African American"]),
                rng.choice(["Male", "Female"]),
                stamp(moment),
            ]
        )
        moment += dt.timedelta(minutes=int(rng.integers(5, 90)))
    if with_defects:
        without = 1 + len(users) // 6
        for number in rng.choice(2**32, without, replace=False).tolist():
            row = [f"{story.SYNTHETIC_PREFIX}{number:08x}", 0, "", "", "", "", "", stamp(moment)]
            rows.insert(int(rng.integers(len(rows))), row)
        again = [*rows[0][:-1], stamp(moment)]
        rows.append(again)
        place = RECORD_INFO
        defects += [
            Defect("no_consent", None, place, without),
            Defect("duplicated_worker", None, place, 1),
        ]
    return rows, defects
