"""I-DT at irregular times: known events, the textbook loop, and text units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ifllm_hf.behavior.answer_text import split_answers
from ifllm_hf.behavior.features.fixations import fixations_by_dispersion
from ifllm_hf.errors import DataError


def textbook(
    t: np.ndarray, x: np.ndarray, segment: np.ndarray, spread: float, lasting: float
) -> list[tuple[int, int]]:
    """Dispersion-threshold identification as a loop over samples."""

    def fits(i: int, j: int) -> bool:
        part = x[i : j + 1]
        return bool((part.max(axis=0) - part.min(axis=0)).sum() <= spread)

    found, i = [], 0
    while i < len(t):
        j = i
        while j + 1 < len(t) and segment[j + 1] == segment[i] and fits(i, j + 1):
            j += 1
        if t[j] - t[i] >= lasting:
            found.append((i, j))
            i = j + 1
        else:
            i += 1
    return found


def test_known_fixations_are_found_at_irregular_times() -> None:
    rng = np.random.default_rng(3)
    places = [(100.0, 100.0), (400.0, 120.0), (420.0, 500.0)]
    t = np.cumsum(rng.uniform(40, 140, 60))
    x = np.concatenate([rng.uniform(-10, 10, (20, 2)) + place for place in places])
    first, last = fixations_by_dispersion(t, x, max_dispersion=45, min_duration_ms=150)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(0, 19), (20, 39), (40, 59)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 60),
    dims=st.integers(1, 2),
    spread=st.integers(0, 25),
    lasting=st.integers(0, 600),
)
def test_it_is_the_textbook_algorithm(
    seed: int, n: int, dims: int, spread: int, lasting: int
) -> None:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 200, n))
    x = np.cumsum(rng.choice([0, 0, 0, 3, -4, 30], (n, dims)), axis=0)
    segment = np.cumsum(rng.random(n) < 0.1)
    first, last = fixations_by_dispersion(
        t, x, max_dispersion=spread, min_duration_ms=lasting, segment=segment
    )
    expected = textbook(t, x, segment, spread, lasting)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == expected


def test_bad_samples_are_named() -> None:
    t = np.arange(3)
    with pytest.raises(DataError, match="position 1 is not finite"):
        fixations_by_dispersion(
            t, np.array([0.0, np.nan, 1.0]), max_dispersion=1, min_duration_ms=1
        )
    with pytest.raises(DataError, match="3 times, 2 positions"):
        fixations_by_dispersion(t, np.zeros(2), max_dispersion=1, min_duration_ms=1)


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
