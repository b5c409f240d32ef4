"""Turns whose answers a page has itself: kept word for word, and never taken for the dataset's."""

from __future__ import annotations

from typing import Any

import pytest

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.taking_part.consent import VERSION
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.data.sessions.review import is_public_already
from tests.helpers.capture.session_store import lines_of

ANSWERS = [{"text": " **left** 🙂\n", "model": "m1", "parameters": {"t": 0.5}}, {"text": "right"}]


class Page:
    """A page in the middle of a session."""

    def __init__(self, store: SessionStore) -> None:
        self.flow = Flow(store.settings, store, None, answers_of_page=True)
        opened = self.flow.step({"step": "consent", "version": VERSION, "adult": True})
        self.who = {name: opened[name] for name in ("session", "token")}

    def step(self, step: str, **request: Any) -> dict[str, Any]:
        return self.flow.step({"step": step, **self.who, **request})


@pytest.fixture
def page(store: SessionStore) -> Page:
    return Page(store)


def test_what_a_page_shows_is_kept_as_it_is(page: Page, store: SessionStore) -> None:
    shown = page.step("turn", question=" Why? ", answers=ANSWERS)["shown"]
    assert (shown["turn"], shown["kind"], shown["question"]) == (0, "pairwise", "Why?")
    _, turn = lines_of(store, page.who["session"])
    assert [a["source"] for a in turn["responses"]] == [a["text"] for a in ANSWERS]
    assert [a["model"] for a in turn["responses"]] == ["m1", None]
    assert turn["responses"][0]["parameters"] == {"t": 0.5} and turn["source"] == "page"
    one = page.step("turn", question="And why?", answers=ANSWERS[:1])["shown"]
    assert (one["turn"], one["kind"]) == (1, "pointwise")  # the first was never rated


def test_a_page_may_ask_for_a_part_of_the_rating(page: Page, store: SessionStore) -> None:
    page.step("turn", question="Why?", answers=ANSWERS)
    assert page.step("rate", turn=0)["error"] == "malformed"
    assert page.step("rate", turn=0, preference="a")["ok"]
    rating = lines_of(store, page.who["session"])[-1]
    assert rating["preference"] == "a" and rating["likert"] == {"A": None, "B": None}


def test_turns_go_on_from_those_of_their_conversation(page: Page) -> None:
    for conversation in ("x", "y", "x"):
        shown = page.step("turn", question="Why?", answers=ANSWERS, conversation=conversation)
        number = shown["shown"]["turn"]
        past = page.step("rate", turn=number, preference="a")["past"]
    assert len(shown["shown"]["past"]) == 1 and len(past) == 2


def test_no_page_says_that_its_questions_are_the_datasets(page: Page, store: SessionStore) -> None:
    page.step("turn", question="Why?", answers=ANSWERS, source="replay", query_id="11")
    turn = lines_of(store, page.who["session"])[-1]
    assert turn["source"] == "page" and not is_public_already(turn)


def test_where_the_server_answers_no_page_does(page: Page, store: SessionStore) -> None:
    page.flow = Flow(store.settings, store, None)
    assert page.step("turn", question="Why?", answers=ANSWERS)["error"] == "malformed"
    assert len(lines_of(store, page.who["session"])) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"question": " "},
        {"question": None},
        {"answers": []},
        {"answers": [*ANSWERS, *ANSWERS]},
        {"answers": ["text"]},
        {"answers": [{"text": " "}]},
        {"answers": [{"text": "x" * 100_001}]},
        {"answers": [{"text": "x", "model": 7}]},
        {"answers": [{"text": "x", "parameters": [1]}]},
        {"conversation": 7},
        {"conversation": "x" * 80},
    ],
)
def test_what_is_no_turn_is_refused_and_not_stored(
    page: Page, store: SessionStore, change: dict[str, Any]
) -> None:
    request = {"question": "Why?", "answers": ANSWERS, **change}
    assert page.step("turn", **request)["error"] == "malformed"
    assert len(lines_of(store, page.who["session"])) == 1
