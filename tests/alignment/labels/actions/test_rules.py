"""What each rule takes for a choice, and what it does not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ifllm_hf.alignment.labels.actions.acted_answers import (
    ActedAnswer,
    ActedQuestion,
    unfit_answer,
)
from ifllm_hf.alignment.labels.actions.rules import ANSWER_RULES, PAIR_RULES, RULES
from ifllm_hf.data.tables.chat_threads import ThreadQuestion

START = datetime(2026, 1, 1, tzinfo=UTC)


def answer(name: str, *done: str, after: str | None = None, **more: Any) -> ActedAnswer:
    """Return an answer called `name`; `after`: the one that it was made to replace."""
    row = {
        "message_id": name,
        "content": f"text of {name}",
        "origin": "generated" if after is None else "regenerated",
        "replaces": after,
        "stopped": False,
        **more,
    }
    acts = {act: (None, START + timedelta(minutes=place)) for place, act in enumerate(done)}
    return ActedAnswer(row, acts, unfit_answer(row))


def asked(*answers: ActedAnswer) -> ActedQuestion:
    thread = ThreadQuestion({"message_id": "q", "content": "?"}, (), (), 1)
    return ActedQuestion(thread, answers)


def pairs(rule: str, *answers: ActedAnswer) -> list[str]:
    found: Iterable[Any] = PAIR_RULES[rule](asked(*answers))
    return [f"{better.message_id}>{worse.message_id}" for better, worse in found]


def verdicts(rule: str, *answers: ActedAnswer) -> dict[str, bool]:
    return {a.message_id: wanted for a, wanted in ANSWER_RULES[rule](asked(*answers))}


def by_person(name: str, of: str, *done: str) -> ActedAnswer:
    return answer(name, *done, after=of, origin="edited_by_person")


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ((answer("a", "like"), answer("b"), answer("c", "dislike")), ["a>b", "a>c"]),
        ((answer("a"), answer("b", "dislike")), ["a>b"]),
        ((answer("a", "like"), answer("b", "like")), []),
        ((answer("a"), answer("b")), []),
        ((answer("a", "like"),), []),
        ((answer("a", "like"), answer("b", stopped=True)), []),
        ((answer("a", "like"), answer("b", origin="with_tools")), []),
        ((answer("a", "like"), answer("b", origin="failed")), []),
        ((answer("a", "like"), by_person("b", "a")), []),
        ((answer("a", "like"), answer("b", content=" ")), []),
    ],
)
def test_like(answers: tuple[ActedAnswer, ...], named: list[str]) -> None:
    assert pairs("like", *answers) == named


def test_only_a_recorded_click_is_a_switch() -> None:
    a, b, c = answer("a", "switch"), answer("b", "like", "switch"), answer("c")
    assert pairs("switch", a, b, c) == ["b>a", "b>c"]  # b was clicked later
    assert pairs("switch", answer("a"), answer("b", "follow_up")) == []
    timeless = [ActedAnswer(x.row, {"switch": (None, None)}, None) for x in (a, b)]
    assert pairs("switch", *timeless) == []
    assert pairs("switch", timeless[0], c) == ["a>c"]


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ((answer("a", "follow_up"), answer("b")), ["a>b"]),
        ((answer("a"), answer("b", "follow_up")), []),  # the page had selected it
        ((answer("a"), answer("b", "follow_up"), answer("c")), ["b>a", "b>c"]),
        ((answer("a", "follow_up"), answer("b", "follow_up"), answer("c")), []),
        ((answer("a", "follow_up"),), []),
        # Of a side that was regenerated the last answer was on the screen.
        ((answer("a", "follow_up"), answer("b"), answer("c", after="b")), ["a>c"]),
        # A regeneration on the left is the newest, and selected.
        ((answer("a"), answer("b"), answer("c", "follow_up", after="a")), []),
        ((answer("a", "follow_up"), answer("b", stopped=True)), []),
    ],
)
def test_going_on_is_a_choice_unless_the_page_made_it(
    answers: tuple[ActedAnswer, ...], named: list[str]
) -> None:
    assert pairs("continued", *answers) == named


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ((answer("a"), answer("b", after="a")), ["b>a"]),
        ((answer("a"), answer("b", after="a"), answer("c", after="b")), ["c>a", "c>b"]),
        ((answer("a", "follow_up"), answer("b", after="a")), ["a>b"]),  # the reader went back
        ((answer("a", "follow_up"), answer("b", "follow_up", after="a")), []),
        ((answer("a"), answer("b")), []),  # side by side
        ((answer("a"), answer("b", after="a", stopped=True)), []),
        ((answer("a", stopped=True), answer("b", after="a"), answer("c", after="b")), ["c>b"]),
        ((answer("a", origin="failed"), answer("b", after="a")), []),
        # Regenerated after an edit: the person's text is no sibling, the model's is.
        ((answer("a"), by_person("e", "a"), answer("b", after="e")), ["b>a"]),
    ],
)
def test_the_answer_that_stayed_before_those_thrown_away(
    answers: tuple[ActedAnswer, ...], named: list[str]
) -> None:
    assert pairs("regenerated", *answers) == named


def test_the_edited_text_before_the_original() -> None:
    assert pairs("edited", answer("a"), by_person("e", "a")) == ["e>a"]
    assert pairs("edited", answer("a", stopped=True), by_person("e", "a")) == []
    assert pairs("edited", by_person("e", "gone")) == []
    assert verdicts("edited", answer("a"), by_person("e", "a")) == {"e": True, "a": False}


def test_single_answers() -> None:
    found = {"a": True, "b": False}
    assert verdicts("like", answer("a", "like"), answer("b", "dislike"), answer("c")) == found
    assert verdicts("copy", answer("a", "copy_part"), answer("b"), by_person("e", "a", "copy")) == {
        "a": True
    }
    thrown = answer("a", "regenerate"), answer("b", "regenerate", "follow_up", after="a")
    assert verdicts("regenerated", *thrown) == {"a": False}
    stopped = answer("a", "stop", stopped=True), answer("b", "stop", stopped=True, content="")
    assert verdicts("stop", *stopped) == {"a": False}


def test_ten_thousand_siblings_take_no_time() -> None:
    many = [answer(f"a{i}", *(["like"] if i == 5 else [])) for i in range(10_000)]
    question = asked(*many)
    for rule in PAIR_RULES.values():
        assert next(iter(rule(question)), None) is None or rule is PAIR_RULES["like"]
    for verdict in ANSWER_RULES.values():
        assert len(list(verdict(question))) <= 1
    assert set(RULES) == {*PAIR_RULES, *ANSWER_RULES}
