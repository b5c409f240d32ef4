"""Asking a server that speaks OpenAI's chat protocol, and what its refusals mean.

The judge and the Space share it. It is no `InferenceClient`, since that one asks no host at all
under `$HF_HUB_OFFLINE`, not even one of this machine.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ifllm_hf.errors import ConfigError
from ifllm_hf.retry import retry_after_s

ROUTER = "https://router.huggingface.co/v1"
"""Hugging Face's Inference Providers."""

TIMEOUT, UNREACHABLE, BUSY, BROKEN = "timeout", "unreachable", "busy", "broken"
"""It may pass: no answer in time, no connection, too much to do, an error of the server."""
TOO_LONG, FILTERED, REFUSED = "too long", "content filter", "refused"
"""It is about this question: another one may be answered."""
SETTINGS = "settings"
"""It is about key, address or model: no question will be answered."""

_OF_HUGGING_FACE = ("huggingface.co", "hf.co", "huggingface.cloud")
_SAYS_TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum context|exceed_context|max(imum)?.?(model|input).?len"
    r"|too many (input )?tokens|too.(long|large)|token limit|`inputs` tokens|max_length",
    re.IGNORECASE,
)
_SAYS_FILTERED = re.compile(
    r"content.?filter|content.?management|responsible.?ai|moderation|flagged|content.?policy"
    r"|data_inspection|prohibited|safety",
    re.IGNORECASE,
)
_SAYS_BUSY = re.compile(
    r"rate.?limit|too many requests|overload|capacity|busy|exhausted", re.IGNORECASE
)
_SAYS_UNPAID = re.compile(r"insufficient_quota|insufficient.{0,10}(credit|balance)", re.IGNORECASE)
_WAIT = re.compile(
    r"(?:again|retry|wait)[^.\d]{0,20}?(?:in|after|for)?\s+(?:(\d+)m)?(\d+(?:\.\d+)?)\s*(ms|s\b|sec|$)",
    re.IGNORECASE,
)
_WAIT_KEYS = {
    "retry_after": 1.0, "retryafter": 1.0, "retry_after_seconds": 1.0, "retrydelay": 1.0,
    "retry_after_ms": 1e-3, "estimated_time": 1.0,
}  # fmt: skip
_SAID_CHARS = 200
_LOOKED_THROUGH_CHARS = 50_000  # for those: tags and styles of a page stand before its words


class NoAnswer(Exception):  # noqa: N818  (whose fault it is depends on `kind`)
    """A chat server did not answer.

    Attributes:
        kind: One of the kinds above.
        said: What the server said, in one line.
        status: HTTP status, of the response or of the error in it; None if nothing came.
        wait_s: How long it asks to wait; None if it does not say.
    """

    def __init__(
        self, kind: str, said: str, status: int | None = None, wait_s: float | None = None
    ) -> None:
        """Keep what was seen."""
        super().__init__(f"the server answered {status} ({said})" if status else said)
        self.kind, self.said, self.status, self.wait_s = kind, said, status, wait_s

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be answered later."""
        return self.kind in (TIMEOUT, UNREACHABLE, BUSY, BROKEN)


class ChatServer:
    """One server; may be used by many threads."""

    def __init__(self, base_url: str, key: str | None, timeout_s: float) -> None:
        """Check the address and make a client; nothing is sent yet.

        Args:
            base_url: Up to `/v1`; the whole address, to `/chat/completions`, is taken too.
            key: Sent as bearer token.
            timeout_s: Of connecting, and of every wait for more of an answer.

        Raises:
            ConfigError: No such address can be, the key is no text of a header, or it is a host of
                Hugging Face and `$HF_HUB_OFFLINE` is set.
        """
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

        self.url = _completions(base_url)
        self._timeout_s, self._httpx = timeout_s, httpx
        self._key = (key or "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise ConfigError(
                f"the key for {base_url} has characters that no key has; copy it anew"
            )
        self._client = httpx.Client(
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            limits=httpx.Limits(max_connections=None),
            # Reading all certificates takes a tenth of a second, and plain HTTP needs none.
            verify=self.url.startswith("https"),
        )
        weakref.finalize(self, self._client.close)

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post a chat completion and return what came back.

        Raises:
            NoAnswer: There is none; it says whose fault it is.
        """
        # Half an emoji has no UTF-8, and strict servers refuse its escape.
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        httpx = self._httpx
        try:
            answer = self._client.post(
                self.url, content=content, headers={"Content-Type": "application/json"}
            )
        except httpx.TimeoutException as error:
            raise NoAnswer(TIMEOUT, f"no answer within {self._timeout_s:g} s") from error
        except httpx.RequestError as error:
            raise NoAnswer(UNREACHABLE, f"the connection failed ({error})") from error
        try:
            said = answer.json()
        except (ValueError, RecursionError):
            said = None
        status = answer.status_code
        if 200 <= status < 300:
            if not isinstance(said, dict):
                raise NoAnswer(BROKEN, f"what came is no JSON object ({self._line(answer.text)})")
            inside = _error_inside(said)
            if inside is None:
                return said
            said, status = inside, _status_of(inside)
        words = json.dumps(said, ensure_ascii=False) if said is not None else answer.text
        wait_s = retry_after_s(answer.headers)
        raise NoAnswer(
            _kind(status, words),
            self._line(_message(said) or answer.text or "nothing"),
            status,
            _wait_inside(said) if wait_s is None else wait_s,
        )

    def _line(self, text: str) -> str:
        """Return the beginning of a text as one line without tags, and never the key."""
        text = text[:_LOOKED_THROUGH_CHARS]
        line = " ".join(
            re.sub(r"<(style|script).*?</\1>|</?[a-zA-Z!][^>]*>", " ", text, flags=re.S).split()
        )
        return (line.replace(self._key, "***") if self._key else line)[:_SAID_CHARS]


def text_of_answer(choice: Mapping[str, Any]) -> str | None:
    """Return the text of a choice: its content, or the text parts of it; None if it has none."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        texts = [
            p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)
        ]
        return "".join(texts) or None
    return content if isinstance(content, str) else None


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first choice of a completion; empty if it has none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _completions(base_url: str) -> str:
    try:
        parts = urlsplit(base_url.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"{base_url!r} is no address of a server; expected one such as http://localhost:8000/v1"
        )
    if parts.username or parts.password:
        raise ConfigError(
            f"the address of {parts.hostname} holds a name or a password, which would stand in "
            "messages and reports; write it without, and set the key in the environment"
        )
    from huggingface_hub import constants

    host = str(parts.hostname).casefold()
    theirs = any(host == name or host.endswith(f".{name}") for name in _OF_HUGGING_FACE)
    if theirs and constants.HF_HUB_OFFLINE:
        raise ConfigError(
            f"{host} is not asked, HF_HUB_OFFLINE is set; unset it, or name the address of another "
            "server"
        )
    path = parts.path.rstrip("/")
    path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def _error_inside(said: dict[str, Any]) -> Any:
    """Return the error that stands in a response of status 200, None if there is none."""
    error = said.get("error") or first_choice(said).get("error")
    return error if error and text_of_answer(first_choice(said)) is None else None


def _status_of(error: Any) -> int:
    """Return the status that an error names, else the one that its words mean."""
    code = error.get("code") or error.get("status") if isinstance(error, dict) else None
    if isinstance(code, int | str) and str(code).isdecimal() and 400 <= int(code) < 600:
        return int(code)
    words = json.dumps(error)
    if _SAYS_BUSY.search(words):
        return 429
    return 400 if _SAYS_TOO_LONG.search(words) or _SAYS_FILTERED.search(words) else 500


def _kind(status: int, words: str) -> str:
    if status == 408 or status in (504, 524):
        return TIMEOUT
    if status == 429:
        return SETTINGS if _SAYS_UNPAID.search(words) else BUSY
    if status in (425, 503, 529):
        return BUSY
    if status == 409 or status >= 500:
        return BROKEN
    if status in (400, 403, 413, 422, 451):
        if status == 451 or _SAYS_FILTERED.search(words):
            return FILTERED
        if status == 413 or (status != 403 and _SAYS_TOO_LONG.search(words)):
            return TOO_LONG
        return SETTINGS if status == 403 else REFUSED
    return SETTINGS


def _message(said: Any) -> str:
    """Return what an error says, in the layouts of the servers that there are."""
    if isinstance(said, str):
        return said
    if isinstance(said, dict):
        for name in ("error", "message", "detail", "error_message"):
            if said.get(name):
                return _message(said[name])
    return "" if said is None else json.dumps(said, ensure_ascii=False)


def _wait_inside(said: Any) -> float | None:
    """Return the seconds that the body of an error asks to wait; None if it does not say."""
    for name, value in _leaves(said):
        name = name.casefold().replace("-", "_")
        if name in _WAIT_KEYS and (number := re.fullmatch(r"(\d+(?:\.\d+)?)s?", str(value))):
            return float(number[1]) * _WAIT_KEYS[name]
        if name in ("", "message", "error", "detail") and (asked := _WAIT.search(str(value))):
            unit = 1e-3 if asked[3].casefold() == "ms" else 1.0
            return 60.0 * int(asked[1] or 0) + float(asked[2]) * unit
    return None


def _leaves(said: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(said, dict):
        for key, value in said.items():
            yield from _leaves(value, str(key))
    elif isinstance(said, list):
        for value in said:
            yield from _leaves(value, name)
    else:
        yield name, said
