"""One request to a chat endpoint: any OpenAI-compatible server, or Hugging Face inference."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.errors import ConfigError
from ifllm_hf.retry import TryAgain, retry_after_s

# Sends the body of a chat completion and returns what came back.
Transport = Callable[[dict[str, Any]], dict[str, Any]]

_PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)


@contextlib.contextmanager
def openai_transport(settings: JudgeSettings) -> Iterator[Transport]:
    """Give what posts to `{base_url}/chat/completions`; it may be used by many threads."""
    key = os.environ.get(settings.api_key_env)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"{settings.base_url.rstrip('/')}/chat/completions"

    def send(body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = client.post(url, json=body)
        except httpx.TimeoutException as error:
            raise TryAgain(f"no answer within {settings.timeout_s:g} s") from error
        except httpx.TransportError as error:
            raise TryAgain(f"the connection failed ({error})") from error
        _check_status(answer.status_code, answer.headers, answer.text, settings, url)
        try:
            content = answer.json()
        except ValueError as error:
            raise TryAgain("the server's answer is not JSON") from error
        return content if isinstance(content, dict) else {}

    with httpx.Client(timeout=settings.timeout_s, headers=headers) as client:
        yield send


@contextlib.contextmanager
def huggingface_transport(settings: JudgeSettings) -> Iterator[Transport]:
    """Give what asks Inference Providers, or an Inference Endpoint named by its address."""
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, OfflineModeIsEnabled

    client = InferenceClient(
        model=settings.model,
        provider=cast(Any, settings.provider),  # InferenceClient checks the name
        timeout=settings.timeout_s,
    )

    def send(body: dict[str, Any]) -> dict[str, Any]:
        named = ("messages", "temperature", "max_tokens", "response_format")
        asked = {key: body[key] for key in named if key in body}
        more = {key: value for key, value in body.items() if key not in (*named, "model")}
        try:
            return dict(client.chat_completion(**asked, extra_body=more or None))
        except InferenceTimeoutError as error:
            raise TryAgain(f"no answer within {settings.timeout_s:g} s") from error
        except HfHubHTTPError as error:
            answer = error.response
            _check_status(
                answer.status_code, answer.headers, str(error), settings, str(settings.model)
            )
            raise TryAgain(f"the server answered {answer.status_code}") from error
        except OfflineModeIsEnabled as error:
            raise ConfigError(
                "judge.kind is huggingface, but HF_HUB_OFFLINE is set; unset it, or use kind: "
                "endpoint with a base_url"
            ) from error
        except httpx.TransportError as error:
            raise TryAgain(f"the connection failed ({error})") from error

    yield send


def _check_status(
    status: int, headers: Mapping[str, str], text: str, settings: JudgeSettings, where: str
) -> None:
    """Raise unless a request went well.

    Raises:
        TryAgain: It may pass.
        ConfigError: It will not.
    """
    if 200 <= status < 300:
        return
    said = " ".join(text.split())[:200]
    if status in _PASSING:
        raise TryAgain(f"the server answered {status} ({said})", retry_after_s(headers))
    if status in (401, 403):
        todo = (
            "run 'hf auth login' or set HF_TOKEN"
            if settings.kind == "huggingface"
            else f"put a key that may use it into {settings.api_key_env}"
        )
    elif status == 404:
        todo = "check judge.base_url (it ends in /v1) and judge.model"
    else:
        todo = (
            "if it does not know response_format, set judge.structured: json_object or none; else "
            "check judge.model"
        )
    raise ConfigError(f"{where} answered {status} for {settings.model} ({said}); {todo}")
