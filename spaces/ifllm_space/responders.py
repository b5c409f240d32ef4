"""Who answers a participant's question: the dataset itself, a hosted model, or one of this machine.

All answers of a turn are asked for at the same time and shown together. What goes wrong is an
answer too: it is stored with its reason and told to the reader in plain words.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any, Protocol

import polars as pl

from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.responder import Message, ModelAnswer, ModelAnswers, Responder
from ifllm_hf.chat_server import (
    BUSY,
    FILTERED,
    ROUTER,
    TIMEOUT,
    UNREACHABLE,
    ChatServer,
    NoAnswer,
    first_choice,
    text_of_answer,
)
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.sessions.past import REPLAY
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import scan_parquet
from ifllm_space.demo_data import DemoData

TIMEOUT_S = 60.0


class Replay:
    """The dataset's own answers: needs no network, and knows only the dataset's questions.

    Those that begin a conversation alone: a later one ("and in Python?") says nothing without it.
    """

    name = REPLAY
    costs = False
    free_questions = False

    def __init__(self, data: DemoData) -> None:
        """Answer from `data`."""
        self._data = data
        source = "made-up data" if data.made_up else "the IFLLM dataset"
        self.said = f"Questions and answers come from {source}; no model is asked."

    def questions(self, kind: str) -> list[str]:
        """Return the distinct questions of a kind, in alphabetical order."""
        return sorted(self._by_question[kind])

    def answer(self, question: str, histories: Sequence[Sequence[Message]]) -> ModelAnswers:
        """Return what the dataset holds for a question, word for word."""
        kind = "pairwise" if len(histories) == 2 else "pointwise"
        found = self._by_question[kind].get(question)
        if not found:
            return ModelAnswers((ModelAnswer("", None, error="failed"),) * len(histories))
        turn = self._data.turn(secrets.choice(found))
        texts = [turn["response_a"], turn["response_b"]][: len(histories)]
        models = [turn["model_a"], turn["model_b"]]
        made = [ModelAnswer(t, m, {"replay": True}) for t, m in zip(texts, models, strict=False)]
        return ModelAnswers(
            tuple(made), str(turn["query_id"]), turn["domain"], bool(turn["bullet_suffix"])
        )

    @cached_property
    def _by_question(self) -> dict[str, dict[str, list[int]]]:
        found: dict[str, dict[str, list[int]]] = {"pairwise": {}, "pointwise": {}}
        for config, questions in found.items():
            files = config_files(self._data.folder, config)
            first = pl.col("history_a").list.len() == 0
            turns = scan_parquet(files).filter(first & ~pl.col("has_error_answer"))
            for query_id, prompt in turns.select("query_id", "prompt").collect().rows():
                questions.setdefault(prompt.strip(), []).append(query_id)
        return found


class Models:
    """Two models behind one way of asking; each side keeps its own past."""

    costs = True
    free_questions = True

    def __init__(
        self, name: str, models: Sequence[str], ask: Ask, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Ask `models`; the first answers alone, the first two answer in pairs.

        Args:
            name: As in the settings.
            models: One name or two; a single one answers both sides.
            ask: How.
            timeout_s: Until an answer is given up.
        """
        self.name = name
        self._models = [models[0], models[-1]]
        self._ask = ask
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="answer")
        self.said = "Answers are written by language models while you wait; they can be wrong."

    def questions(self, kind: str) -> list[str]:
        """Anything may be asked."""
        return []

    def answer(self, question: str, histories: Sequence[Sequence[Message]]) -> ModelAnswers:
        """Ask all models at once."""
        new = {"role": "user", "content": question}
        waiting = [
            self._pool.submit(self._timed, model, [*history, new])
            for model, history in zip(self._models, histories, strict=False)
        ]
        wait(waiting, timeout=self._timeout_s)
        late = ModelAnswer("", None, latency_ms=1000 * self._timeout_s, error="timeout")
        return ModelAnswers(
            tuple(
                done.result() if done.done() else replace(late, model=model)
                for model, done in zip(self._models, waiting, strict=False)
            )
        )

    def _timed(self, model: str, messages: list[Message]) -> ModelAnswer:
        start = time.perf_counter()
        try:
            made = self._ask(model, messages)
        except Exception as error:  # a model's host may fail in any way, and the reader goes on
            made = ModelAnswer("", model, error=_reason(error))
        if not made.failed and not made.text.strip():
            made = replace(made, text="", error="empty")
        # Half a surrogate pair is no character, and no file could hold it.
        text = made.text.encode("utf-8", "replace").decode("utf-8")
        return replace(made, text=text, latency_ms=round(1000 * (time.perf_counter() - start), 1))


class Ask(Protocol):
    """Asks one model."""

    def __call__(self, model: str, messages: list[Message]) -> ModelAnswer:
        """Return its answer, or raise."""
        ...


class Hosted:
    """Hugging Face's providers, or any server that speaks OpenAI's protocol."""

    def __init__(
        self, tokens_max: int, *, base_url: str = "", timeout_s: float = TIMEOUT_S
    ) -> None:
        """Make a client.

        Args:
            tokens_max: Cap on the length of an answer.
            base_url: Of an OpenAI-compatible server; empty: Hugging Face.
            timeout_s: Of a request.

        Raises:
            ConfigError: No such address can be, or it may not be asked offline.
        """
        from huggingface_hub import get_token

        key = os.environ.get("OPENAI_API_KEY", "none") if base_url else get_token()
        self._server = ChatServer(base_url or ROUTER, key, timeout_s)
        self._parameters = {"max_tokens": tokens_max, "temperature": 0.7}

    def __call__(self, model: str, messages: list[Message]) -> ModelAnswer:
        """Ask a model for one answer."""
        try:
            got = self._server.ask({"model": model, "messages": messages, **self._parameters})
        except NoAnswer as error:
            if error.kind != FILTERED:
                raise
            return ModelAnswer("", model, dict(self._parameters), refused=True)
        choice = first_choice(got)
        refused = choice.get("finish_reason") == "content_filter"
        text = "" if refused else text_of_answer(choice) or ""
        name = str(got.get("model") or model)
        return ModelAnswer(text, name, dict(self._parameters), refused=refused)


class Local:
    """Models of this machine through transformers; one answer at a time."""

    def __init__(self, tokens_max: int) -> None:
        """Cap answers at `tokens_max` tokens; a model is loaded when it is first asked."""
        self._tokens_max = tokens_max
        self._loaded: dict[str, Any] = {}
        self._lock = Lock()

    def __call__(self, model: str, messages: list[Message]) -> ModelAnswer:
        """Let a model write one answer."""
        with self._lock:
            if model not in self._loaded:
                from transformers import pipeline

                self._loaded[model] = pipeline("text-generation", model=model)
            writer = self._loaded[model]
            prompt: Any = messages
            if not getattr(writer.tokenizer, "chat_template", None):
                prompt = "\n\n".join(m["content"] for m in messages) + "\n\n"
            parameters = {"max_new_tokens": self._tokens_max, "do_sample": True, "temperature": 0.7}
            (made,) = writer(prompt, return_full_text=False, **parameters)
        return ModelAnswer(made["generated_text"].strip(), model, parameters)


def make_responder(settings: Settings, data: DemoData) -> Responder:
    """Return who answers, as the operator chose.

    Raises:
        ConfigError: An unknown name, or a setting that it needs is missing.
    """
    name = settings.responder
    if name == REPLAY:
        return Replay(data)
    if name not in ("hub", "openai", "local"):
        raise ConfigError(
            f"$IFLLM_SPACE_RESPONDER is {name!r}. Expected replay, hub, openai or local."
        )
    if not settings.models:
        raise ConfigError(
            f"$IFLLM_SPACE_RESPONDER is {name!r} and $IFLLM_SPACE_MODELS is not set. Expected one "
            "model, or two separated by a comma."
        )
    if name == "openai" and not settings.openai_base_url:
        raise ConfigError(
            "$IFLLM_SPACE_RESPONDER is 'openai' and $IFLLM_SPACE_OPENAI_BASE_URL is not set. "
            "Expected the address of a server that speaks OpenAI's protocol, such as "
            "http://localhost:8000/v1."
        )
    tokens_max = settings.answer_tokens_max
    if name == "local":
        made = Models(name, settings.models, Local(tokens_max))
        made.costs = False
        return made
    base_url = settings.openai_base_url if name == "openai" else ""
    return Models(name, settings.models, Hosted(tokens_max, base_url=base_url))


def _reason(error: Exception) -> str:
    """Return in one word what went wrong."""
    if isinstance(error, NoAnswer) and error.kind in (TIMEOUT, BUSY, UNREACHABLE):
        return error.kind
    return "failed"
