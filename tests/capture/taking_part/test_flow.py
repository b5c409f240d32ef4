"""The steps of taking part, without a browser: what is stored, and what is refused."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.capture.server import SessionStore, refusals
from ifllm_hf.capture.taking_part.consent import BANDS, VERSION, consent_text
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.capture.taking_part.responder import ModelAnswer, ModelAnswers
from ifllm_hf.capture.taking_part.words import PIECES, said_of
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.collected import open_sessions
from ifllm_space.demo_data import DemoData
from ifllm_space.responders import Replay
from tests.helpers.capture.session_store import lines_of

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
    assert len(ask(flow, me, kind="pointwise")["shown"]["past"]) == 1
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


def test_models_readers_and_exports_have_the_same_past(
    flow: Flow, me: Reply, store: SessionStore, responder: Scripted, tmp_path: Path
) -> None:
    def told(history: list[dict[str, str]] | None) -> list[str]:
        return [message["content"] for message in history or []]

    def asked(question: str, left: ModelAnswer) -> Reply:
        responder.made = [left, ModelAnswer(f"right {question}", "m2")]
        return ask(flow, me, question=question)["shown"]

    asked("q0", ModelAnswer("left q0", "m1"))
    flow.step({**RATED, **me})
    assert asked("q1", ModelAnswer("", "m1", error="busy")) is None
    asked("q2", ModelAnswer("left q2", "m1"))
    # A second tab asks something else: it rates what waits first, or nobody knew the same past.
    assert asked("q3", ModelAnswer("left q3", "m1"))["question"] == "q2"
    flow.step({**RATED, **me, "turn": 2})
    shown = asked("q3", ModelAnswer("left q3", "m1"))
    rated = flow.step({**RATED, **me, "turn": 3})

    sides = [told(history) for history in responder.histories[-1]]
    assert sides == [["q0", f"{side} q0", "q2", f"{side} q2"] for side in ("left", "right")]
    seen, _ = shown["past"]
    assert seen["question"] == "q0" and [box["box"] for box in seen["boxes"]] == ["A", "B"]
    assert [turn["question"] for turn in rated["past"]] == ["q0", "q2", "q3"]

    prepare(store.folder, tmp_path / "ifllm", progress=False)
    files = config_files(tmp_path / "ifllm", "pairwise")
    turns = {t["prompt"]: t for t in pl.read_parquet(files, hive_partitioning=False).to_dicts()}
    exported = [told(turns["q3"][f"history_{side}"]) for side in "ab"]
    for said, box in zip(exported, seen["boxes"], strict=True):
        assert said[0] == "q0" and f">{said[1]}<" in box["html"]
    assert sorted(exported) == sorted(sides)
    (pair,) = (
        pair
        for pair in pl.read_parquet(config_files(tmp_path / "ifllm", "preferences")).to_dicts()
        if pair["prompt"] == "q3"
    )
    assert told(pair["history_chosen"]) == exported[0]  # RATED prefers a


def test_replay_shows_and_exports_no_foreign_past(
    store: SessionStore, demo_data: DemoData, tmp_path: Path
) -> None:
    replay = Replay(demo_data)
    flow = Flow(store.settings, store, replay)
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    for turn, question in enumerate(replay.questions("pairwise")[:3]):
        assert ask(flow, who, question=question)["shown"]["past"] == []
        assert flow.step({**RATED, **who, "turn": turn})["past"] == []
    prepare(store.folder, tmp_path / "ifllm", progress=False)
    turns = pl.read_parquet(config_files(tmp_path / "ifllm", "pairwise"), hive_partitioning=False)
    assert turns.height == 3
    for side in "ab":
        assert turns[f"history_{side}"].list.len().to_list() == [0, 0, 0]


def test_who_asks_twice_gets_the_same_answers(
    flow: Flow, me: Reply, store: SessionStore, responder: Scripted
) -> None:
    asking = threading.Event()
    answer = responder.answer

    def slow(question: str, histories: Sequence[Any]) -> ModelAnswers:
        asking.set()
        time.sleep(0.2)
        return answer(question, histories)

    responder.answer = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, flow, me)
        asking.wait(5)
        again = pool.submit(ask, flow, me)
    assert first.result() == again.result() and first.result()["shown"]
    turns = [line for line in lines_of(store, me["session"]) if line["type"] == "turn"]
    assert len(turns) == len(responder.histories) == 1


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
        "past": [],
        "ended": False,
        "completion": None,
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
    assert flow.step({**RATED, **who})["ok"]
    again = Flow(store.settings, store, responder)
    assert ask(again, who, question="How?")["error"] == "quota"
    assert ask(again, who, kind="pointwise")["ok"]
    assert flow.step({**RATED, **who, "turn": 1})["ok"]
    assert ask(again, who, kind="pointwise", question="How?")["error"] == "quota"


def test_bands_fit_the_schema(flow: Flow) -> None:
    told = {name: values[-1] for name, (_, values) in BANDS.items()}
    assert flow.step({**CONSENT, "demographics": told})["ok"]


def test_who_comes_back_after_their_session_was_packed_goes_on(
    flow: Flow, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ifllm_hf.capture.server.packing._LEAST", 1)
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    file = store.folder / f"{who['session']}.jsonl"
    os.utime(file, (0, 0))
    assert store.packing.pack() == 1 and not file.exists()
    assert ask(flow, who)["ok"]
    assert [line["type"] for line in lines_of(store, who["session"])] == ["session", "turn"]


def test_a_server_with_a_new_disk_goes_on(
    flow: Flow, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = flow.step(CONSENT)
    who = {name: opened[name] for name in ("session", "token")}
    file = store.folder / f"{who['session']}.jsonl"
    kept = file.read_bytes()
    file.unlink()
    assert flow.step({"step": "resume", **who})["error"] == "missing"  # it may come back

    class Hub:
        def restore(self, session_id: str) -> bool:
            file.write_bytes(kept)
            return session_id == who["session"]

    monkeypatch.setattr(store, "hub", Hub())
    assert flow.step({"step": "resume", **who})["ok"]


OPERATORS_WORDS = ("disk", "space", "byte", "folder", "file", "schema", "JSON", "IFLLM_", "/")


@pytest.mark.parametrize(
    "refusal",
    [
        refusals.off(),
        refusals.malformed("events/0 of the upload is no array of the schema"),
        refusals.foreign_token(),
        refusals.gone(),
        refusals.session_full(9),
        refusals.too_many("uploads", 3.0),
        refusals.unknown_code(),
        refusals.session_missing(),
        refusals.disk_failed("No space left on device"),
    ],
    ids=lambda refusal: refusal.error,
)
def test_participants_hear_nothing_of_disks(
    flow: Flow, me: Reply, store: SessionStore, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    def refuse(*_: Any) -> Any:
        raise refusal

    monkeypatch.setattr(store, "append", refuse)
    monkeypatch.setattr(store, "withdraw", refuse)
    for reply in (ask(flow, me), flow.step({"step": "withdraw", "code": "A"})):
        assert not reply["ok"] and len(reply["reason"]) > 20
        assert not [word for word in OPERATORS_WORDS if word in reply["reason"]]
    assert said_of(refusal) != str(refusal)


def test_why_pieces_were_refused_has_words(flow: Flow) -> None:
    assert flow.step({"step": "begin"})["refused"] == PIECES
    assert not [w for w in OPERATORS_WORDS for words in PIECES.values() if w in words]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13)])
def test_a_broken_withdrawal_names_somebody_to_write_to(
    flow: Flow, store: SessionStore, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(code: str) -> Any:
        raise error

    monkeypatch.setattr(store, "withdraw", fail)
    reply = flow.step({"step": "withdraw", "code": "A"})
    assert reply["error"] == "failed" and "lab@example.org" in reply["reason"]


def test_length_is_told_before_anything_is_agreed_to(flow: Flow) -> None:
    length = flow.step({"step": "begin"})["length"]
    assert length["questions"] >= 1 and length["minutes"] >= length["questions"]
