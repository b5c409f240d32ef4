"""The judge against a server on the loopback interface that speaks the real protocol."""

from __future__ import annotations

from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.endpoint import EndpointJudge
from ifllm_hf.alignment.judge.verdict import Comparison, Judged
from ifllm_hf.errors import ConfigError, SourceError
from tests.helpers.loopback_judge import LoopbackJudge as Server

PAIR = Comparison("p0", "r0", "Why?", "short", "a good deal longer than that")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")


def ask(server: Any, pairs: Any = None, waits: list[float] | None = None, **settings: Any) -> Any:
    settings = {"timeout_s": 5.0, "concurrency": 1, **settings}
    judge = EndpointJudge(
        JudgeSettings(
            kind="endpoint",
            model="judge-1",
            base_url=server.url,
            api_key_env="JUDGE_KEY",
            **settings,
        ),
        sleep=(waits if waits is not None else []).append,
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


def test_hugging_face_inference_speaks_the_same(monkeypatch: Any) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "sesame")
    monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
    waits: list[float] = []
    with Server(key="", mishaps=("429 3", "wrong schema", "hang")) as server:
        settings = JudgeSettings(
            kind="huggingface",
            model=server.url + "/chat/completions",
            concurrency=1,
            timeout_s=0.3,
            request={"seed": 7, "top_k": 1},
        )
        got = only(list(EndpointJudge(settings, sleep=waits.append).judge([(PAIR, "baseline")])))
    assert got.verdict is not None and got.verdict.winner == "second"
    assert got.usage.requests == 2 and got.usage.malformed == 1
    assert waits[0] == 3.0 and len(waits) == 2
    assert server.requests[0]["seed"] == 7 and server.requests[0]["top_k"] == 1
    assert server.problems == []
    huggingface_hub.close_session()


def test_hugging_face_inference_offline_says_so(monkeypatch: Any) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    settings = JudgeSettings(kind="huggingface", model="http://127.0.0.1:9/v1/chat/completions")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        list(EndpointJudge(settings).judge([(PAIR, "baseline")]))
