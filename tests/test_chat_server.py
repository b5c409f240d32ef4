"""What other servers say when they refuse, and what it is taken for."""

from __future__ import annotations

import pytest

from ifllm_hf.chat_server import UNREACHABLE, ChatServer, NoAnswer, text_of_answer
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.chat_errors import ERRORS
from tests.helpers.loopback_judge import LoopbackJudge

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "half an emoji: \ud83d"}]}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_of_its_kind(name: str) -> None:
    expected = ERRORS[name]
    with LoopbackJudge(key="", mishaps=(name,)) as server, pytest.raises(NoAnswer) as caught:
        ChatServer(server.url, None, 5.0).ask(QUESTION)
    got = caught.value
    assert (got.kind, got.wait_s) == (expected.kind, expected.wait_s)
    assert expected.says in got.said
    assert "\n" not in str(got) and "<h" not in got.said and len(got.said) <= 200


@pytest.mark.parametrize("status", [*range(500, 512), *range(520, 531), 598, 599])
def test_every_5xx_may_pass(status: int) -> None:
    with LoopbackJudge(key="", mishaps=(str(status),)) as server, pytest.raises(NoAnswer) as caught:
        ChatServer(server.url, None, 5.0).ask(QUESTION)
    assert caught.value.may_pass


def test_a_broken_connection_may_pass_and_an_address_that_is_none_is_refused() -> None:
    with LoopbackJudge(key="", mishaps=("drop",)) as server, pytest.raises(NoAnswer) as caught:
        ChatServer(server.url, None, 5.0).ask(QUESTION)
    assert caught.value.kind == UNREACHABLE and caught.value.may_pass
    for wrong in ("localhost:8000/v1", "", "http://", "http://host:port/v1", "ftp://host/v1"):
        with pytest.raises(ConfigError, match="address"):
            ChatServer(wrong, None, 5.0)
    for key in ("a\nb", "schlüssel"):
        with pytest.raises(ConfigError, match="key") as refused:
            ChatServer("http://127.0.0.1:9/v1", key, 5.0)
        assert key not in str(refused.value)


def test_a_server_that_repeats_the_key_does_not_bring_it_into_a_message() -> None:
    class Talkative(LoopbackJudge):
        def refuse(self, request, status, why, wait=None):  # type: ignore[no-untyped-def]
            super().refuse(request, status, f"no such key: {request.headers['Authorization']}")

    with Talkative(key="other") as server, pytest.raises(NoAnswer) as caught:
        ChatServer(server.url, " sesame-open\n", 5.0).ask(QUESTION)
    assert "no such key" in caught.value.said and "sesame-open" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h:8000/v1", "http://h:8000/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("https://h/openai/v1?api-version=1", "https://h/openai/v1/chat/completions?api-version=1"),
    ],
)
def test_an_address_may_be_given_whole(base_url: str, url: str) -> None:
    assert ChatServer(base_url, None, 5.0).url == url


def test_offline_only_hugging_face_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for open_address in ("http://127.0.0.1:9/v1", "http://judge.lab/v1", "https://nothf.co/v1"):
        ChatServer(open_address, None, 5.0)
    for closed in ("https://router.huggingface.co/v1", "https://x.endpoints.huggingface.cloud/v1"):
        with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
            ChatServer(closed, None, 5.0)


def test_the_text_of_an_answer_may_come_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"text": "b"}]
    assert text_of_answer({"message": {"content": parts}}) == "ab"
    assert text_of_answer({"message": {"content": None}}) is None
    assert text_of_answer({}) is text_of_answer({"message": None}) is None


def test_no_password_of_an_address_gets_into_a_message() -> None:
    with pytest.raises(ConfigError, match="password") as refused:
        ChatServer("http://me:open-sesame@127.0.0.1:9/v1", None, 1.0)
    assert "sesame" not in str(refused.value)
