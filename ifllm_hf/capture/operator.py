"""Who is the operator: whoever runs the app on this machine, or is signed in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from ifllm_hf.capture.same_page import host_name
from ifllm_hf.capture.settings import Settings

_HERE = frozenset(("127.0.0.1", "::1", "localhost"))
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Visit(Protocol):
    """A request, of Starlette or of Gradio."""

    @property
    def client(self) -> Any:
        """Who sent it: `host` is the address."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case, as far as they are looked up here."""
        ...


class SignedIn(Protocol):
    """A user whom the Hub knows."""

    username: str


def in_space() -> bool:
    """Tell whether this is a Hugging Face Space."""
    return bool(os.environ.get("SPACE_ID"))


def can_sign_in(settings: Settings) -> bool:
    """Tell whether a button to sign in makes sense: in a Space with OAuth, for named operators."""
    oauth = os.environ.get("OAUTH_CLIENT_ID") and os.environ.get("OAUTH_CLIENT_SECRET")
    return bool(settings.operators and in_space() and oauth)


def may_see_sessions(settings: Settings, request: Visit | None, profile: SignedIn | None) -> bool:
    """Tell whether this visitor is an operator who wants to see collected sessions here."""
    return settings.show_sessions and is_operator(settings, request, profile)


def is_operator(settings: Settings, request: Visit | None, profile: SignedIn | None) -> bool:
    """Tell whether this visitor is an operator.

    In a Space it takes a signed-in user who is named in the settings. Elsewhere it takes a browser
    on this machine that reached the app directly: behind a proxy everyone comes from here.
    """
    if request is None:
        return False
    if in_space():
        return (
            can_sign_in(settings) and profile is not None and profile.username in settings.operators
        )
    return is_here(request.client.host if request.client else None, request.headers)


def is_here(client: str | None, headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes straight from this machine, by a name of this machine.

    A proxy that calls this machine by its own name, and says nothing of whom it speaks for, is
    found out by the page that a browser says it is on.
    """
    forwarded = any(headers.get(name) for name in _FORWARDED)
    pages = [headers[name] for name in ("origin", "referer") if headers.get(name)]
    names = {host_name(text) for text in [headers.get("host", ""), *pages]}
    return client in _HERE and names <= _HERE and not forwarded
