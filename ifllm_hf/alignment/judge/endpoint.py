"""A model behind an endpoint as judge: both orders, temperature 0, checked answers, retries."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.rubric import (
    RUBRIC_ID,
    MalformedAnswer,
    messages,
    read_verdict,
    response_format,
    without_thoughts,
)
from ifllm_hf.alignment.judge.verdict import BASELINE, CANDIDATE, Comparison, Judged, Usage
from ifllm_hf.chat_server import (
    FILTERED,
    REFUSED,
    ROUTER,
    SETTINGS,
    TOO_LONG,
    ChatServer,
    NoAnswer,
    first_choice,
    text_of_answer,
)
from ifllm_hf.errors import ConfigError, IFLLMError, SourceError
from ifllm_hf.retry import pause_s

logger = logging.getLogger(__name__)

NO_ANSWER = "no answer"
_WHY_REFUSED = {TOO_LONG: "too long for the judge", FILTERED: "the judge's content filter"}
_USED_TO_WORK = 4
"""How much longer than `stop_after` odd answers are borne from a judge that gave good ones."""


@dataclass(frozen=True)
class _Outcome:
    """What came of one question.

    Attributes:
        judged: To be handed on.
        error: Without a verdict: what is to be said if the others fail too.
        borne: How many such in a row are too many.
    """

    judged: Judged
    error: IFLLMError | None = None
    borne: int = 0


class EndpointJudge:
    """Asks a model for a verdict on every pair, once in each order."""

    pointwise = False  # answers are compared

    def __init__(
        self,
        settings: JudgeSettings,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Keep the settings; nothing is sent yet.

        Args:
            settings: Which model, where, and how patiently.
            sleep: What waits between tries; default: until the time is over or all is stopped.
        """
        self.settings = settings
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._said: set[str] = set()

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

    def judge(
        self, asked: Sequence[tuple[Comparison, str]], *, worked_before: bool = False
    ) -> Iterator[Judged]:
        """Ask with several requests at a time; yield answers as they come.

        A question that fails is yielded without a verdict. It stops the others only where it is
        not the question: a key or an address is refused, the first ones all fail, or too many in a
        row do.

        Raises:
            ConfigError: The endpoint refuses what would not change by itself, or gives nothing that
                can be used.
            SourceError: It cannot be reached; what was judged is kept by the caller.
        """
        server = self._server()
        self._stop.clear()
        pool = ThreadPoolExecutor(self.settings.concurrency)
        works, in_a_row = worked_before, 0
        # Refused before anything worked: the question may be why, or the settings.
        unclear: list[Judged] = []
        failed: IFLLMError | None = None
        last: IFLLMError | None = None
        futures = [pool.submit(self._one, server, *pair) for pair in asked]
        waiting = set(futures)
        try:
            for future in as_completed(futures):
                waiting.discard(future)
                if future.cancelled():
                    continue
                done = future.result()
                if done.error is None:
                    works, in_a_row = True, 0
                    yield from unclear
                    unclear = []
                    yield done.judged
                    continue
                last, in_a_row = done.error, in_a_row + 1
                borne = done.borne if works else min(done.borne, self.settings.stop_after)
                if in_a_row >= borne:
                    failed = failed or done.error
                    self._cancel(waiting)
                if done.judged.refused and not works:
                    unclear.append(done.judged)
                elif failed is None or done.judged.usage.requests:
                    yield done.judged
            failed = failed or (None if works else last)
        except KeyboardInterrupt:
            self._cancel(waiting)
            for future in waiting:
                if not future.cancelled():
                    yield future.result().judged
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if failed is not None:
            yield from (replace(j, refused=False) for j in unclear if j.usage.requests)
            raise failed

    def _cancel(self, waiting: Iterable[Future[_Outcome]]) -> None:
        """Ask nothing more; what other threads were just told is paid for, and still handed on."""
        self._stop.set()
        for future in waiting:
            future.cancel()

    def _server(self) -> ChatServer:
        settings = self.settings
        if settings.kind != "huggingface":
            key = os.environ.get(settings.api_key_env)
            return ChatServer(settings.base_url, key, settings.timeout_s)
        from huggingface_hub import get_token

        return ChatServer(self._where(), get_token(), settings.timeout_s)

    def _where(self) -> str:
        """Return the address: of the endpoint, of an Inference Endpoint, or of the providers."""
        if self.settings.kind != "huggingface":
            return self.settings.base_url
        model = str(self.settings.model)
        if "://" not in model:
            return ROUTER
        return model if re.search(r"/v\d|/chat/completions", model) else f"{model.rstrip('/')}/v1"

    def _one(self, server: ChatServer, comparison: Comparison, first: str) -> _Outcome:
        settings, usage = self.settings, Usage()
        often = _USED_TO_WORK * settings.stop_after
        body = self._body(comparison, first)

        def without(
            failed: str, error: IFLLMError, borne: int, *, refused: bool = False
        ) -> _Outcome:
            return _Outcome(Judged(comparison, first, None, failed, usage, refused), error, borne)

        failed = "not asked"
        error: IFLLMError = SourceError("the judge was stopped")
        for attempt in range(settings.tries):
            if self._stop.is_set():
                return without(failed, error, often)
            try:
                answer = server.ask(body)
            except NoAnswer as none:
                if none.kind == SETTINGS:
                    return without(NO_ANSWER, self._refusal(none), 1)
                if not none.may_pass:
                    reason = _WHY_REFUSED.get(none.kind, f"refused with {none.status}")
                    self._warn(reason, none)
                    return without(reason, self._refusal(none), often, refused=True)
                failed = f"{NO_ANSWER} ({none.kind})"
                error = SourceError(
                    f"{self._where()}: {settings.tries} tries failed, the last one because {none}. "
                    "What was judged so far is kept: run the same command again later, or lower "
                    "judge.concurrency"
                )
                logger.info("try %d of %d: %s", attempt + 1, settings.tries, none)
                if attempt + 1 < settings.tries:
                    self._sleep(pause_s(attempt, none.wait_s, spread=True))
                continue
            choice = _account(answer, usage)
            text = text_of_answer(choice) or _thought(choice)
            try:
                verdict = read_verdict(text, comparison.prompt_id, first)
            except MalformedAnswer as wrong:
                usage.malformed += 1
                if _declined(choice):
                    reason = _WHY_REFUSED[FILTERED]
                    return without(reason, self._useless(reason), often, refused=True)
                failed = wrong.reason
                if choice.get("finish_reason") == "length":
                    # At temperature 0 the same length would not do again.
                    failed = f"cut at judge.max_tokens ({settings.max_tokens})"
                    return without(failed, self._useless(failed), often)
                error = self._useless(failed)
                # At temperature 0 the same words again would get the same answer.
                body["messages"] = [
                    *messages(comparison, first),
                    {"role": "assistant", "content": without_thoughts(text or "") or "(nothing)"},
                    {
                        "role": "user",
                        "content": f"That cannot be used: {wrong}. Once more, please.",
                    },
                ]
                continue
            return _Outcome(Judged(comparison, first, verdict, usage=usage))
        # An outage is one of all questions: it need not be borne as long as an odd answer.
        away = failed.startswith(NO_ANSWER)
        return without(failed, error, settings.stop_after if away else often)

    def _refusal(self, none: NoAnswer) -> ConfigError:
        """Say what a refusal means for all questions."""
        if none.status in (401, 403):
            todo = (
                "run 'hf auth login' or set HF_TOKEN"
                if self.settings.kind == "huggingface"
                else f"put a key that may use it into {self.settings.api_key_env}"
            )
        elif none.status in (402, 429):
            todo = "look after the account; what was judged is kept"
        elif none.kind == SETTINGS:
            todo = "check judge.base_url (it ends in /v1) and judge.model"
        elif none.kind == REFUSED:
            todo = (
                "if it does not know response_format, set judge.structured: json_object or none; "
                "another name of a field goes into judge.request; else check judge.model"
            )
        else:
            todo = "choose another judge.model, or raise judge.stop_after to leave these out"
        model = self.settings.model
        return ConfigError(
            f"{self._where()} answered {none.status} for {model} ({none.said}); {todo}"
        )

    def _useless(self, reason: str) -> ConfigError:
        """Say that answers come and are of no use."""
        return ConfigError(
            f"{self.settings.model} at {self._where()} gives no verdict: {reason}. Raise "
            "judge.max_tokens if it thinks before it answers, set judge.structured, or choose "
            "another judge.model"
        )

    def _warn(self, reason: str, none: NoAnswer) -> None:
        if reason not in self._said:
            self._said.add(reason)
            logger.warning("a question has no verdict: %s: %s", reason, none)

    def _body(self, comparison: Comparison, first: str) -> dict[str, Any]:
        settings = self.settings
        body = {
            "model": self._model(),
            "messages": messages(comparison, first),
            "temperature": 0,
            "max_tokens": settings.max_tokens,
            "response_format": response_format(settings.structured),
            **settings.request,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _model(self) -> str:
        """Return the model as the request names it: with its provider, where one is chosen."""
        model, provider = str(self.settings.model), self.settings.provider
        if self.settings.kind != "huggingface":
            return model
        if "://" in model:
            return "tgi"  # what an Inference Endpoint answers to, whatever it serves
        return model if provider == "auto" else f"{model}:{provider}"

    def _temperature(self) -> str:
        value = self.settings.request.get("temperature", 0)
        return "its own temperature" if value is None else f"temperature {value}"


def _account(answer: Mapping[str, Any], usage: Usage) -> Mapping[str, Any]:
    """Count the tokens of an answer and return its first choice."""
    usage.requests += 1
    counted = answer.get("usage")
    counted = counted if isinstance(counted, dict) else {}
    usage.input_tokens += _number(counted.get("prompt_tokens"))
    usage.output_tokens += _number(counted.get("completion_tokens"))
    return first_choice(answer)


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 53 else 0


def _thought(choice: Mapping[str, Any]) -> str | None:
    """Return what a server took for a thought: of some models that is all that they say."""
    message = choice.get("message")
    said = message if isinstance(message, dict) else {}
    thought = said.get("reasoning_content") or said.get("reasoning")
    return thought if isinstance(thought, str) else None


def _declined(choice: Mapping[str, Any]) -> bool:
    """Whether the model, or a filter behind it, would not judge."""
    message = choice.get("message")
    refusal = message.get("refusal") if isinstance(message, dict) else None
    return bool(refusal) or choice.get("finish_reason") == "content_filter"
