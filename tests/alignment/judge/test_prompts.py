"""Which questions are asked, and how they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import PromptSelection
from ifllm_hf.alignment.judge.prompts import REPEATED, TRAINED_ON, held_out_prompts, select_prompts
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD, PromptFormat
from ifllm_hf.errors import ConfigError, DataError


def rows() -> list[dict[str, Any]]:
    return [
        {"prompt": "Mine?", "user_id": "a", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "mine? ", "user_id": "b", "fold": 1, "bullet_suffix": False},
        {"prompt": "Only a?", "user_id": "a", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "Only a?", "user_id": "c", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "Only c?", "user_id": "c", "fold": JUDGE_FOLD, "bullet_suffix": False},
        {"prompt": "Only b?", "user_id": "b", "fold": 1, "bullet_suffix": False},
    ]


def test_questions_are_of_readers_that_training_never_saw() -> None:
    kept, ledger = select_prompts(rows(), PromptSelection(), PromptFormat())
    assert [(p.question, p.user_id) for p in kept] == [("Only a?", "a"), ("Only c?", "c")]
    assert ledger.dropped[TRAINED_ON] == 1 and ledger.dropped[REPEATED] == 1
    assert ledger.seen == 6
    assert kept[0].prompt == "Question: Only a?\n\nAnswer:"


def test_the_suffix_and_the_past_are_shown_to_model_and_judge() -> None:
    past = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    row = {**rows()[2], "history_chosen": past}
    style = PromptFormat(suffix=True, history="chosen")
    (made,), _ = select_prompts([row], PromptSelection(), style)
    assert made.prompt == (
        "Question: Hi\n\nAnswer: Yes?\n\nQuestion: Only a? respond using bullet points\n\nAnswer:"
    )
    assert made.question == (
        "user: Hi\n\nassistant: Yes?\n\nuser: Only a? respond using bullet points"
    )


def test_fewer_questions_are_the_same_ones_when_data_grow() -> None:
    many = [{"prompt": f"Why {i}?", "user_id": f"r{i}", "fold": JUDGE_FOLD} for i in range(60)]
    few = PromptSelection(max_prompts=10)
    small = {p.prompt_id for p in select_prompts(many[:40], few, PromptFormat())[0]}
    large = {p.prompt_id for p in select_prompts(many, few, PromptFormat())[0]}
    assert len(small) == len(large) == 10 and len(small & large) >= 5
    other = select_prompts(many, PromptSelection(max_prompts=10, seed=1), PromptFormat())[0]
    assert {p.prompt_id for p in other} != large


def test_a_question_without_a_reader_is_a_group_of_its_own() -> None:
    kept, _ = select_prompts(
        [{"prompt": "A?"}, {"prompt": "B?"}], PromptSelection(fold=None), PromptFormat()
    )
    assert len({p.user_id for p in kept}) == 2


def test_ifllm_gives_the_questions_of_both_kinds(prepared_small: Path) -> None:
    import polars as pl

    turns = pl.concat(
        [
            pl.read_parquet(prepared_small / kind / "*.parquet", columns=["prompt", "fold"])
            for kind in ("pairwise", "pointwise")
        ]
    )
    fold = turns["fold"][0]
    kept, ledger = held_out_prompts(
        PromptSelection(dataset=str(prepared_small), fold=fold), PromptFormat()
    )
    assert ledger.seen == turns.height
    assert {p.question for p in kept} <= set(turns.filter(fold=fold)["prompt"].str.strip_chars())


def test_what_is_wrong_with_the_questions_is_one_message(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no question has fold 7"):
        held_out_prompts(PromptSelection(dataset=str(questions), fold=7), PromptFormat())
    with pytest.raises(ConfigError, match="no column 'history_chosen'"):
        held_out_prompts(PromptSelection(dataset=str(questions)), PromptFormat(history="chosen"))
    with pytest.raises(DataError, match="0 of 2 questions"):
        select_prompts(rows()[:2], PromptSelection(), PromptFormat())


USER, YES, NO = (
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Yes"},
    {"role": "assistant", "content": "No"},
)
HH = {
    "chosen": "\n\nHuman: Why?\n\nAssistant: Yes",
    "rejected": "\n\nHuman: Why?\n\nAssistant: You?",
}
PLAIN = {"chosen": "The sky is blue.", "rejected": "The sky is green."}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Why?", "chosen": [USER, YES], "rejected": [USER, NO]}, None),
        ({"chosen": [USER, YES], "rejected": [USER, NO]}, None),
        ({"prompt": [USER]}, None),
        ({"question": "Why?", "chosen": "Yes", "rejected": "No"}, None),
        (HH, "\n\nHuman: Why?\n\nAssistant:"),
    ],
)
def test_the_question_is_found_in_any_layout(
    row: dict[str, Any], prompt: str | None, tmp_path: Path
) -> None:
    """And so it is the question that is asked, never an answer; own templates stay alone."""
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(row) + "\n")
    chosen = PromptSelection(dataset=str(file), fold=None)
    (asked,), _ = held_out_prompts(chosen, PromptFormat())
    assert (asked.question, asked.prompt) == ("Why?", prompt or "Question: Why?\n\nAnswer:")
    (chat,), _ = held_out_prompts(chosen, PromptFormat(prompt_format="chat"))
    assert (chat.question, chat.prompt) == ("Why?", [USER])


def test_what_is_no_question_is_not_judged(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    for row, message in (
        (PLAIN, "cannot be judged"),
        ({"prompt": [USER, YES]}, "'prompt' ends with"),
        ({"prompt": [{**USER, "content": None}]}, "content is no text"),
    ):
        file.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=message):
            held_out_prompts(PromptSelection(dataset=str(file), fold=None), PromptFormat())
    file.write_text("".join(json.dumps(row) + "\n" for row in (HH, PLAIN)))
    with pytest.raises(DataError, match=r"pairs.jsonl: row 1, counted from 0, .*'The sky is'"):
        held_out_prompts(PromptSelection(dataset=str(file), fold=None), PromptFormat())
    file.write_text("")
    with pytest.raises(DataError, match="0 pairs"):
        held_out_prompts(PromptSelection(dataset=str(file), fold=None), PromptFormat())
