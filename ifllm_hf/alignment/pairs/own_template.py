r"""Texts that carry a prompt template of their own, such as `\n\nHuman: ...\n\nAssistant: ...`.

No other template goes around them, and nothing is stripped: prompt + answer is the text that was
there.
"""

from __future__ import annotations

import re

from ifllm_hf.alignment.pairs.messages import Message, RowError

# Where the templates in use let the assistant begin, and where they begin any turn.
_ANSWER = re.compile(
    r"\n\n(?:Assistant|ASSISTANT):|<\|im_start\|>assistant\n?|<\|assistant\|>\n?|\[/INST\]"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>(?:\n\n)?|<start_of_turn>model\n?"
    r"|### (?:Response|Assistant):\n?"
)
# Vicuna's, and those of scripts: a mark at the end of a prompt, a word of the text elsewhere.
_ANSWER_AT_END = re.compile(r"(?:\A|\s)(?:Assistant|ASSISTANT):\Z")
_TURN = re.compile(
    r"\n\n(?:Human|Assistant|USER|ASSISTANT):|<\|im_start\|>|<\|(?:user|assistant)\|>|\[/?INST\]"
    r"|<\|start_header_id\|>|<start_of_turn>|### (?:Instruction|Human|User|Response|Assistant):"
)
_HUMAN_OR_ASSISTANT = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_LONGEST_MARK = 60
_ROLE = {"Human": "user", "Assistant": "assistant"}


def carries_template(prompt: str) -> bool:
    r"""Whether a prompt ends where a template of its own lets the assistant begin.

    >>> carries_template("\n\nHuman: Hi?\n\nAssistant:"), carries_template("Who is an Assistant?")
    (True, False)
    """
    end = prompt.rstrip()[-_LONGEST_MARK:] + prompt[len(prompt.rstrip()) :]
    marks = list(_ANSWER.finditer(end))
    at_end = bool(marks) and not end[marks[-1].end() :].strip()
    return at_end or bool(_ANSWER_AT_END.search(end.rstrip()))


def split_shared(chosen: str, rejected: str) -> tuple[str, str, str]:
    r"""Take the prompt out of two texts that both begin with it.

    The cut is at the last mark of an answer that both share. Without such marks it is at the last
    white space that both share, so that a word is never cut; words with which both answers begin
    then count as prompt, since nothing says where the answers begin.

    Returns:
        Prompt, chosen and rejected; prompt + answer is the text that was given.

    Raises:
        RowError: They share no prompt, or more than one answer follows it.

    >>> split_shared("\n\nHuman: Hi?\n\nAssistant: Hello", "\n\nHuman: Hi?\n\nAssistant: Help")
    ('\n\nHuman: Hi?\n\nAssistant:', ' Hello', ' Help')
    >>> split_shared("The sky is blue.", "The sky is bleak.")
    ('The sky is', ' blue.', ' bleak.')
    """
    shared = _shared_length(chosen, rejected)
    common = chosen[:shared]
    marks = list(_ANSWER.finditer(common))
    if marks:
        cut = marks[-1].end()
    elif _TURN.search("\n\n" + chosen) or _TURN.search("\n\n" + rejected):
        raise RowError(
            "'chosen' and 'rejected' do not share their turns up to the answer",
            chosen,
            "expected two texts that are equal up to the last turn of the assistant, or a column "
            "prompt; remove those rows",
        )
    else:
        spaces = list(re.finditer(r"(?<=\S)\s", common))
        if not spaces:
            raise RowError(
                "no column prompt, and 'chosen' and 'rejected' do not begin with the same words",
                chosen,
                "expected a column prompt, or two texts that both begin with it",
            )
        cut = spaces[-1].start()
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _shared_length(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def check_one_turn(answer: str, field: str) -> None:
    """Refuse an answer after which a text with a template of its own goes on.

    Raises:
        RowError: It holds the mark of another turn.
    """
    if _TURN.search(answer):
        raise RowError(
            f"'{field}' goes on with another turn after the answer",
            answer,
            "expected one answer; cut the text there, or remove those rows",
        )


def turns_of(prompt: str) -> list[Message]:
    r"""Return the turns of a prompt written as `Human:` and `Assistant:`, for a chat template.

    Raises:
        RowError: It is not written so.

    >>> turns_of("\n\nHuman: Hi?\n\nAssistant:")
    [{'role': 'user', 'content': 'Hi?'}]
    """
    before, *parts = _HUMAN_OR_ASSISTANT.split(prompt.lstrip("\n"))
    turns = [
        {"role": _ROLE[role], "content": text.strip()}
        for role, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    asked = turns[:-1]
    if (
        before.strip()
        or len(turns) < 2
        or (turns[-1]["role"], turns[-1]["content"]) != ("assistant", "")
        or asked[-1]["role"] != "user"
        or not all(turn["content"] for turn in asked)
    ):
        raise RowError(
            "'prompt' carries a template of its own whose turns are not known",
            prompt,
            "expected messages, or turns that begin with Human: and Assistant:; use prompt_format: "
            "template, or give a column prompt with messages",
        )
    return asked
