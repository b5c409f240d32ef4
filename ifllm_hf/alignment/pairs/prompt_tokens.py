"""The tokens of a prompt where an answer follows: what training reads before every answer."""

from __future__ import annotations

from typing import Any

from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.messages import Message

# Stand for any answer: a word and a number.
_BEGINNINGS = ("The", "1")


def prompt_tokens(tokenizer: Any, prompt: str | list[Message], style: PromptFormat) -> list[int]:
    """Return the tokens that stand before an answer in training, to generate one after them.

    TRL cuts `prompt + answer` where one of both answers parts from the prompt alone. So the end of
    text that some tokenizers add is no part of a prompt, and neither is what a chat template puts
    after a prompt alone, or a last space that becomes one token with the word that follows.

    Args:
        tokenizer: Of the model.
        prompt: As `format_row` writes it.
        style: How answers follow it.
    """
    alone = _ids(tokenizer, prompt, add_generation_prompt=True)
    shared = len(alone)
    for beginning in _BEGINNINGS:
        whole: str | list[Message]
        if isinstance(prompt, str):
            whole = prompt + style.response_prefix + beginning
        else:
            whole = [*prompt, {"role": "assistant", "content": beginning}]
        followed = _ids(tokenizer, whole, add_generation_prompt=False)
        shared = min(shared, _shared_length(alone, followed))
    return alone[:shared]


def answer_tokens(
    tokenizer: Any, prompt: str | list[Message], answer: str, style: PromptFormat
) -> tuple[list[int], int]:
    """Return the tokens of a prompt and an answer, and how many of them are the prompt's.

    Args:
        tokenizer: Of the model.
        prompt: As `format_row` writes it.
        answer: Likewise, its prefix included; of a chat, its text.
        style: How answers follow a prompt.
    """
    whole: str | list[Message]
    if isinstance(prompt, str):
        whole = prompt + answer
    else:
        whole = [*prompt, {"role": "assistant", "content": answer}]
    alone = prompt_tokens(tokenizer, prompt, style)
    ids = _ids(tokenizer, whole, add_generation_prompt=False)
    if isinstance(prompt, str) and ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return ids, _shared_length(alone, ids)


def _ids(tokenizer: Any, text: str | list[Message], *, add_generation_prompt: bool) -> list[int]:
    if isinstance(text, str):
        return list(tokenizer(text)["input_ids"])
    return list(
        tokenizer.apply_chat_template(
            text, add_generation_prompt=add_generation_prompt, return_dict=False
        )
    )


def _shared_length(ids: list[int], others: list[int]) -> int:
    n = 0
    for one, other in zip(ids, others, strict=False):
        if one != other:
            break
        n += 1
    return n
