from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.errors import DataError
from ifllm_hf.reward.model.token_alignment import AnswerTokens, choose_layout, tokenize_answers
from tests.helpers.reward.tokenizers import CHAT, KINDS, make_tokenizer

WHOLE = 10_000

characters = st.one_of(
    st.sampled_from("aeinrst ,.\n"),
    st.sampled_from(
        ["\r\n", "🌌", "👩‍👩‍👧", "é", "e\u0301", "日", "  ", "\t", "ﬁ", "\u200b", "<s>"]
    ),
    st.characters(exclude_categories=["Cs"], exclude_characters="\ue000\ue001"),
)
texts = st.lists(characters, max_size=40).map("".join)


@cache
def tokenizer_of(kind: str) -> Any:
    return make_tokenizer(kind)


def tokenize(kind: str, question: str | None, answer: str, size: int = WHOLE) -> AnswerTokens:
    tokenizer = tokenizer_of(kind)
    return tokenize_answers(tokenizer, [question], [answer], choose_layout(tokenizer), size)


def places(tokens: AnswerTokens, chars: int, row: int = 0) -> list[int]:
    return tokens.locate(np.full(chars, row), np.arange(chars)).tolist()


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("wordpiece", "pair"), ("bytes", "plain"), ("metaspace", "plain"), ("chat", "chat")],
)
def test_the_layout_is_what_the_tokenizer_is_made_for(kind: str, layout: str) -> None:
    assert choose_layout(tokenizer_of(kind)) == layout


@pytest.mark.parametrize("kind", KINDS)
@given(question=st.one_of(st.none(), texts), answer=texts)
@settings(max_examples=60, deadline=None)
def test_every_character_lies_in_the_first_token_that_covers_it(
    kind: str, question: str | None, answer: str
) -> None:
    # The oracle takes the answer's own offsets from a second, independent way: the whole text is
    # written out here, and every token is asked for the characters it covers.
    if question is None and kind != "wordpiece":
        question = ""
    tokenizer = tokenizer_of(kind)
    tokens = tokenize(kind, question, answer)
    if kind == "wordpiece":
        encoding = tokenizer([question or ""], [answer]).encodings[0]
        begin, kept = 0, answer
        mine = [
            (i, a, b)
            for i, ((a, b), sequence) in enumerate(
                zip(encoding.offsets, encoding.sequence_ids, strict=True)
            )
            if sequence == 1
        ]
    else:
        kept = answer.strip() if kind == "trimming chat" else answer
        asked = (question or "").strip() if kind == "trimming chat" else question or ""
        before = (
            f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
            if "chat" in kind
            else asked + ("\n\n" if asked else "")
        )
        after = "<|im_end|>\n" if "chat" in kind else ""
        encoding = tokenizer(before + kept + after, add_special_tokens="chat" not in kind)
        encoding = encoding.encodings[0]
        begin = len(before) - (len(answer) - len(answer.lstrip()) if kept != answer else 0)
        stop = len(before) + len(kept)
        mine = [
            (i, a, b) for i, (a, b) in enumerate(encoding.offsets) if b > len(before) and a < stop
        ]
    assert tokens.input_ids[0] == encoding.ids
    found = places(tokens, len(answer))
    if not mine:
        assert set(found) <= {-1}
        return
    for char, place in enumerate(found):
        covering = [i for i, a, b in mine if a - begin <= char < b - begin]
        later = [i for i, a, b in mine if b - begin > char]
        assert place == (covering or later or [mine[-1][0]])[0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
@given(question=texts, answer=texts, size=st.integers(6, 40))
@settings(max_examples=40, deadline=None)
def test_truncation_loses_characters_and_moves_none(
    kind: str, side: str, question: str, answer: str, size: int
) -> None:
    tokenizer = tokenizer_of(kind)
    whole = tokenize(kind, question, answer)
    tokenizer.truncation_side = side
    try:
        cut = tokenize(kind, question, answer, size)
    finally:
        tokenizer.truncation_side = "right"
    assert len(cut.input_ids[0]) <= max(size, 0)
    kept = int(cut.count[0])
    lost = int(whole.count[0]) - kept
    before, after = places(whole, len(answer)), places(cut, len(answer))
    for char, old, new in zip(answer, before, after, strict=True):
        if new >= 0:
            number = new - int(cut.first[0]) + (lost if side == "left" else 0)
            # A character cut in the middle (four bytes, say) stays with what is left of it.
            expected = max(old - int(whole.first[0]), lost if side == "left" else 0)
            # Trimmed white space beside the cut has no offsets to go by.
            assert expected <= number <= expected + char.isspace()
        elif old >= 0:  # lost: its token is gone, or it is white space beside the cut
            number = old - int(whole.first[0])
            assert number <= lost if side == "left" else number >= kept - 1
    gone = sum(new < 0 <= old for old, new in zip(before, after, strict=True))
    assert gone == 0 or lost > 0 or len(whole.input_ids[0]) >= size


@pytest.mark.parametrize("kind", KINDS)
@given(answers=st.lists(st.one_of(st.none(), texts), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_a_row_is_located_as_if_it_were_alone(kind: str, answers: list[str | None]) -> None:
    tokenizer = tokenizer_of(kind)
    layout = choose_layout(tokenizer)
    batch = tokenize_answers(tokenizer, ["why"] * len(answers), answers, layout, 30)
    for row, answer in enumerate(answers):
        if answer is None:
            assert batch.input_ids[row] == [] and places(batch, 5, row) == [-1] * 5
        else:
            alone = tokenize_answers(tokenizer, ["why"], [answer], layout, 30)
            assert batch.input_ids[row] == alone.input_ids[0]
            assert places(batch, len(answer), row) == places(alone, len(answer))
            assert batch.spans(row) == alone.spans(0)


@pytest.mark.parametrize("kind", KINDS)
@given(answer=texts)
@settings(max_examples=25, deadline=None)
def test_spans_are_the_other_side_of_locate(kind: str, answer: str) -> None:
    tokens = tokenize(kind, "why", answer)
    found = places(tokens, len(answer))
    for number, (begin, end) in enumerate(tokens.spans(0)):
        assert found[begin:end] == [int(tokens.first[0]) + number] * (end - begin)


def test_astral_characters_count_once() -> None:
    tokens = tokenize("bytes", None, "🌌🌌x")
    first, second, last = places(tokens, 3)
    assert first < second < last
    assert tokens.spans(0)[-1] == (2, 3)


def test_a_second_beginning_is_no_separator() -> None:
    from tokenizers import processors

    tokenizer = make_tokenizer("bytes")
    begin = ("<s>", tokenizer.convert_tokens_to_ids("<s>"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[begin]
    )
    assert choose_layout(tokenizer) == "plain"


def test_messages_need_roles() -> None:
    past = [{"role": "user", "content": "why"}]
    with pytest.raises(DataError, match=r"row 0, field 'question': messages"):
        tokenize_answers(tokenizer_of("bytes"), [past], ["so"], "plain", 10)
    tokens = tokenize_answers(tokenizer_of("chat"), [past], ["so"], "chat", WHOLE)
    assert tokens.input_ids == tokenize("chat", "why", "so").input_ids


def test_a_template_that_rewrites_answers_is_refused() -> None:
    tokenizer = make_tokenizer("chat")
    tokenizer.chat_template = CHAT.replace("m['content']", "m['content'][:9]")
    tokenize_answers(tokenizer, ["why"], ["so it is"], "chat", WHOLE)
    with pytest.raises(DataError, match=r"row 1, field 'answers': the chat template"):
        tokenize_answers(tokenizer, ["why", "why"], ["so it is", "so it is not"], "chat", WHOLE)


def test_a_slow_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer("bytes")
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    with pytest.raises(DataError, match="slow tokenizer"):
        tokenize_answers(tokenizer, ["why"], ["so"], "plain", WHOLE)
