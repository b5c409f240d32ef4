"""The steps of taking part, without a browser: what is stored, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ifllm_hf.data.sessions.collected import open_sessions
from ifllm_space.collect.consent import BANDS, VERSION, consent_text
from ifllm_space.collect.flow import Flow
from ifllm_space.responders import ModelAnswer, ModelAnswers
from ifllm_space.server import SessionStore
from tests.helpers.spaces.session_store import lines_of

Reply = dict[str, Any]


class Scripted:
    """Answers with what a test put in."""

    name, said = "scripted", "A test answers."
    costs, free_questions = False, True

    def __init__(self) -> None:
        self.made = [ModelAnswer("**left** 🙂", "m1"), ModelAnswer("right", "m2")]
        self.histories: list[Any] = []

    def questions(self, kind: str) -> list[str]:
        return []

    def answer(self, question: str, histories: Sequence[Any]) -> ModelAnswers:
        self.histories.append([list(history) for history in histories])
        return ModelAnswers(tuple(self.made[: len(histories)]))


@pytest.fixture
def responder() -> Scripted:
    return Scripted()


@pytest.fixture
def flow(store: SessionStore, responder: Scripted) -> Flow:
    return Flow(store.settings, store, responder)


CONSENT = {"step": "consent", "version": VERSION, "adult": True}


@pytest.fixture
def me(flow: Flow) -> Reply:
    opened = flow.step({**CONSENT, "client": {"browser": "Chrome", "touch": False}})
    assert opened["ok"]
    return {name: opened[name] for name in ("session", "token")}


def ask(flow: Flow, me: Reply, **more: Any) -> Reply:
    return flow.step({"step": "ask", **me, "question": "Why?", "kind": "pairwise", **more})


RATED = {"step": "rate", "turn": 0, "likert_a": 5, "likert_b": 2, "preference": "a"}


def test_consent_is_what_opens_a_session(flow: Flow, store: SessionStore) -> None:
    begun = flow.step({"step": "begin"})
    assert begun["consent"]["version"] == VERSION and "lab@example.org" in begun["consent"]["html"]
    told = {"age": "25-34", "vision": "glasses"}
    opened = flow.step({**CONSENT, "demographics": told})
    (line,) = lines_of(store, opened["session"])
    from hashlib import sha256

    text = consent_text(store.settings)
    assert line["consent"]["text_sha256"] == sha256(text.encode()).hexdigest()
    assert line["demographics"] == told
    assert opened["code"] not in json.dumps(line)


@pytest.mark.parametrize(
    "change",
    [
        {"adult": False},
        {"adult": "yes"},
        {"version": "old"},
        {"demographics": {"age": "33"}},
        {"demographics": {"name": "Ann"}},
        {"client": {"browser": "x" * 99}},
        {"client": {"address": "127.0.0.1"}},
    ],
)
def test_without_consent_there_is_no_session(
    flow: Flow, store: SessionStore, change: Reply
) -> None:
    assert flow.step({**CONSENT, **change})["error"] == "malformed"
    assert store.sizes() == {}


def test_it_is_off_until_an_operator_says_who_and_why(
    make_store: Callable[..., SessionStore], responder: Scripted
) -> None:
    store = make_store(legal_basis="")
    flow = Flow(store.settings, store, responder)
    assert flow.step({"step": "begin"}) == {"ok": True, "collects": False}
    assert flow.step(CONSENT)["error"] == "off"
    assert flow.step({"step": "ask"})["error"] == "off"


def test_a_turn_is_stored_before_it_is_shown(flow: Flow, me: Reply, store: SessionStore) -> None:
    shown = ask(flow, me, question=" Why? ")["shown"]
    turn = lines_of(store, me["session"])[-1]
    assert turn["question"] == "Why?" and turn["kind"] == "pairwise"
    stored = {answer["box"]: answer for answer in turn["responses"]}
    left = "B" if turn["side_swapped"] else "A"
    assert (stored[left]["source"], stored[left]["model"]) == ("**left** 🙂", "m1")
    html = {box["box"]: box["html"] for box in shown["boxes"]}
    assert (
        html[left]
        == '<p><strong><span data-s="2">left</span></strong><span data-s="8"> 🙂</span></p>'
    )
    assert [box["box"] for box in shown["boxes"]] == ["A", "B"]


def test_sides_are_drawn_and_models_keep_theirs(
    flow: Flow, me: Reply, store: SessionStore, responder: Scripted
) -> None:
    for turn in range(4):
        ask(flow, me)
        flow.step({**RATED, **me, "turn": turn})
    turns = [line for line in lines_of(store, me["session"]) if line["type"] == "turn"]
    assert len({turn["side_swapped"] for turn in turns}) == 1  # one conversation
    assert [len(history) for history in responder.histories[-1]] == [6, 6]
    assert {m["content"] for m in responder.histories[-1][0][1::2]} == {"**left** 🙂"}
    assert {m["content"] for m in responder.histories[-1][1][1::2]} == {"right"}
    drawn = set()
    for _ in range(40):
        opened = flow.step(CONSENT)
        who = {name: opened[name] for name in ("session", "token")}
        ask(flow, who)
        drawn.add(lines_of(store, who["session"])[-1]["side_swapped"])
    assert drawn == {True, False}


def test_ratings_become_a_preference(flow: Flow, me: Reply, store: SessionStore) -> None:
    ask(flow, me)
    assert flow.step({**RATED, **me})["turns"] == 1
    assert flow.step({**RATED, **me, "preference": "b"})["turns"] == 1  # the first one counts
    ask(flow, me, kind="pointwise")
    assert flow.step({"step": "rate", **me, "turn": 1, "likert_a": 3})["ok"]
    assert ask(flow, me, kind="pointwise")["shown"]["first"] is False
    better = {"turn": 2, "likert_a": 4, "better_than_previous": True}
    assert flow.step({"step": "rate", **me, **better})["ok"]
    turns = open_sessions(store.folder).turns.sort("kind", "turn")
    assert turns["preference"].to_list() == ["a", None, None]
    assert turns["likert_a"].to_list() == [5, 3, 4]
    assert turns["better_than_previous"].to_list() == [None, None, True]


@pytest.mark.parametrize(
    "change",
    [
        {"turn": 7},
        {"turn": "0"},
        {"likert_a": 6},
        {"likert_a": None},
        {"likert_b": "5"},
        {"preference": None},
        {"preference": "left"},
    ],
)
def test_half_a_rating_is_refused(
    flow: Flow, me: Reply, store: SessionStore, change: Reply
) -> None:
    ask(flow, me)
    assert flow.step({**RATED, **me, **change})["error"] == "malformed"
    assert lines_of(store, me["session"])[-1]["type"] == "turn"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ModelAnswer("", "m1", error="timeout"), "too long"),
        (ModelAnswer("", "m1", error="busy"), "busy"),
        (ModelAnswer("", "m1", refused=True), "did not want"),
    ],
)
def test_trouble_is_told_kindly_and_stored(
    flow: Flow, me: Reply, store: SessionStore, responder: Scripted, answer: ModelAnswer, said: str
) -> None:
    responder.made[0] = answer
    reply = ask(flow, me)
    assert reply["shown"] is None and said in reply["trouble"]
    stored = lines_of(store, me["session"])[-1]["responses"]
    assert {(a["error"], a["refused"]) for a in stored} == {
        (answer.error, answer.refused),
        (None, False),
    }
    opened = open_sessions(store.folder)
    assert opened.turns["has_error_answer"].to_list() == [True]
    assert opened.preferences.height == 0
    assert flow.step({"step": "resume", **me})["shown"] is None


def test_a_reload_goes_on_where_it_was(flow: Flow, me: Reply) -> None:
    shown = ask(flow, me)["shown"]
    assert flow.step({"step": "resume", **me}) == {
        "ok": True,
        "turns": 0,
        "shown": shown,
        "ended": False,
    }
    flow.step({**RATED, **me})
    assert flow.step({"step": "resume", **me})["shown"] is None
    flow.step({"step": "end", **me})
    flow.step({"step": "end", **me})
    assert flow.step({"step": "resume", **me})["ended"] is True


def test_calibration_and_summary_are_stored(flow: Flow, me: Reply, store: SessionStore) -> None:
    record = {"when": "before", "provider": "scripted", "version": "1", "mean_px": 100.0}
    record |= {"share_within_200_px": 0.9, "samples_per_s": 20.0, "viewport": [1000, 800]}
    assert flow.step({"step": "calibration", **me, "record": record})["ok"]
    assert flow.step({"step": "summary", **me, "text": "Much.", "understand_before": 2})["ok"]
    calibration, summary = lines_of(store, me["session"])[-2:]
    assert calibration["mean_px"] == 100.0 and summary["understand_before"] == 2
    record["address"] = "127.0.0.1"
    assert flow.step({"step": "calibration", **me, "record": record})["error"] == "malformed"


def test_personal_data_is_flagged(flow: Flow, me: Reply, store: SessionStore) -> None:
    ask(flow, me, question="Can you mail me@example.org?")
    assert lines_of(store, me["session"])[-1]["needs_review"] == ["e-mail"]


@pytest.mark.parametrize("question", ["", "  ", "x" * 1001, None, 7])
def test_a_question_has_a_length(flow: Flow, me: Reply, question: Any) -> None:
    assert ask(flow, me, question=question)["error"] == "malformed"


@pytest.mark.parametrize("step", ["resume", "ask", "rate", "calibration", "summary", "end"])
def test_nobody_writes_into_a_session_of_somebody_else(flow: Flow, me: Reply, step: str) -> None:
    other = flow.step(CONSENT)
    for session, token in (
        (me["session"], other["token"]),
        ("s_" + "A" * 22, me["token"]),
        ("../../etc", me["token"]),
        (None, None),
    ):
        assert flow.step({"step": step, "session": session, "token": token})["error"] == "token"


@pytest.mark.parametrize("request_", [None, [], "begin", {}, {"step": "drop"}, {"step": ["begin"]}])
def test_a_strange_request_is_refused(flow: Flow, request_: Any) -> None:
    assert flow.step(request_)["error"] == "malformed"


def test_a_withdrawn_session_is_gone(flow: Flow, store: SessionStore) -> None:
    opened = flow.step(CONSENT)
    assert flow.step({"step": "withdraw", "code": "nothing"})["error"]
    assert flow.step({"step": "withdraw", "code": opened["code"]}) == {"ok": True, "complete": True}
    who = {name: opened[name] for name in ("session", "token")}
    assert ask(flow, who)["error"] == "gone"
    assert store.sizes() == {}


def test_the_quota_counts_answers_and_survives_a_restart(
    make_store: Callable[..., SessionStore], responder: Scripted
) -> None:
    store = make_store(answers_per_day=3)
    responder.costs = True
    flow = Flow(store.settings, store, responder)
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    assert ask(flow, who)["ok"]
    again = Flow(store.settings, store, responder)
    assert ask(again, who)["error"] == "quota"
    assert ask(again, who, kind="pointwise")["ok"]
    assert ask(again, who, kind="pointwise")["error"] == "quota"


def test_bands_fit_the_schema(flow: Flow) -> None:
    told = {name: values[-1] for name, (_, values) in BANDS.items()}
    assert flow.step({**CONSENT, "demographics": told})["ok"]


def test_a_server_with_a_new_disk_goes_on(
    flow: Flow, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    file = store.folder / f"{who['session']}.jsonl"
    kept = file.read_bytes()
    file.unlink()
    assert flow.step({"step": "resume", **who})["error"] == "gone"

    class Hub:
        def restore(self, session_id: str) -> bool:
            file.write_bytes(kept)
            return session_id == who["session"]

    monkeypatch.setattr(store, "hub", Hub())
    assert flow.step({"step": "resume", **who})["ok"]
