"""Nothing that people wrote is published before somebody has read it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.cli import main
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.collected import open_sessions, query_id_of, reader_of
from ifllm_hf.data.sessions.review import (
    PUBLISH,
    WITHHOLD,
    Question,
    decide,
    personal_data,
    question_of,
    read_decisions,
    write_decisions,
)
from ifllm_hf.data.sessions.sessions_card import waiting_questions
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.hub.publish.dataset import push_dataset
from tests.helpers.made_up_sessions import TrueSession


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Why is the sky blue?", ()),
        ("In 2024 I paid 1,234,567 for 12 of 345", ()),
        ("mail jane.doe+x@example.co.uk please", ("e-mail",)),
        ("call (020) 7946 0958", ("phone or number",)),
        ("call +1-202-555-0143 now", ("phone or number",)),
        ("card 4111 1111 1111 1111", ("phone or number",)),
        ("see https://example.org/me", ("web address",)),
        ("ask @somebody", ("handle",)),
    ],
)
def test_patterns_find_what_they_can(text: str, found: tuple[str, ...]) -> None:
    assert personal_data(text) == found


def test_what_is_in_an_answer_is_said_so() -> None:
    turn = {"turn": 3, "question": "q", "responses": [{"source": "me@example.org"}]}
    assert question_of("reader_1", turn).flags == ("e-mail in an answer",)


def test_what_was_found_is_shown_in_its_context() -> None:
    long = "x" * 100
    turn = {
        "turn": 3,
        "question": "q",
        "responses": [{"source": f"{long} call\n(020) 7946 0958 now"}, {"source": "a@b.example"}],
    }
    phone, mail = question_of("reader_1", turn).excerpts
    assert "answer A" in phone and "020) 7946 0958] now" in phone and "…" in phone
    assert "answer B" in mail and "[a@b.example]" in mail


def test_a_question_cannot_command_the_terminal() -> None:
    text = "red \x1b[31m and \x1b]0;title\x07, turned \u202e round, 👩\u200d🚀 stays"
    question = Question("reader_1", 0, text, (), (f"e-mail in the question: {text}",))
    said: list[str] = []
    decide([question], ask=lambda prompt: "", say=said.append)
    shown = "\n".join(said)
    assert not set("\x1b\x07\u202e") & set(shown) and "\\x1b[31m" in shown
    assert "👩\u200d🚀" in shown


def test_questions_of_the_dataset_are_not_asked_about_again(truths: list[TrueSession]) -> None:
    folder = truths[0].path.parent
    path = truths[0].path
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    first, second = (line for line in lines if line["type"] == "turn")
    first |= {"source": "replay", "query_id": "4711"}
    second |= {"source": "replay", "query_id": str(2**40)}  # of somebody's collected session
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    opened = open_sessions(folder)
    waiting = {(q.user_id, q.turn) for q in opened.waiting}
    reader = reader_of(truths[0].session_id, made_up=True)
    assert (reader, first["turn"]) not in waiting and (reader, second["turn"]) in waiting
    public = open_sessions(folder, public=True)
    assert public.turns["prompt"].to_list() == [first["question"]]
    write_decisions(folder, {question_of(reader, first): WITHHOLD})
    assert open_sessions(folder, public=True).turns.height == 0, "a person's word goes first"


def test_a_person_decides_and_may_stop(truths: list[TrueSession]) -> None:
    folder = truths[0].path.parent
    waiting = open_sessions(folder).waiting
    assert len(waiting) == 6
    typed = iter(["p", "w", "", "P "])
    said: list[str] = []

    def ask(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    decided = decide(waiting, ask=ask, say=said.append)
    assert list(decided.values()) == [PUBLISH, WITHHOLD, PUBLISH]
    assert any(waiting[0].text in line for line in said)
    write_decisions(folder, decided)
    write_decisions(folder, {waiting[0]: WITHHOLD})
    assert read_decisions(folder)[waiting[0].user_id, waiting[0].turn] == WITHHOLD
    assert len(open_sessions(folder).waiting) == 3
    stored = (folder / "reviews.csv").read_text()
    assert not any(question.text in stored for question in waiting)


def test_a_damaged_decision_is_refused(truths: list[TrueSession]) -> None:
    folder = truths[0].path.parent
    (folder / "reviews.csv").write_text("user_id,turn,decision,flags\nreader_1,0,maybe,\n")
    with pytest.raises(DataError, match=r"line 2: turn '0' with decision 'maybe'"):
        open_sessions(folder)


def test_nothing_unreviewed_is_in_a_public_export(
    truths: list[TrueSession], tmp_path: Path
) -> None:
    folder = truths[0].path.parent
    opened = open_sessions(folder)
    one = next(q for q in opened.waiting if q.turn == 0)
    other = next(q for q in opened.waiting if q.turn == 1 and q.user_id != one.user_id)
    write_decisions(folder, {one: PUBLISH, other: PUBLISH})  # what came before the other is not
    report = prepare(folder, tmp_path / "public", progress=False, public=True)
    files = [f for c in ("pairwise", "ticks") for f in config_files(tmp_path / "public", c)]
    pairs = pl.read_parquet(files[0])
    assert pairs["prompt"].to_list() == [one.text]
    ticks = pl.read_parquet(files[1]).explode("query_id")["query_id"]
    shown = next(t for t in truths if one.user_id.endswith(reader_of(t.session_id)[-16:]))
    assert set(ticks) == {query_id_of(shown.session_id, 0)}
    turns = report.ledgers["tables"]["turns"]
    assert turns["dropped"] == {
        "question not reviewed for publication": 4,
        "a question before it is not published": 1,
    }
    total = report.ledgers["total"]
    assert total["seen"] == total["kept"] + sum(total["dropped"].values())
    assert waiting_questions(tmp_path / "public") == 0
    text = (tmp_path / "public" / "README.md").read_text()
    assert "4 wait" in text
    for truth in truths:
        assert truth.session_id not in text


def test_an_unreviewed_export_is_not_pushed_in_public(
    truths: list[TrueSession], tmp_path: Path
) -> None:
    prepare(truths[0].path.parent, tmp_path / "all", progress=False)
    assert waiting_questions(tmp_path / "all") == 6
    for private in (None, False):
        with pytest.raises(ConfigError, match="6 questions"):
            push_dataset(tmp_path / "all", "org/name", private=private)


def test_the_command_line_reviews(
    truths: list[TrueSession],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "p")
    assert main(["review", str(truths[0].path.parent)]) == 0
    assert "6 decided, 0 wait" in capsys.readouterr().err
    out = str(tmp_path / "public")
    assert main(["prepare", str(truths[0].path.parent), "--out", out, "--public"]) == 0
    assert "6 turns of 3 workers" in capsys.readouterr().err
