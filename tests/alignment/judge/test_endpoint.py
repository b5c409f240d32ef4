"""The judge against a server on the loopback interface that speaks the real protocol."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.endpoint import EndpointJudge
from ifllm_hf.alignment.judge.verdict import Comparison, Judged
from ifllm_hf.chat_server import FILTERED, REFUSED, SETTINGS, TOO_LONG
from ifllm_hf.errors import ConfigError, SourceError
from tests.helpers.alignment.chat_errors import ERRORS, WRAPPED
from tests.helpers.loopback_judge import LoopbackJudge as Server

ON_ITS_WAY = 1
"""A thread may have begun with the next question when the others are called off."""
ROOM_S = 0.05
"""What an answer takes where they are called off: else a thread is through with the next one."""

PAIR = Comparison("p0", "r0", "Why?", "short", "a good deal longer than that")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")


def settings_of(server: Any, **settings: Any) -> JudgeSettings:
    settings = {"timeout_s": 5.0, "concurrency": 1, "model": "judge-1", **settings}
    return JudgeSettings(
        kind="endpoint", base_url=server.url, api_key_env="JUDGE_KEY", **settings
    )  # fmt: skip


def ask(server: Any, pairs: Any = None, waits: list[float] | None = None, **settings: Any) -> Any:
    judge = EndpointJudge(
        settings_of(server, **settings), sleep=(waits if waits is not None else []).append
    )
    pairs = pairs or [(PAIR, "baseline")]
    return list(judge.judge(pairs))


def only(judged: list[Judged]) -> Judged:
    assert len(judged) == 1
    return judged[0]


def test_a_verdict_in_each_order() -> None:
    with Server() as server:
        got = ask(server, [(PAIR, "baseline"), (PAIR, "candidate")])
    assert {(j.first, j.verdict.winner, j.verdict.win) for j in got} == {
        ("baseline", "second", 1.0), ("candidate", "first", 1.0),
    }  # fmt: skip
    assert server.problems == []
    one, two = (body["messages"][-1]["content"] for body in server.requests)
    assert one.index("short") < one.index("a good deal")
    assert two.index("a good deal") < two.index("short")


def test_the_request_is_strict_and_cold() -> None:
    with Server() as server:
        ask(server)
    (body,) = server.requests
    assert body["model"] == "judge-1" and body["temperature"] == 0
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("structured", ["json_object", "none"])
def test_servers_that_know_less_can_be_asked_for_less(structured: str) -> None:
    with Server() as server:
        assert only(ask(server, structured=structured)).verdict is not None
    wanted = server.requests[0].get("response_format")
    assert wanted == (None if structured == "none" else {"type": "json_object"})


def test_models_that_want_other_names_get_them_and_the_report_says_so() -> None:
    other = {"max_tokens": None, "max_completion_tokens": 99, "temperature": None}
    with Server() as server:
        assert only(ask(server, request=other)).verdict is not None
    (body,) = server.requests
    assert body["max_completion_tokens"] == 99
    assert "max_tokens" not in body and "temperature" not in body
    judge = EndpointJudge(JudgeSettings(kind="endpoint", model="m", request=other))
    plain = EndpointJudge(JudgeSettings(kind="endpoint", model="m"))
    assert "m at its own temperature" in judge.protocol and "m at temperature 0" in plain.protocol
    assert judge.identity != plain.identity


def test_a_429_waits_as_long_as_it_is_told() -> None:
    waits: list[float] = []
    with Server(mishaps=("429 7",)) as server:
        assert only(ask(server, waits=waits)).verdict is not None
    assert waits == [7.0] and len(server.requests) == 2


def test_without_retry_after_the_wait_doubles() -> None:
    waits: list[float] = []
    with Server(mishaps=("429", "500", "503", "502")) as server:
        assert only(ask(server, waits=waits)).verdict is not None
    assert len(waits) == 4
    for k, wait in enumerate(waits):
        assert 0.5 * 2**k <= wait <= 2**k


@pytest.mark.parametrize("mishap", ["hang", "drop", "html"])
def test_what_may_pass_is_tried_again(mishap: str) -> None:
    with Server(mishaps=(mishap,)) as server:
        got = only(ask(server, timeout_s=0.2 if mishap == "hang" else 5.0))
    assert got.verdict is not None and got.usage.requests == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize("mishap", ["not json", "prose", "wrong schema", "empty", "no choices"])
def test_an_answer_that_is_no_verdict_is_asked_for_again_and_counted(mishap: str) -> None:
    with Server(mishaps=(mishap, mishap)) as server:
        got = only(ask(server))
    assert got.verdict is not None
    assert (got.usage.requests, got.usage.malformed) == (3, 2)
    assert got.usage.output_tokens == 30
    assert server.problems == []
    repair = server.requests[1]["messages"]
    assert [m["role"] for m in repair[-3:]] == ["user", "assistant", "user"]
    assert "cannot be used" in repair[-1]["content"]


def test_malformed_to_the_end_is_a_failure_of_that_pair_alone() -> None:
    other = Comparison("p1", "r1", "And why?", "short", "a good deal longer than that")
    with Server(mishaps=("prose",) * 3) as server:
        got = ask(server, [(PAIR, "baseline"), (other, "baseline")], tries=3)
    failed, fine = sorted(got, key=lambda j: j.comparison.prompt_id)
    assert failed.verdict is None and "not JSON" in str(failed.failed)
    assert failed.usage.malformed == 3
    assert fine.verdict is not None


def test_a_server_that_stays_down_stops_the_run_with_one_message() -> None:
    with Server(mishaps=("503",) * 9) as server, pytest.raises(SourceError) as error:
        ask(server, tries=3)
    assert "3 tries" in str(error.value) and "503" in str(error.value)
    assert "kept" in str(error.value)
    assert len(server.requests) == 3


def test_nobody_there_is_one_message() -> None:
    with Server() as server:
        pass
    with pytest.raises(SourceError, match="connection failed"):
        ask(server, tries=2)


@pytest.mark.parametrize(
    ("mishap", "says"),
    [("403", "JUDGE_KEY"), ("404", "base_url"), ("400", "judge.structured")],
)
def test_what_will_not_pass_is_not_tried_again(mishap: str, says: str) -> None:
    with Server(mishaps=(mishap,)) as server, pytest.raises(ConfigError, match=says):
        ask(server)
    assert len(server.requests) == 1


def test_a_wrong_key_names_the_variable_and_never_the_key(monkeypatch: Any) -> None:
    monkeypatch.setenv("JUDGE_KEY", "wrong-secret")
    with Server() as server, pytest.raises(ConfigError) as error:
        ask(server)
    assert "JUDGE_KEY" in str(error.value) and "wrong-secret" not in str(error.value)


def test_a_server_without_schemas_says_what_to_set() -> None:
    with Server() as server:
        server.knows_schema = False
        with pytest.raises(ConfigError, match="judge.structured"):
            ask(server)
        assert only(ask(server, structured="none")).verdict is not None


def test_when_one_request_fails_for_good_the_finished_ones_are_handed_on() -> None:
    pairs = [
        (Comparison(f"p{i}", "r", f"Why {i}?", "short", "much longer than that"), "baseline")
        for i in range(12)
    ]
    got: list[Judged] = []
    with Server(mishaps=("", "", "", "403")) as server:
        settings = JudgeSettings(
            kind="endpoint", model="m", base_url=server.url, api_key_env="JUDGE_KEY", concurrency=2
        )
        with pytest.raises(ConfigError):
            for judged in EndpointJudge(settings).judge(pairs):
                got.append(judged)
    assert len(got) == len(server.requests) - 1
    assert len(server.requests) < 12


def pairs(n: int) -> list[tuple[Comparison, str]]:
    return [
        (Comparison(f"p{i}", "r", f"Why {i}?", "short", "much longer than that"), "baseline")
        for i in range(n)
    ]


@pytest.mark.parametrize("name", ERRORS)
def test_what_other_servers_say_becomes_a_wait_a_pair_without_verdict_or_a_stop(name: str) -> None:
    expected, waits = ERRORS[name], list[float]()
    with Server(
        mishaps=("", name), answer_s=ROOM_S if expected.kind == SETTINGS else 0.0
    ) as server:
        if expected.kind == SETTINGS:
            with pytest.raises(ConfigError, match=r"judge|JUDGE_KEY"):
                ask(server, pairs(9), waits)
            assert len(server.requests) <= 2 + ON_ITS_WAY
            return
        _, second, *others = ask(server, pairs(4), waits)
    assert all(j.verdict is not None for j in others) and len(others) == 2
    if expected.kind in (TOO_LONG, FILTERED, REFUSED):
        assert second.verdict is None and second.refused and second.failed and waits == []
    else:
        assert second.verdict is not None and len(waits) == 1
        assert expected.wait_s in (None, *waits)


@pytest.mark.parametrize("name", WRAPPED)
def test_thoughts_and_fences_around_a_verdict_are_forgiven(name: str) -> None:
    with Server(mishaps=(name,)) as server:
        got = only(ask(server))
    assert got.verdict is not None and got.verdict.winner == "second" and got.usage.malformed == 0


def test_a_thought_that_never_ends_is_none() -> None:
    for thought in ('<think>\n{"winner": "first"}', "<|channel|>analysis", "[THINK] so"):
        with Server(mishaps=(f"={thought}",)) as server:
            assert only(ask(server)).usage.malformed == 1
        assert server.requests[1]["messages"][-2]["content"] == "(nothing)"


def test_an_answer_that_was_cut_names_max_tokens_and_is_not_asked_for_again() -> None:
    with Server(mishaps=("", "cut")) as server:
        _, got = ask(server, pairs(2), max_tokens=77)
    assert got.verdict is None and not got.refused and "max_tokens (77)" in str(got.failed)
    assert len(server.requests) == 2


def test_the_run_stops_if_the_first_ones_are_all_refused() -> None:
    with (
        Server(mishaps=("openai parameter",) * 9, answer_s=ROOM_S) as server,
        pytest.raises(ConfigError) as error,
    ):
        ask(server, pairs(9), stop_after=3)
    assert 3 <= len(server.requests) <= 3 + ON_ITS_WAY
    assert "max_completion_tokens" in str(error.value) and "judge.request" in str(error.value)


def test_refused_questions_before_the_first_verdict_are_the_questions_fault_then() -> None:
    with Server(mishaps=("vllm context",) * 2) as server:
        got = ask(server, pairs(4), stop_after=3)
    assert [j.refused for j in got] == [True, True, False, False]


def test_a_judge_that_worked_before_may_refuse_all_that_is_left() -> None:
    with Server(mishaps=("vllm context",) * 9) as server:
        judge = EndpointJudge(settings_of(server, stop_after=3))
        got = list(judge.judge(pairs(9), worked_before=True))
    assert len(got) == 9 and all(j.refused for j in got)


@pytest.mark.parametrize(
    ("mishap", "asked"), [("prose", 2 * 3), ("cut", 3), ("empty", 2 * 3), ("azure filter", 3)]
)
def test_the_run_stops_early_if_nothing_can_be_used(mishap: str, asked: int) -> None:
    with (
        Server(mishaps=(mishap,) * 40, answer_s=ROOM_S) as server,
        pytest.raises(ConfigError, match="judge"),
    ):
        ask(server, pairs(20), stop_after=3, tries=2)
    assert asked <= len(server.requests) <= asked + ON_ITS_WAY


def test_the_run_stops_if_a_judge_that_gave_verdicts_gives_none_for_long() -> None:
    got: list[Judged] = []
    with (
        Server(mishaps=("",) + ("prose",) * 40, answer_s=ROOM_S) as server,
        pytest.raises(ConfigError),
    ):
        for judged in EndpointJudge(settings_of(server, stop_after=2, tries=1)).judge(pairs(40)):
            got.append(judged)
    assert [j.verdict is not None for j in got[:9]] == [True] + [False] * 8
    assert len(got) == len(server.requests) <= 9 + ON_ITS_WAY


def test_one_question_that_never_gets_an_answer_does_not_stop_the_others() -> None:
    with Server(mishaps=("", "empty 500", "empty 500")) as server:
        _, lost, third = ask(server, pairs(3), tries=2)
    assert lost.verdict is None and not lost.refused and "no answer" in str(lost.failed)
    assert third.verdict is not None


def test_what_a_failure_cost_is_handed_on() -> None:
    got: list[Judged] = []
    with Server(mishaps=("prose", "403")) as server, pytest.raises(ConfigError):
        for judged in EndpointJudge(settings_of(server)).judge(pairs(1)):
            got.append(judged)
    assert [(j.verdict, j.usage.requests, j.usage.output_tokens) for j in got] == [(None, 1, 10)]


def test_what_was_being_answered_at_ctrl_c_is_handed_on() -> None:
    def interrupted(question: str, first: str, second: str) -> tuple[int, int, str]:
        if question == "Why 1?":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return 3, 4, "second"

    got: list[Judged] = []
    # A shell starts what runs in the background with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Server(interrupted, answer_s=ROOM_S) as server, pytest.raises(KeyboardInterrupt):
            for judged in EndpointJudge(settings_of(server)).judge(pairs(9)):
                got.append(judged)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(got) == len(server.requests) <= 2 + ON_ITS_WAY and all(j.verdict for j in got)


def test_half_an_emoji_is_asked_and_answered() -> None:
    pair = Comparison("p0", "r0", "Why \ud83d?", "short", "a good deal longer \ude00")
    said = {"reason": "\ud83d!", "score_first": 1, "score_second": 2, "winner": "second"}
    with Server(mishaps=(f"={json.dumps(said)}",)) as server:
        got = only(ask(server, [(pair, "baseline")]))
    assert got.verdict is not None and got.verdict.reason == "?!"


def test_hugging_face_inference_speaks_the_same(monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame")
    waits: list[float] = []
    with Server(mishaps=("429 3", "wrong schema", "hang")) as server:
        monkeypatch.setattr("ifllm_hf.alignment.judge.endpoint.ROUTER", server.url)
        settings = JudgeSettings(
            kind="huggingface", model="org/name", provider="novita", concurrency=1,
            timeout_s=0.3, request={"seed": 7, "top_k": 1},
        )  # fmt: skip
        got = only(list(EndpointJudge(settings, sleep=waits.append).judge([(PAIR, "baseline")])))
    assert got.verdict is not None and got.verdict.winner == "second"
    assert got.usage.requests == 2 and got.usage.malformed == 1
    assert waits[0] == 3.0 and len(waits) == 2
    body = server.requests[0]
    assert (body["model"], body["seed"], body["top_k"]) == ("org/name:novita", 7, 1)
    assert server.problems == []


def test_offline_servers_of_ones_own_judge_and_hugging_face_says_so(monkeypatch: Any) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", "sesame")
    with Server() as server:
        assert only(ask(server)).verdict is not None
        own = JudgeSettings(kind="huggingface", model=server.url.removesuffix("/v1"))
        assert only(list(EndpointJudge(own).judge([(PAIR, "baseline")]))).verdict is not None
    for closed in (
        JudgeSettings(kind="huggingface", model="org/name"),
        JudgeSettings(kind="endpoint", model="m", base_url="https://router.huggingface.co/v1"),
    ):
        with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
            list(EndpointJudge(closed).judge([(PAIR, "baseline")]))


def test_any_temperature_can_be_told() -> None:
    with Server() as server:
        for value, said in (({}, "temperature 0,"), ({"temperature": "0.5"}, "temperature 0.5,")):
            assert said in EndpointJudge(settings_of(server, request=value)).protocol
