"""What every backend takes and gives: questions, answers, and where an answer ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.messages import Message
from ifllm_hf.alignment.pairs.prompt_tokens import prompt_tokens
from ifllm_hf.alignment.policy import load as models
from ifllm_hf.alignment.policy.precision import Precision
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest

STOPPED, CUT, TOO_LONG = "stop", "length", "prompt too long"
"""How an answer ended: by itself; at `max_new_tokens`; it was not asked for."""


@dataclass(frozen=True)
class JudgedPrompt:
    """A question and who asked it.

    Attributes:
        prompt_id: 16 hex digits of the question as the judge sees it.
        user_id: The reader who asked it; where that is not known, the question's own id, so that
            it is a group of its own.
        question: What the judge sees.
        prompt: What the models see: a string, or messages for a chat template.
    """

    prompt_id: str
    user_id: str
    question: str
    prompt: str | list[Message]


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
    """Something that writes answers.

    Attributes:
        name: What it is called in settings.
    """

    name: str

    def answer(
        self, spec: ModelSpec, prompts: Sequence[JudgedPrompt], precision: Precision
    ) -> Iterator[list[tuple[JudgedPrompt, Answer]]]:
        """Yield answers a batch at a time, each question once."""
        ...


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
    return int(digest(f"{sampling.seed} {prompt.prompt_id}", 14), 16)


def room_for_prompts(positions: int | None, sampling: Sampling, name: str | None) -> int | None:
    """Return how many tokens a prompt may have beside its answer; None: as many as it likes.

    Raises:
        ConfigError: None, since the answer may fill all positions.
    """
    if positions is None:
        return None
    if positions <= sampling.max_new_tokens:
        raise ConfigError(
            f"generation.max_new_tokens is {sampling.max_new_tokens}, but {name} has {positions} "
            "positions; lower it"
        )
    return positions - sampling.max_new_tokens


def load_tokenizer(spec: ModelSpec, style: PromptFormat, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer that was saved with the adapter, else the base model's.

    Raises:
        ConfigError: The end of an answer is not in the vocabulary.
    """
    own = spec.adapter and (Path(spec.adapter) / "tokenizer_config.json").exists()
    return models.load_tokenizer(
        str(spec.adapter if own else spec.model),
        style.eos_token,
        of=str(spec.model),
        setting="format.eos_token",
        trust_remote_code=trust_remote_code,
        trusted_by="generation.trust_remote_code",
    )


def token_ids(tokenizer: Any, prompt: JudgedPrompt, style: PromptFormat) -> list[int]:
    """Return the tokens of a question as the model was trained to read it."""
    return prompt_tokens(tokenizer, prompt.prompt, style)
