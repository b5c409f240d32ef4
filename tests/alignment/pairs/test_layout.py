"""The way back: a pair written in any layout comes out as it was, and a broken row is refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.alignment.pairs.layout import explicit_pair
from ifllm_hf.alignment.pairs.messages import RowError
from ifllm_hf.alignment.pairs.own_template import turns_of
from ifllm_hf.alignment.pairs.source import open_pairs

Row = dict[str, Any]
WORDS = ("why", "Paint.", "a", "λόγος", "天空", "🙂", "{prompt}", "A:", "Human", "[INS", "é\u0301")
SPACES = ("", " ", "\n", "\n\n", "\t", "\u00a0", "\u2003", "\r\n")


@st.composite
def texts(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
    gaps = draw(st.lists(st.sampled_from(SPACES), min_size=5, max_size=5))
    return "".join(a + b for a, b in zip(gaps, [*words, "", "", ""], strict=False)) + gaps[-1]


def turn(role: str, content: Any, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


@dataclass(frozen=True)
class Known:
    """A pair before it is written: the truth of the tests below."""

    system: str | None
    past: list[tuple[str, str]]
    question: str
    chosen: str
    rejected: str

    @property
    def prompt(self) -> list[Row]:
        first = [] if self.system is None else [turn("system", self.system)]
        said = [
            turn(r, t)
            for pair in self.past
            for r, t in zip(("user", "assistant"), pair, strict=True)
        ]
        return [*first, *said, turn("user", self.question)]

    def answer(self, side: str) -> list[Row]:
        return [turn("assistant", getattr(self, side))]


@st.composite
def pairs(draw: st.DrawFn) -> Known:
    chosen, rejected = draw(
        st.tuples(texts(), texts()).filter(lambda both: both[0].strip() != both[1].strip())
    )
    past = draw(st.lists(st.tuples(texts(), texts()), max_size=2))
    return Known(draw(st.none() | texts()), past, draw(texts()), chosen, rejected)


# Each writes a pair in one layout.


def explicit(pair: Known) -> Row:
    return {
        "prompt": pair.prompt,
        "chosen": pair.answer("chosen"),
        "rejected": pair.answer("rejected"),
    }


def implicit(pair: Known) -> Row:
    return {side: pair.prompt + pair.answer(side) for side in ("chosen", "rejected")}


def repeated(pair: Known) -> Row:
    return {"prompt": pair.prompt, **implicit(pair)}


def ultrafeedback(pair: Known) -> Row:
    return {"prompt": pair.question, "messages": pair.prompt, "score": 1.0, **implicit(pair)}


def of_first_question(pair: Known) -> Row:
    return {"prompt": [*(q for q, _ in pair.past), pair.question][0], **implicit(pair)}


def plain_answers(pair: Known) -> Row:
    return {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}


def system_column(pair: Known) -> Row:
    without = Known(None, pair.past, pair.question, pair.chosen, pair.rejected)
    return {"system": pair.system, **explicit(without)}


def text_parts(pair: Known) -> Row:
    def cut(message: Row) -> Row:
        half, text = len(message["content"]) // 2, message["content"]
        parts = [{"type": "text", "text": t, "image": None} for t in (text[:half], text[half:])]
        return turn(message["role"], parts, tool_calls=None, reasoning_content="")

    return {column: [cut(m) for m in messages] for column, messages in explicit(pair).items()}


MESSAGES = (
    *(explicit, implicit, repeated, ultrafeedback, of_first_question, plain_answers),
    *(system_column, text_parts),
)


@given(pairs(), st.sampled_from(MESSAGES))
@settings(max_examples=100, deadline=None)
def test_a_conversation_comes_back_from_any_layout(
    pair: Known, write: Callable[[Known], Row]
) -> None:
    assert explicit_pair(write(pair)) == {**explicit(pair), "has_template": False}


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_a_plain_pair_comes_back_with_and_without_its_system_turn(pair: Known) -> None:
    plain = {"prompt": pair.question, "chosen": pair.chosen, "rejected": pair.rejected}
    assert explicit_pair(plain) == {**plain, "has_template": False}
    orca = {"question": pair.question, "chosen": pair.chosen, "rejected": pair.rejected}
    assert explicit_pair({"system": "", **orca}) == {**plain, "has_template": False}
    alone = Known(pair.system, [], pair.question, pair.chosen, pair.rejected)
    if pair.system is not None:
        for row in ({**orca, "system": pair.system}, {**plain, "system_prompt": pair.system}):
            assert explicit_pair(row) == {**explicit(alone), "has_template": False}


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_a_text_with_its_own_template_comes_back_to_the_letter(pair: Known) -> None:
    turns = [(q, a) for q, a in pair.past]
    before = "".join(f"\n\nHuman: {q}\n\nAssistant: {a}" for q, a in turns)
    before += f"\n\nHuman: {pair.question}\n\nAssistant:"
    row = {"chosen": f"{before} {pair.chosen}", "rejected": f"{before} {pair.rejected}"}
    read = explicit_pair(row)
    assert (read["prompt"], read["has_template"]) == (before, True)
    assert {side: read["prompt"] + read[side] for side in row} == row
    given_apart = {"prompt": before, **{side: read[side] for side in row}}
    assert explicit_pair(given_apart) == read
    asked = [t for q, a in turns for t in (turn("user", q.strip()), turn("assistant", a.strip()))]
    assert turns_of(before) == [*asked, turn("user", pair.question.strip())]


@given(texts(), texts(), texts())
@settings(max_examples=60, deadline=None)
def test_without_marks_a_text_is_cut_at_white_space_and_comes_back(
    shared: str, one: str, other: str
) -> None:
    row = {"chosen": f"{shared} {one}", "rejected": f"{shared} {other}"}
    try:
        read = explicit_pair(row)
    except RowError:
        return  # nothing but white space is shared, or a mark stands on one side
    assert {side: read["prompt"] + read[side] for side in row} == row
    assert read["has_template"] and read["prompt"].strip()
    assert read["chosen"][:1].isspace() and read["rejected"][:1].isspace()
    assert not read["prompt"][-1].isspace()


@given(st.lists(pairs(), min_size=1, max_size=6), st.sampled_from(MESSAGES))
@settings(max_examples=10, deadline=None)
def test_rows_of_a_file_come_back_in_order(
    known: list[Known], write: Callable[[Known], Row]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        file.write_text("".join(json.dumps(write(pair)) + "\n" for pair in known))
        read = open_pairs(str(file))
    expected = [{**explicit(pair), "has_template": False, "confidence": 1.0} for pair in known]
    assert read == expected


# Each spoils a row of messages in one way.


def answer(row: Row, **keys: Any) -> None:
    row["chosen"] = [{**row["chosen"][0], **keys}]


def last(row: Row, **keys: Any) -> None:
    row["prompt"] = [*row["prompt"][:-1], {**row["prompt"][-1], **keys}]


SPOILT: dict[str, Callable[[Row], Any]] = {
    "null content": lambda row: answer(row, content=None),
    "null question": lambda row: last(row, content=None),
    "content of strings": lambda row: answer(row, content=["a"]),
    "a number as content": lambda row: answer(row, content=3),
    "an image": lambda row: last(row, content=[{"type": "image"}, {"type": "text", "text": "a"}]),
    "a text part with more": lambda row: last(
        row, content=[{"type": "text", "text": "a", "image": "x.png"}]
    ),
    "a call": lambda row: answer(row, tool_calls=[{"name": "f"}]),
    "reasoning": lambda row: answer(row, reasoning_content="hm"),
    "an unknown key": lambda row: last(row, thinking="hm"),
    "an unknown role": lambda row: last(row, role="tool"),
    "an answer of the user": lambda row: answer(row, role="user"),
    "a turn too many": lambda row: row.update(
        rejected=[*row["rejected"], turn("user", "And?"), turn("assistant", "So.")]
    ),
    "no answer": lambda row: row.update(chosen=[]),
    "null answer": lambda row: row.update(rejected=None),
    "an answer of another kind": lambda row: row.update(chosen="text"),
    "a number": lambda row: row.update(chosen=1),
    "no keys": lambda row: row.update(chosen=[{"from": "gpt", "value": "a"}]),
    "no question": lambda row: row.update(prompt=[]),
    "null prompt": lambda row: row.update(prompt=None),
    "a blank question": lambda row: last(row, content=" \n"),
    "a prompt that an answer ends": lambda row: row.update(
        prompt=[*row["prompt"], turn("assistant", "so")]
    ),
    "another text prompt": lambda row: row.update(
        prompt="entirely other",
        chosen=row["prompt"] + row["chosen"],
        rejected=row["prompt"] + row["rejected"],
    ),
    "another question on one side": lambda row: row.update(
        chosen=[turn("user", "entirely other"), *row["chosen"]],
        rejected=[*row["prompt"], *row["rejected"]],
        prompt="entirely other",
    ),
    "two system turns": lambda row: row.update(
        prompt=[turn("system", "one"), *row["prompt"]], system="two"
    ),
    "tools": lambda row: row.update(tools=[{"type": "function"}]),
    "images": lambda row: row.update(images=["a.png"]),
    "template settings": lambda row: row.update(chat_template_kwargs={"thinking": False}),
}


@pytest.mark.parametrize("way", SPOILT)
@given(pair=pairs())
@settings(max_examples=5, deadline=None)
def test_a_row_that_is_no_pair_is_refused(way: str, pair: Known) -> None:
    row = explicit(pair)
    SPOILT[way](row)
    with pytest.raises(RowError):
        explicit_pair(row)


@pytest.mark.parametrize(
    ("roles", "said"),
    [([], "no turn"), (["user"], "user"), (["assistant"] * 2, "assistant, assis")],
)
def test_what_stands_in_place_of_an_answer_is_said(roles: list[str], said: str) -> None:
    row = {"prompt": [turn("user", "Hi?")], "rejected": [turn("assistant", "No")]}
    with pytest.raises(RowError, match=f"^'chosen' is not one answer: {said}"):
        explicit_pair({**row, "chosen": [turn(role, "Yes") for role in roles]})


def test_no_template_goes_around_one_whatever_the_answers_are() -> None:
    row = {"prompt": "\n\nHuman: Hi?\n\nAssistant:", "chosen": [turn("assistant", "Yes")]}
    with pytest.raises(RowError, match="template"):
        explicit_pair({**row, "rejected": [turn("assistant", "No")]})
