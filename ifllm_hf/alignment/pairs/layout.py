"""One row of a preference dataset, in whichever layout: a prompt and exactly one answer each."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ifllm_hf.alignment.pairs.messages import (
    Message,
    RowError,
    is_blank,
    read_messages,
    text_of,
)
from ifllm_hf.alignment.pairs.own_template import carries_template, check_one_turn, split_shared

SIDES = ("chosen", "rejected")
# Orca's name of the prompt, and the columns in which a system turn stands beside it.
_QUESTION = "question"
_SYSTEM = ("system", "system_prompt")
# Where other layouts keep the question: with one of these, equal beginnings are no prompt.
_OTHER_QUESTIONS = (
    *("instruction", "input", "query", "context", "history", "messages", "conversation"),
    *("conversations", "post", "inputs"),
)
# What a model would have to read too, and cannot here.
_NOT_READ = ("tools", "images", "image", "audio", "audios", "video", "videos")
_NOT_READ_EITHER = ("chat_template_kwargs", "documents")
LAYOUT_COLUMNS = (
    *("prompt", *SIDES, "completion", _QUESTION, *_SYSTEM),
    *(*_OTHER_QUESTIONS, *_NOT_READ, *_NOT_READ_EITHER),
)
"""The columns that decide how a row is read."""

# A conversation that was printed into a text, by JSON or by Python.
_PRINTED = re.compile(r"""\s*\[?\{\s*["'](?:role|content|from|value)["']\s*:""")


def has_prompt(columns: Collection[str]) -> bool:
    """Whether a column is known to hold the questions."""
    return "prompt" in columns or _QUESTION in columns


def explicit_pair(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as TRL's explicit form has it.

    Args:
        row: `chosen`, `rejected`, and what its layout has beside them.

    Returns:
        `prompt`, `chosen`, `rejected`, all texts or all messages (one of the assistant for each
        answer), and `has_template`: whether prompt + answer is a text that is read as it is.

    Raises:
        RowError: No pair can be made of it without losing or guessing something.
    """
    _refuse_what_is_not_read(row)
    chosen, rejected = row["chosen"], row["rejected"]
    for side, value in zip(SIDES, (chosen, rejected), strict=True):
        if value is None:
            raise RowError(f"'{side}' is empty", value, "expected an answer; remove those rows")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if _PRINTED.match(chosen) and _PRINTED.match(rejected):
            raise RowError(
                "'chosen' is a conversation that was printed into a text",
                chosen,
                "expected the messages themselves; parse them first",
            )
        if not has_prompt(row):
            return _implicit_texts(row, chosen, rejected)
        prompt, has_template = explicit_prompt(row)
        if has_template:
            check_one_turn(chosen, "chosen")
            check_one_turn(rejected, "rejected")
        answers = {"chosen": chosen, "rejected": rejected}
        if not isinstance(prompt, str):
            return _pair(prompt, _answer(chosen), _answer(rejected))
        return {"prompt": prompt, **answers, "has_template": has_template}
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RowError(
            "'chosen' and 'rejected' are of two kinds, a text and messages",
            (chosen, rejected),
            "expected texts on both sides, or messages on both",
        )
    turns = read_messages(chosen, "chosen"), read_messages(rejected, "rejected")
    prompt = _shared_prompt(row, *turns)
    asked = _with_system(row, prompt)
    answers_ = [_after(prompt, side, name) for side, name in zip(turns, SIDES, strict=True)]
    return _pair(asked, *answers_)


def explicit_prompt(row: Mapping[str, Any]) -> tuple[str | list[Message], bool]:
    """Return the prompt of a row that has it in a column of its own.

    Returns:
        A text or messages that end with a question, and whether it carries a template of its own.

    Raises:
        RowError: It is empty, no prompt, or more than can be read here.
    """
    _refuse_what_is_not_read(row)
    prompt = row["prompt"] if "prompt" in row else row[_QUESTION]
    if is_blank(prompt) or (isinstance(prompt, str) and not prompt.strip()):
        raise RowError("'prompt' is empty", prompt, "expected a question; remove those rows")
    if isinstance(prompt, str) and not _system_text(row):
        if _PRINTED.match(prompt):
            raise RowError(
                "'prompt' is a conversation that was printed into a text",
                prompt,
                "expected the messages themselves; parse them first",
            )
        return prompt, carries_template(prompt)
    if isinstance(prompt, str):
        if carries_template(prompt):
            raise RowError(
                "'prompt' carries a template of its own, with a system turn in another column",
                prompt,
                "expected the plain question; write the system turn into the text",
            )
        prompt = [{"role": "user", "content": prompt}]
    return _with_system(row, _ends_with_question(read_messages(prompt, "prompt"))), False


def explicit_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of TRL's unpaired form: one answer to a prompt.

    Args:
        row: `completion`, the prompt in a column of its own, and what its layout has beside them.

    Returns:
        `prompt` and `completion`, both texts or both messages (one of the assistant), and
        `has_template`: whether prompt + completion is a text that is read as it is.

    Raises:
        RowError: It cannot be read without losing or guessing something.
    """
    prompt, has_template = explicit_prompt(row)
    completion = row["completion"]
    if not isinstance(completion, str) and not is_blank(completion):
        if has_template:
            raise RowError(
                "'prompt' carries a template of its own, with a completion that is messages",
                prompt,
                "expected two texts, or messages in both columns",
            )
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        completion = _after(prompt, read_messages(completion, "completion"), "completion")
    if is_blank(completion) or not text_of(completion).strip():
        raise RowError("'completion' is empty", completion, "expected an answer; remove those rows")
    if has_template:
        check_one_turn(completion, "completion")
    if isinstance(completion, str) and not isinstance(prompt, str):
        completion = _answer(completion)
    return {"prompt": prompt, "completion": completion, "has_template": has_template}


def _implicit_texts(row: Mapping[str, Any], chosen: str, rejected: str) -> dict[str, Any]:
    other = [name for name in (*_SYSTEM, *_OTHER_QUESTIONS) if not is_blank(row.get(name))]
    if other:
        raise RowError(
            f"no column prompt, but '{other[0]}'",
            row[other[0]],
            "expected the question in a column prompt; rename or map the one that holds it",
        )
    prompt, *answers = split_shared(chosen, rejected)
    for side, answer in zip(SIDES, answers, strict=True):
        check_one_turn(answer, side)
    return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1], "has_template": True}


def _shared_prompt(
    row: Mapping[str, Any], chosen: list[Message], rejected: list[Message]
) -> list[Message]:
    """Return the messages that are the prompt of two answers that are messages themselves."""
    given = row.get("prompt", row.get(_QUESTION))
    longest = min(len(chosen), len(rejected)) - 1  # the last turn of each is its answer
    n = 0
    while n < longest and chosen[n] == rejected[n]:
        n += 1
    shared = chosen[:n]
    if not has_prompt(row):
        return _ends_with_question(shared)
    if is_blank(given) or (isinstance(given, str) and not given.strip()):
        raise RowError("'prompt' is empty", given, "expected a question; remove those rows")
    if not isinstance(given, str):
        return _ends_with_question(read_messages(given, "prompt"))
    if len(chosen) == len(rejected) == 1:
        if carries_template(given):
            raise RowError(
                "'prompt' carries a template of its own, with answers that are messages",
                given,
                "expected texts on both sides, or messages in all three columns",
            )
        return [{"role": "user", "content": given}]
    asked = {turn["content"].strip() for turn in shared if turn["role"] == "user"}
    if given.strip() not in asked:
        raise RowError(
            "'prompt' is not a question with which both conversations begin",
            given,
            "expected conversations that share everything but their last turn, and a prompt that "
            "is one of their questions; drop the column prompt if it is something else",
        )
    return _ends_with_question(shared)


def _ends_with_question(prompt: list[Message]) -> list[Message]:
    if not prompt:
        raise RowError(
            "'chosen' and 'rejected' do not begin with the same question",
            prompt,
            "expected a column prompt, or two conversations that share everything but their last "
            "turn; remove those rows",
        )
    if prompt[-1]["role"] != "user":
        raise RowError(
            f"'prompt' ends with a turn of the {prompt[-1]['role']}",
            prompt[-1]["content"],
            "expected a question of the user; remove those rows",
        )
    if not prompt[-1]["content"].strip():
        raise RowError("'prompt' is empty", prompt, "expected a question; remove those rows")
    return prompt


def _after(prompt: list[Message], turns: list[Message], field: str) -> list[Message]:
    """Return the one answer in a conversation that may repeat its prompt."""
    rest = turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns
    roles = [turn["role"] for turn in rest]
    if roles != ["assistant"]:
        raise RowError(
            f"'{field}' is not one answer: {', '.join(roles) or 'no turn'} after the prompt",
            turns,
            "expected one turn of the assistant, or a conversation that begins with the whole "
            "prompt and ends with that turn; split or remove those rows",
        )
    return rest


def _with_system(row: Mapping[str, Any], prompt: list[Message]) -> list[Message]:
    """Put the system turn of a column of its own before the prompt."""
    text = _system_text(row)
    first = prompt[0]
    if not text or first == {"role": "system", "content": text}:
        return prompt
    if first["role"] == "system":
        raise RowError(
            "'prompt' begins with another system turn than its column has",
            text,
            "expected one system turn; drop the column",
        )
    return [{"role": "system", "content": text}, *prompt]


def _system_text(row: Mapping[str, Any]) -> str:
    for name in _SYSTEM:
        text = row.get(name)
        if not is_blank(text):
            if not isinstance(text, str):
                raise RowError(f"'{name}' is no text", text, "expected a string; drop the column")
            return text if text.strip() else ""
    return ""


def _refuse_what_is_not_read(row: Mapping[str, Any]) -> None:
    for name in (*_NOT_READ, *_NOT_READ_EITHER):
        if name in row and not is_blank(row[name]):
            raise RowError(
                f"'{name}' belongs to the prompt and is not read here",
                row[name],
                "expected pairs of texts alone; remove those rows, or the column",
            )


def _answer(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _pair(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "has_template": False}
