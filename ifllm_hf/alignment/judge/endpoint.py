"""A model behind an endpoint as judge: both orders, temperature 0, checked answers, retries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.rubric import (
    RUBRIC_ID,
    MalformedAnswer,
    messages,
    read_verdict,
    response_format,
)
from ifllm_hf.alignment.judge.transport import (
    Transport,
    huggingface_transport,
    openai_transport,
)
from ifllm_hf.alignment.judge.verdict import BASELINE, CANDIDATE, Comparison, Judged, Usage
from ifllm_hf.errors import IFLLMError, SourceError
from ifllm_hf.retry import TryAgain, pause_s

logger = logging.getLogger(__name__)


class EndpointJudge:
    """Asks a model for a verdict on every pair, once in each order."""

    pointwise = False  # answers are compared

    def __init__(
        self,
        settings: JudgeSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep the settings; nothing is sent yet.

        Args:
            settings: Which model, where, and how patiently.
            sleep: What waits between tries.
        """
        self.settings = settings
        self._sleep = sleep

    @property
    def protocol(self) -> str:
        """How it judges."""
        return (
            f"{self.settings.model} at {self._temperature()}, each pair in both orders, averaged, "
            f"scores 1 to 10 and a winner by rubric {RUBRIC_ID}, answers checked against a "
            "JSON schema"
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a verdict depends on beside question and answers."""
        where = (
            {"provider": self.settings.provider}
            if self.settings.kind == "huggingface"
            else {"base_url": self.settings.base_url.rstrip("/")}
        )
        return {
            "model": self.settings.model,
            **where,
            "rubric": RUBRIC_ID,
            "structured": self.settings.structured,
            "max_tokens": self.settings.max_tokens,
            "request": self.settings.request,
        }

    def orders(self, comparison: Comparison) -> Sequence[str]:
        """Return both orders."""
        return (BASELINE, CANDIDATE)

    def judge(self, asked: Sequence[tuple[Comparison, str]]) -> Iterator[Judged]:
        """Ask with several requests at a time; yield answers as they come.

        Raises:
            ConfigError: The endpoint refuses the request, which would not change by itself.
            SourceError: The endpoint cannot be reached; what was judged is kept by the caller.
        """
        made = huggingface_transport if self.settings.kind == "huggingface" else openai_transport
        failed: IFLLMError | None = None
        pool = ThreadPoolExecutor(self.settings.concurrency)
        with made(self.settings) as send:
            try:
                futures = [pool.submit(self._one, send, *pair) for pair in asked]
                for future in as_completed(futures):
                    if future.cancelled():
                        continue
                    try:
                        judged = future.result()
                    except IFLLMError as error:
                        # What other threads were just told is paid for: hand it on, then stop.
                        failed = failed or error
                        for waiting in futures:
                            waiting.cancel()
                        continue
                    yield judged
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            raise failed

    def _one(self, send: Transport, comparison: Comparison, first: str) -> Judged:
        settings, usage = self.settings, Usage()
        body = self._body(comparison, first)
        seen = ""
        for attempt in range(settings.tries):
            try:
                answer = send(body)
            except TryAgain as error:
                if attempt + 1 == settings.tries:
                    raise SourceError(
                        f"{settings.base_url if settings.kind == 'endpoint' else settings.model}: "
                        f"{settings.tries} tries failed, the last one because {error}. What was "
                        "judged so far is kept: run the same command again later, or lower "
                        "judge.concurrency"
                    ) from error
                logger.info("try %d of %d: %s", attempt + 1, settings.tries, error)
                self._sleep(pause_s(attempt, error.wait_s, spread=True))
                continue
            text = _account(answer, usage)
            try:
                verdict = read_verdict(text, comparison.prompt_id, first)
            except MalformedAnswer as error:
                usage.malformed += 1
                seen = str(error)
                # At temperature 0 the same words again would get the same answer.
                body["messages"] = [
                    *messages(comparison, first),
                    {"role": "assistant", "content": text or "(nothing)"},
                    {
                        "role": "user",
                        "content": f"That cannot be used: {error}. Once more, please.",
                    },
                ]
                continue
            return Judged(comparison, first, verdict, usage=usage)
        return Judged(comparison, first, None, seen, usage)

    def _body(self, comparison: Comparison, first: str) -> dict[str, Any]:
        settings = self.settings
        body = {
            "model": settings.model,
            "messages": messages(comparison, first),
            "temperature": 0,
            "max_tokens": settings.max_tokens,
            "response_format": response_format(settings.structured),
            **settings.request,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _temperature(self) -> str:
        value = self.settings.request.get("temperature", 0)
        return "its own temperature" if value is None else f"temperature {value:g}"


def _account(answer: Mapping[str, Any], usage: Usage) -> str | None:
    """Count the tokens of an answer and return its text, None if it has none."""
    usage.requests += 1
    counted = answer.get("usage") or {}
    usage.input_tokens += int(counted.get("prompt_tokens") or 0)
    usage.output_tokens += int(counted.get("completion_tokens") or 0)
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None
