"""Answers of a model to questions: batched, seeded by question, resumable after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ifllm_hf.alignment.judge.config import ModelSpec, Sampling
from ifllm_hf.alignment.judge.prompts import JudgedPrompt
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.benchmark.protocol.runner import progress_bar
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.training.append_file import AppendFile
from ifllm_hf.training.run_record import public_name

logger = logging.getLogger(__name__)

STOPPED, CUT, TOO_LONG = "stop", "length", "prompt too long"
"""How an answer ended: by itself; at `max_new_tokens`; it was not asked for."""


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: The answer, white space around it removed.
        finish: `STOPPED`, `CUT` or `TOO_LONG`.
        tokens: Tokens that were generated.
    """

    text: str
    finish: str
    tokens: int


class Backend(Protocol):
    """Something that writes answers."""

    def answer(
        self, spec: ModelSpec, prompts: Sequence[JudgedPrompt]
    ) -> Iterator[list[tuple[JudgedPrompt, Answer]]]:
        """Yield answers a batch at a time, each question once."""
        ...


def generate_answers(
    spec: ModelSpec,
    prompts: Sequence[JudgedPrompt],
    style: PromptFormat,
    sampling: Sampling,
    store: Path,
    *,
    backend: Backend | None = None,
    progress: bool = True,
) -> dict[str, Answer]:
    """Return one answer for each question; what `store` holds already is not generated again.

    An answer is kept under a hash of the question as the model reads it, the weights and the
    settings of sampling: change any of them and it is made anew.

    Args:
        spec: The model, with `model` set; or a file of ready answers.
        prompts: The questions.
        style: How they look to the model.
        sampling: How to generate.
        store: The `.jsonl` file to keep answers in.
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
    name = backend_name(sampling)
    weights = [weights_id(spec.model), weights_id(spec.adapter)]
    asked = {p.prompt_id: _key(weights, p, style, sampling, name) for p in prompts}
    with AppendFile(store) as file:
        todo = [p for p in prompts if asked[p.prompt_id] not in file.records]
        if todo:
            backend = backend or make_backend(name, style, sampling)
            title = f"{spec.name} · answers"
            with progress_bar(len(todo), title, progress) as tick:
                for batch in backend.answer(spec, todo):
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
                    tick(len(batch))
        kept = {prompt_id: file.records[key] for prompt_id, key in asked.items()}
    return {i: Answer(r["answer"], r["finish"], r["tokens"]) for i, r in kept.items()}


def read_answers(spec: ModelSpec, prompts: Sequence[JudgedPrompt]) -> dict[str, Answer]:
    """Read ready answers, found by `prompt_id` or by the question itself.

    Raises:
        DataError: No such file, no JSON, or a question without an answer.
    """
    try:
        lines = Path(str(spec.answers)).read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        by_id = {row["prompt_id"]: row for row in rows if "prompt_id" in row}
        by_question = {str(row["question"]).strip(): row for row in rows if "question" in row}
        texts = {id(row): str(row["answer"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{spec.answers}: cannot be read as answers ({type(error).__name__}: {error}); "
            "expected a JSON object a line with prompt_id or question, and answer"
        ) from error
    found: dict[str, Answer] = {}
    for prompt in prompts:
        row = by_id.get(prompt.prompt_id) or by_question.get(prompt.question)
        if row is None:
            raise DataError(
                f"{spec.answers}: no answer to {prompt.question[:60]!r} (prompt_id "
                f"{prompt.prompt_id}); add it, or judge on other questions"
            )
        finish, tokens = row.get("finish", STOPPED), row.get("tokens", 0)
        found[prompt.prompt_id] = Answer(texts[id(row)].strip(), finish, tokens)
    return found


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


def stop_texts(style: PromptFormat, sampling: Sampling) -> list[str]:
    r"""Return the texts that end an answer: where a model begins to ask itself another question.

    >>> stop_texts(PromptFormat(), Sampling())
    ['\n\nQuestion:']
    """
    if sampling.stop is not None:
        return list(sampling.stop)
    if style.prompt_format == "chat":
        return []
    begins = style.turn_separator + style.prompt_template.split("{prompt}")[0].rstrip()
    return [begins] if begins.strip() else []


def finished_answer(text: str, stops: Sequence[str], ended: bool, tokens: int) -> Answer:
    """Cut a text at the first stop text and say how it ended."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    cut = text[: min(places)] if places else text
    return Answer(cut.strip(), STOPPED if ended or places else CUT, tokens)


def seed_of(prompt: JudgedPrompt, sampling: Sampling) -> int:
    """Return the seed of a question: the same for every model, whatever else is asked."""
    digest = hashlib.sha256(f"{sampling.seed} {prompt.prompt_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def weights_id(place: str | None) -> str | None:
    """Name weights by their content: the hash of an adapter or small model, else size and time.

    A model on the Hub is named by its name alone.
    """
    if place is None or not Path(place).is_dir():
        return place
    digest = hashlib.sha256()
    files = [f for f in sorted(Path(place).glob("*")) if f.suffix in (".safetensors", ".bin")]
    if not files:
        raise ConfigError(
            f"{place}: no weights (.safetensors) there; name a folder that training has finished"
        )
    for file in files:
        stat = file.stat()
        digest.update(file.name.encode())
        if stat.st_size < 1 << 30:
            digest.update(file.read_bytes())
        else:
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{public_name(place)} {digest.hexdigest()[:16]}"


def _key(
    weights: list[str | None],
    prompt: JudgedPrompt,
    style: PromptFormat,
    sampling: Sampling,
    backend: str,
) -> str:
    said = {
        "prompt": prompt.prompt,
        "prompt_id": prompt.prompt_id,
        "weights": weights,
        "eos": style.eos_token,
        "stop": stop_texts(style, sampling),
        "backend": backend,
        **{
            name: getattr(sampling, name)
            for name in (
                "max_new_tokens", "temperature", "top_p", "seed", "dtype", "load_in_4bit",
            )
        },
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def backend_name(sampling: Sampling) -> str:
    """Return the backend that `auto` stands for here: vLLM where it is and there is a GPU."""
    if sampling.backend != "auto":
        return sampling.backend
    if find_spec("vllm") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"
