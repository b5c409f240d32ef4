"""Answers from the dataset, from servers on this machine, and from a tiny model of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.responder import ModelAnswer
from ifllm_hf.errors import ConfigError
from ifllm_space.demo_data import DemoData, open_demo_data
from ifllm_space.responders import Hosted, Models, Replay, make_responder
from tests.helpers.loopback import Loopback, Request
from tests.helpers.loopback_judge import LoopbackJudge


@pytest.fixture(scope="module")
def data(prepared_small: Path) -> DemoData:
    return open_demo_data(prepared_small)


class Server(Loopback):
    """Speaks as much of OpenAI's protocol as a chat needs."""

    path = "/v1"
    status = 200
    wait_s = 0.0
    finish = "stop"
    text: str | None = "An answer."
    at_once = most_at_once = 0

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str | None] = []

    def answer(self, request: Request) -> None:
        body = json.loads(request.body())
        with self.lock:
            self.requests.append(body)
            self.keys.append(request.headers["Authorization"])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.wait_s)
        with self.lock:
            self.at_once -= 1
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "finish_reason": self.finish, "message": message}
        said = {"id": "1", "created": 1, "model": body["model"], "system_fingerprint": "x"}
        usage = {"completion_tokens": 1, "prompt_tokens": 1, "total_tokens": 2}
        request.send_json({**said, "choices": [choice], "usage": usage}, self.status)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def models(server: Server, **settings: Any) -> Models:
    return Models("openai", ["left", "right"], Hosted(64, base_url=server.url), **settings)


def test_a_pair_is_asked_at_once_each_with_its_own_past(server: Server) -> None:
    server.wait_s = 0.3
    past = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
    answers = models(server).answer("q2", [past, []])
    assert server.most_at_once == 2
    assert [a.model for a in answers.made] == ["left", "right"]
    assert [a.text for a in answers.made] == ["An answer."] * 2
    assert all(a.latency_ms and a.latency_ms >= 300 for a in answers.made)
    asked = {body["model"]: body for body in server.requests}
    new = {"role": "user", "content": "q2"}
    assert asked["left"]["messages"] == [*past, new]
    assert asked["right"]["messages"] == [new]
    assert asked["left"]["max_tokens"] == 64 == answers.made[0].parameters["max_tokens"]


def test_one_answer_asks_one_model(server: Server) -> None:
    (answer,) = models(server).answer("q", [[]]).made
    assert answer.model == "left" and len(server.requests) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"status": 429}, "busy"),
        ({"status": 503}, "busy"),
        ({"status": 504}, "timeout"),
        ({"status": 500}, "failed"),
        ({"text": " "}, "empty"),
        ({"text": None}, "empty"),
    ],
)
def test_what_goes_wrong_is_an_answer(server: Server, change: Any, error: str) -> None:
    vars(server).update(change)
    for answer in models(server).answer("q", [[], []]).made:
        assert (answer.error, answer.text, answer.failed) == (error, "", True)


def test_a_refusal_is_told_apart(server: Server) -> None:
    server.finish = "content_filter"
    (answer,) = models(server).answer("q", [[]]).made
    assert answer.refused and answer.error is None and answer.failed


def test_a_slow_model_is_given_up(server: Server) -> None:
    server.wait_s = 1.0
    answers = models(server, timeout_s=0.2).answer("q", [[], []])
    assert [a.error for a in answers.made] == ["timeout"] * 2
    assert [a.model for a in answers.made] == ["left", "right"]


def test_a_server_that_is_not_there(server: Server) -> None:
    asking = Hosted(8, base_url="http://127.0.0.1:9/v1")
    (answer,) = Models("openai", ["m"], asking).answer("q", [[]]).made
    assert answer.error == "unreachable"


def test_a_filter_that_answers_400_is_a_refusal_too() -> None:
    with LoopbackJudge(key="", mishaps=("azure filter",)) as running:
        asking = Hosted(8, base_url=running.url)
        (answer,) = Models("openai", ["m"], asking).answer("q", [[]]).made
    assert answer.refused and answer.error is None


def test_offline_servers_of_ones_own_are_asked_and_hugging_face_is_not(
    server: Server, data: DemoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (answer,) = models(server).answer("q", [[]]).made
    assert answer.text == "An answer."
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        make_responder(Settings(responder="hub", models=("m",)), data)


def test_hugging_face_is_asked_with_its_token(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ifllm_space.responders.ROUTER", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    (answer,) = Models("hub", ["org/name"], Hosted(8)).answer("q", [[]]).made
    assert answer.text == "An answer." and server.keys == ["Bearer hf_sesame"]


def test_half_a_character_never_reaches_a_file() -> None:
    def ask(model: str, messages: Any) -> ModelAnswer:
        return ModelAnswer("ok \ud83d", model)

    (answer,) = Models("local", ["m"], ask).answer("q", [[]]).made
    answer.text.encode()


def test_replay_returns_the_datasets_own_answers(data: DemoData) -> None:
    replay = Replay(data)
    questions = replay.questions("pairwise")
    assert questions and questions == sorted(set(questions))
    answers = replay.answer(questions[0], [[], []])
    turn = data.turn(int(answers.query_id or 0))
    assert turn["prompt"].strip() == questions[0]
    assert [a.text for a in answers.made] == [turn["response_a"], turn["response_b"]]
    assert [a.model for a in answers.made] == [turn["model_a"], turn["model_b"]]
    assert replay.answer("nothing like it", [[], []]).made[0].error == "failed"


@pytest.mark.parametrize("kind", ["pairwise", "pointwise"])
def test_replay_offers_nothing_that_goes_on_from_something(data: DemoData, kind: str) -> None:
    replay = Replay(data)
    offered = replay.questions(kind)
    turns = [data.turn(q) for q in data.index.filter(kind=kind)["query_id"]]
    first = {turn["prompt"].strip() for turn in turns if turn["turn"] == 1}
    assert set(offered) <= first and offered
    later = {turn["prompt"].strip() for turn in turns} - first
    assert later  # this data has follow-up questions
    for question in later:
        assert replay.answer(question, [[], []][: 1 + (kind == "pairwise")]).made[0].error


def test_the_operator_chooses(data: DemoData) -> None:
    assert make_responder(Settings(), data).name == "replay"
    made = make_responder(
        Settings(responder="openai", models=("m",), openai_base_url="http://127.0.0.1:9/v1"), data
    )
    assert made.free_questions and made.costs
    for wrong in (
        Settings(responder="somebody"),
        Settings(responder="hub"),
        Settings(responder="openai", models=("m",)),
    ):
        with pytest.raises(ConfigError, match="Expected"):
            make_responder(wrong, data)


def test_a_model_of_this_machine_answers(tmp_path: Path, data: DemoData) -> None:
    from ifllm_hf.training.tiny_models import build_tiny_model

    build_tiny_model("llama", tmp_path / "tiny", ["What is a map? It is a picture."])
    settings = Settings(responder="local", models=(str(tmp_path / "tiny"),), answer_tokens_max=5)
    responder = make_responder(settings, data)
    assert not responder.costs
    (answer,) = responder.answer("What is a map?", [[]]).made
    assert answer.error in (None, "empty") and answer.parameters.get("max_new_tokens", 5) == 5
