"""Who is the operator, and sees collected sessions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ifllm_hf.capture.operator import is_here, may_see_sessions
from ifllm_hf.capture.settings import Settings


def request(host: str = "localhost:7860", client: str = "127.0.0.1", **headers: str) -> Any:
    from starlette.requests import Request

    raw = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "client": (client, 1),
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }
    import gradio as gr

    return gr.Request(Request(scope))


class Profile:
    """What Gradio knows of a signed-in user."""

    def __init__(self, username: str) -> None:
        self.username = username


SHOWING = Settings(show_sessions=True, operators=("ann",))


def test_sessions_are_shown_on_this_machine_if_the_operator_wants_it() -> None:
    assert may_see_sessions(SHOWING, request(), None)
    assert may_see_sessions(SHOWING, request("127.0.0.1:80"), None)
    assert may_see_sessions(SHOWING, request("[::1]:80", "::1"), None)
    assert not may_see_sessions(Settings(), request(), None)
    assert not may_see_sessions(SHOWING, None, None)


@pytest.mark.parametrize(
    "other",
    [
        {"client": "10.0.0.7"},
        {"x_forwarded_for": "10.0.0.7"},
        {"forwarded": "for=10.0.0.7"},
        {"host": "evil.example"},  # a page that had its name point here
        # A proxy that passes on neither Host nor whom it speaks for:
        {"origin": "http://space.example"},
        {"referer": "http://space.example/"},
        {"origin": "null"},
        {"x_forwarded_host": "space.example"},
    ],
)
def test_sessions_are_not_shown_to_others(other: dict[str, str]) -> None:
    assert not may_see_sessions(SHOWING, request(**other), None)


def test_in_a_space_only_a_named_signed_in_user_sees_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann: Any = Profile("ann")
    monkeypatch.setenv("SPACE_ID", "lab/readers")
    assert not may_see_sessions(SHOWING, request(), ann)  # without OAuth anyone can be Ann
    monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "secret")
    assert may_see_sessions(SHOWING, request("lab.hf.space", "10.0.0.1"), ann)
    bob: Any = Profile("bob")
    assert not may_see_sessions(SHOWING, request(), bob)
    assert not may_see_sessions(SHOWING, request(), None)
    quiet = dataclasses.replace(SHOWING, show_sessions=False)
    assert not may_see_sessions(quiet, request(), ann)


def test_a_request_without_a_host_is_not_from_here() -> None:
    assert not is_here("127.0.0.1", {})
    assert not is_here(None, {"host": "localhost"})
