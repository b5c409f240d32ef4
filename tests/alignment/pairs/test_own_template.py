from __future__ import annotations

import pytest

from ifllm_hf.alignment.pairs.messages import RowError
from ifllm_hf.alignment.pairs.own_template import carries_template, split_shared, turns_of

ENDS = (
    *("\n\nAssistant:", "\n\nAssistant: ", "<|im_end|>\n<|im_start|>assistant\n", "[/INST]"),
    *("<|end|>\n<|assistant|>\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    *("<end_of_turn>\n<start_of_turn>model\n", "\n\n### Response:\n"),
)


@pytest.mark.parametrize("end", ENDS)
def test_a_prompt_with_a_template_of_its_own_is_known_by_its_end(end: str) -> None:
    assert carries_template("Why?" * 50 + end)
    assert not carries_template(end + "Why?")
    prompt, chosen, rejected = split_shared(f"Why?{end}the same", f"Why?{end}the sand")
    assert (prompt.rstrip(" "), chosen.strip(), rejected.strip()) == (
        f"Why?{end}".rstrip(" "), "the same", "the sand",
    )  # fmt: skip


@pytest.mark.parametrize(
    "end", ["\nAssistant:", " ASSISTANT:", "<|assistant|>", "<|im_start|>assistant"]
)
def test_marks_without_their_line_breaks_end_a_prompt_too(end: str) -> None:
    assert carries_template(f"USER: Why?{end}")
    assert not carries_template(f"{end} is a mark?")


def test_a_question_about_assistants_is_a_question() -> None:
    for text in ("Who is an Assistant?", "What does [/INST] mean?", "Answer:", "Q: why?\nA:"):
        assert not carries_template(text)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("\n\nHuman: A\n\nAssistant: x", "\n\nHuman: B\n\nAssistant: y"),
        ("Human: A\n\nAssistant: x", "Human: B\n\nAssistant: y"),
        ("left", "right"),
        ("same", "same too"),
        ("天空是蓝色", "天空是绿色"),
    ],
)
def test_texts_that_share_no_prompt_are_refused(chosen: str, rejected: str) -> None:
    with pytest.raises(RowError):
        split_shared(chosen, rejected)


@pytest.mark.parametrize(
    "prompt",
    [
        *("The sky is", "\n\nHuman: \n\nAssistant:", "\n\nAssistant:", "\n\nHuman: Hi?"),
        *("Rules.\n\nHuman: Hi?\n\nAssistant:", "[INST] Hi? [/INST]"),
        "\n\nHuman: Hi?\n\nAssistant: Yes?\n\nAssistant:",
    ],
)
def test_turns_that_are_not_known_are_refused(prompt: str) -> None:
    with pytest.raises(RowError, match="prompt"):
        turns_of(prompt)
