"""Answers of a model to questions: batched, seeded by question, resumable after a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.generate.answering import AnsweringWeights, weights_of
from ifllm_hf.alignment.generate.backend import (
    STOPPED,
    Answer,
    Backend,
    JudgedPrompt,
    stop_texts,
)
from ifllm_hf.alignment.generate.backend_choice import backend_name
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.append_file import AppendFile
from ifllm_hf.errors import DataError
from ifllm_hf.files import digest
from ifllm_hf.progress import progress_bar

_READY = "a JSON object a line with prompt_id or question, and answer"
_SHOWN_CHARS = 60


def generate_answers(
    spec: ModelSpec,
    prompts: Sequence[JudgedPrompt],
    style: PromptFormat,
    sampling: Sampling,
    store: Path,
    *,
    weights: AnsweringWeights | None = None,
    backend: Backend | None = None,
    progress: bool = True,
) -> dict[str, Answer]:
    """Return one answer for each question; what `store` holds already is not generated again.

    An answer is kept under a hash of the question as the model reads it, the weights, their
    precision and the settings of sampling: change any of them and it is made anew.

    Args:
        spec: The model, with `model` set; or a file of ready answers.
        prompts: The questions.
        style: How they look to the model.
        sampling: How to generate.
        store: The `.jsonl` file to keep answers in.
        weights: What the model answers with; default: what it was trained on.
        backend: What generates; default: as `sampling.backend` says.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        Answers by `prompt_id`.

    Raises:
        ConfigError: No such model, or a backend that is not installed.
        DataError: A file of answers that cannot be read.
        OutputError: `store` cannot be written.
    """
    if spec.answers is not None:
        return read_answers(spec, prompts)
    weights = weights or weights_of(spec, sampling)
    name = backend.name if backend is not None else backend_name(sampling, [(spec, weights)])
    answering = [weights_id(spec.model), weights_id(spec.adapter), asdict(weights.precision)]
    asked = {p.prompt_id: _key(answering, p, style, sampling, name) for p in prompts}
    with AppendFile(store) as file:
        todo = [p for p in prompts if asked[p.prompt_id] not in file.records]
        if todo:
            backend = backend or make_backend(name, style, sampling)
            title = f"{spec.name} · answers"
            with progress_bar(len(todo), title, progress) as bar:
                for batch in backend.answer(spec, todo, weights.precision):
                    for prompt, answer in batch:
                        file.add(
                            {
                                "key": asked[prompt.prompt_id],
                                "prompt_id": prompt.prompt_id,
                                "question": prompt.question,
                                "answer": answer.text,
                                "finish": answer.finish,
                                "tokens": answer.tokens,
                            }
                        )
                    bar.update(len(batch))
        kept = {prompt_id: file.records[key] for prompt_id, key in asked.items()}
    return {i: Answer(r["answer"], r["finish"], r["tokens"]) for i, r in kept.items()}


def read_answers(spec: ModelSpec, prompts: Sequence[JudgedPrompt]) -> dict[str, Answer]:
    """Read ready answers, found by `prompt_id` or by the question itself.

    Raises:
        DataError: No such file, a row that is no answer, or a question without an answer.
    """
    try:
        # By its line ends alone: JSON may hold other separators of lines.
        lines = Path(str(spec.answers)).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{spec.answers}: cannot be read as answers ({type(error).__name__}: {error}); "
            f"expected {_READY}"
        ) from error
    stated = enumerate(line for line in lines if line.strip())
    rows = [_answer_row(line, f"{spec.answers}: row {i}, counted from 0,") for i, line in stated]
    by_id = {row["prompt_id"]: row for row in rows if "prompt_id" in row}
    by_question = {row["question"].strip(): row for row in rows if "question" in row}
    found: dict[str, Answer] = {}
    for prompt in prompts:
        row = by_id.get(prompt.prompt_id) or by_question.get(prompt.question)
        if row is None:
            raise DataError(
                f"{spec.answers}: no answer to {prompt.question[:60]!r} (prompt_id "
                f"{prompt.prompt_id}); add it, or judge on other questions"
            )
        finish, tokens = row.get("finish", STOPPED), row.get("tokens", 0)
        # Half an emoji is no character, and no file could hold it.
        text = row["answer"].encode("utf-8", "replace").decode()
        found[prompt.prompt_id] = Answer(text.strip(), finish, tokens)
    return found


def _answer_row(line: str, place: str) -> dict[str, Any]:
    """Read a line of ready answers; what is null in it is not there."""
    try:
        read = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON ({error}); expected {_READY}") from error
    row = {k: v for k, v in read.items() if v is not None} if isinstance(read, dict) else {}
    for keys in (("answer",), ("prompt_id", "question")):
        if not any(key in row for key in keys):
            seen = f"{line.strip():.{_SHOWN_CHARS}}"
            raise DataError(f"{place} has no {' or '.join(keys)} ({seen}); expected {_READY}")
        for key in keys:
            if not isinstance(row.get(key, ""), str):
                raise DataError(f"{place} '{key}' is {row[key]!r:.{_SHOWN_CHARS}}; expected a text")
    return row


def make_backend(name: str, style: PromptFormat, sampling: Sampling) -> Backend:
    """Return `transformers` or `vllm`.

    Raises:
        ConfigError: vLLM is asked for and not installed.
    """
    if name == "vllm":
        from ifllm_hf.alignment.generate.vllm_backend import VLLMBackend

        return VLLMBackend(style, sampling)
    from ifllm_hf.alignment.generate.transformers_backend import TransformersBackend

    return TransformersBackend(style, sampling)


_SAID_OTHERWISE = (
    *("stop", "backend", "dtype", "load_in_4bit"),
    *("batch_size", "trust_remote_code"),
)
"""The first four stand in the key resolved; the others change no answer."""


def _key(
    answering: list[Any],
    prompt: JudgedPrompt,
    style: PromptFormat,
    sampling: Sampling,
    backend: str,
) -> str:
    said = {
        "prompt": prompt.prompt,
        "prompt_id": prompt.prompt_id,
        "weights": answering,
        "eos": style.eos_token,
        "stop": stop_texts(style, sampling),
        "backend": backend,
        **{k: v for k, v in asdict(sampling).items() if k not in _SAID_OTHERWISE},
    }
    return digest(said, 24)
