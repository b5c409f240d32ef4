"""Offsets on the page against characters of the stored answer, by brute force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ticks import displayed_text
from ifllm_hf.data.ticks.displayed_text import DisplayedText, TextPages

# Stored answers: blanks, line breaks of both kinds, wide characters.
ALPHABET = st.one_of(
    st.sampled_from(list("\n\n\n \r\tab.🦊é\u00a0")), st.characters(exclude_categories=["Cs"])
)
TEXTS = st.text(ALPHABET, max_size=60)


def shown(stored: str) -> list[tuple[str, int]]:
    """Return every character of the page with its place in `stored`, one character at a time."""
    low, high = 0, len(stored)
    while low < high and stored[low].isspace():
        low += 1
    while high > low and stored[high - 1].isspace():
        high -= 1
    out, at = [], low
    while at < high:
        out.append((stored[at], at))
        if stored[at] == "\n":  # up to the last line break of the blanks that follow it: one
            end = at + 1
            while end < high and stored[end].isspace():
                end += 1
            breaks = [i for i in range(at + 1, end) if stored[i] == "\n"]
            at = breaks[-1] if breaks else at
        at += 1
    return out


def units_of(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("")
@example(" \n ")
@example("a\r\n\r\nb")
@example("\n\n🦊\n\n \n🦊\n")
@example("a\n\x1c\nb")
def test_every_offset_gives_its_character(stored: str) -> None:
    page = DisplayedText(stored)
    characters = shown(stored)
    blanks = str.maketrans("\n\r\0", "   ")
    assert page.text == "".join(c for c, _ in characters).translate(blanks)
    expected = [at for c, at in characters for _ in range(units_of(c))]
    assert len(page.units) == len(expected)
    carets = np.arange(-2, len(expected) + 3, dtype=np.int32)
    behind = expected[-1:] or [-1]  # behind the text stands its last character
    found = page.code_point(carets).tolist()
    assert found == [-1, -1, *expected, *behind, -1, -1]
    for unit, at in enumerate(expected):
        assert stored[at].translate(blanks) == page.text[found_index(page.text, unit)]


def found_index(text: str, unit: int) -> int:
    """Return the index of the character that a UTF-16 unit belongs to."""
    for index, character in enumerate(text):
        unit -= units_of(character)
        if unit < 0:
            return index
    raise AssertionError


def test_a_small_answer() -> None:
    page = DisplayedText("  Hé 🦊\r\n\r\n\n- one\n\n")
    assert page.text == "Hé 🦊  - one"
    carets = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, -1], dtype=np.int32)
    # the fox has two units; of the line breaks one "\r\n" is left
    assert page.code_point(carets).tolist() == [2, 3, 4, 5, 5, 6, 7, 11, 12, 15, -1, -1]


def fits(windows: Sequence[str], carets: Sequence[int], texts: Sequence[str]) -> list[list[bool]]:
    """Say by brute force which texts hold each window at its caret.

    A window of twelve units or more mostly starts ten or nine units before its caret; only where no
    text holds it there, the starts around are tried.
    """
    pages = [DisplayedText(t).text.encode("utf-16-le") for t in texts]
    found = []
    for window, caret in zip(windows, carets, strict=True):
        wanted = re.sub("[\n\r\0]", " ", window).encode("utf-16-le")[: 2 * 24]
        usual = [_holds(p, wanted, (caret - 10, caret - 9)) for p in pages]
        anywhere = [_holds(p, wanted, range(caret - 12, caret + 3)) for p in pages]
        found.append(usual if len(wanted) >= 2 * 12 and any(usual) else anywhere)
    return found


def _holds(units: bytes, wanted: bytes, starts: Iterable[int]) -> bool:
    places = (units[2 * s : 2 * s + len(wanted)] for s in starts if s >= 0)
    return bool(wanted) and wanted in list(places)


def placed(texts: Sequence[str], windows: Sequence[str], carets: Sequence[int]) -> list[list[bool]]:
    pages = TextPages([DisplayedText(t) for t in texts])
    return pages.fits(windows, np.array(carets, dtype=np.int32)).tolist()


LOREM = "The quick brown fox jumps over the lazy dog. 🦊 A second sentence, with a comma!"


def window_at(text: str, caret: int, before: int = 10, after: int = 10) -> str:
    units = text.encode("utf-16-le")
    piece = units[2 * max(0, caret - before) : 2 * (caret + after)]
    return piece.decode("utf-16-le", errors="ignore").strip()


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 10])
def test_windows_of_every_size_fit_everywhere_in_their_text(width: int) -> None:
    carets = list(range(units_of(LOREM) + 1))
    windows = [window_at(LOREM, c, width, width) for c in carets]
    found = placed([LOREM, "Xyz 0123 Xyz"], windows, carets)
    for window, caret, (here, there) in zip(windows, carets, found, strict=True):
        assert here == bool(window), (window, caret)
        assert not there or len(window) <= 2
    # Elsewhere in the text, out of reach of the caret, they do not fit.
    away = placed([LOREM], ["The quick", "a comma!", "qui"], [40, 3, 20])
    assert away == [[False], [False], [False]]


def test_a_window_runs_neither_into_the_next_text_nor_out_of_its_own() -> None:
    assert placed(["abc", "def"], ["abcdef", "cdef", "abc", "def", "c", "d"], [3] * 6) == [
        [False, False],
        [False, False],
        [True, False],
        [False, True],
        [True, False],
        [False, True],
    ]
    assert placed(["abc"], ["abc"], [200]) == [[False]]
    assert placed(["abc"], ["abc"], [2**31 - 1]) == [[False]]
    assert placed(["", " "], ["a", ""], [0, 0]) == [[False, False]] * 2


def test_the_caret_tells_repeated_text_apart() -> None:
    text = "same words here " * 2 + "x" * 40
    assert placed([text, "y" * 16 + text], ["same words here"], [3]) == [[True, False]]
    assert placed([text, "y" * 16 + text], ["same words here"], [40]) == [[False, True]]


def test_no_windows_and_no_texts() -> None:
    assert TextPages([]).fits(["a"], np.array([0], dtype=np.int32)).shape == (1, 0)
    assert TextPages([DisplayedText("a")]).fits([], np.array([], dtype=np.int32)).shape == (0, 1)


def test_line_breaks_on_the_page_are_blanks_in_windows() -> None:
    stored = "first line\n\nsecond line"
    for window in ("line second", "line\nsecond", "line\r\nsecond"):
        assert placed([stored], [window], [10])[0][0] == ("\r\n" not in window)


def test_quotes_that_a_csv_writer_moved_are_looked_past() -> None:
    text = 'He said "I like it" and left.'
    for window in ('said ""I like it""', 'said I like it"",', '"said "I like'):
        assert placed([text, LOREM], [window], [12]) == [[True, False]]
    assert placed([text], ['""i""'], [12]) == [[False]]  # too short to tell
    assert placed([text], ['said ""You like'], [12]) == [[False]]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("ab 🦊\n"), max_size=50), max_size=4),
    st.lists(
        st.tuples(st.text(st.sampled_from("ab 🦊\n\0"), max_size=26), st.integers(0, 60)),
        max_size=12,
    ),
)
def test_fits_is_what_brute_force_finds(texts: list[str], seen: list[tuple[str, int]]) -> None:
    windows, carets = [w for w, _ in seen], [c for _, c in seen]
    expected = fits(windows, carets, texts)
    if seen and texts:
        assert placed(texts, windows, carets) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.data())
def test_a_window_cut_from_a_text_always_fits_it(texts: list[str], data: st.DataObject) -> None:
    pages = [DisplayedText(t) for t in texts]
    which = data.draw(st.integers(0, len(texts) - 1))
    caret = data.draw(st.integers(0, len(pages[which].units)))
    before, after = data.draw(st.tuples(st.integers(0, 10), st.integers(0, 10)))
    units = pages[which].units
    piece = units[max(0, caret - before) : caret + after].tobytes().decode("utf-16-le", "ignore")
    others = data.draw(st.lists(st.text(ALPHABET, max_size=20), max_size=3))
    found = placed(texts, [*others, piece], [0] * len(others) + [caret])
    assert found[-1][which] == bool(piece)


def test_any_bytes_of_a_window_are_looked_up() -> None:
    windows = ["\0", "a\0b", "\0\0\0", "", "\ufffdabc", "a" * 300]
    found = placed(["a b", "a" * 300, ""], windows, [0, 1, 2, 0, 1, 5])
    assert np.array(found).shape == (6, 3)
    assert found[5] == [False, True, False]
    assert displayed_text._UNITS == 24  # longer windows are compared on so many units
