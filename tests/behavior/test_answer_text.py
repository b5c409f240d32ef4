from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ifllm_hf.behavior.answer_text import split_answers


# --- the texts --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "words", "sentences", "paragraphs"),
    [
        ("", 0, 0, 0),
        ("x", 1, 1, 1),
        ("   ", 0, 1, 1),
        ("One. Two? Three!", 3, 3, 1),
        ("e.g. 3.5 m. Then", 4, 3, 1),
        ("1. First\n2. Second", 4, 2, 2),
        ("one\n\ntwo\n three ", 3, 3, 3),
        ("\n  one", 1, 1, 1),
        ("你好。 再见", 2, 2, 1),
        ("a\u00a0b 🙂!\r\nc", 4, 2, 2),
    ],
)
def test_units_of_a_text(text: str, words: int, sentences: int, paragraphs: int) -> None:
    around = "Some. Thing\nelse"
    answers = split_answers([around, text, around], [text, None, around])
    for turn, side in ((0, 1), (1, 0)):
        assert answers.chars[turn, side] == len(text)
        assert answers.words[turn, side] == words
        assert answers.sentences.count[turn, side] == sentences
        assert answers.paragraphs.count[turn, side] == paragraphs
    assert answers.words[0, 0] == answers.words[2, 1] == 3
    assert answers.sentences.count[2].tolist() == [3, 3]
    assert answers.exists.tolist() == [[True, True], [True, False], [True, True]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab .!\n1?", max_size=30), min_size=2, max_size=8))
@example(["", ". 1"])  # a digit that ends the answer before it is no list number
def test_neighbours_do_not_change_a_texts_units(texts: list[str]) -> None:
    together = split_answers(texts, list(reversed(texts)))
    for i, text in enumerate(texts):
        alone = split_answers([text], [None])
        assert together.words[i, 0] == alone.words[0, 0] == len(text.split())
        assert together.sentences.count[i, 0] == alone.sentences.count[0, 0]
        assert together.paragraphs.count[i, 0] == alone.paragraphs.count[0, 0]
        begin = together.start[2 * i]
        own = together.sentences.of_char[begin : begin + len(text)]
        assert (own - (own[0] if len(own) else 0)).tolist() == alone.sentences.of_char.tolist()
