"""Characters, words, sentences and paragraphs of the answers, in one pass over all texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.declaration import BoolArray, FloatArray, IntArray, ratio

Codes = NDArray[np.uint32]

# str.isspace() for the code points that occur in text.
_SPACES = np.array(
    [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x3000],
    dtype=np.uint32,
)
_SENTENCE_ENDS = np.array([ord(c) for c in ".!?…。！？"], dtype=np.uint32)


@dataclass(frozen=True)
class Units:
    """Consecutive pieces of the answers: sentences, paragraphs or blocks of equal size.

    Attributes:
        of_char: `[all characters]` number of the piece that a character belongs to.
        slot: `[pieces]` the answer that a piece belongs to.
        count: `[turns, 2]` pieces per answer.
    """

    of_char: IntArray
    slot: IntArray
    count: IntArray

    def mean(self, values: NDArray[Any]) -> FloatArray:
        """Return `[turns, 2]` the mean over an answer's pieces; NaN for one without."""
        return ratio(self.total(values), self.count)

    def total(self, values: NDArray[Any]) -> FloatArray:
        """Return `[turns, 2]` the sum over an answer's pieces."""
        total = np.bincount(self.slot, weights=values, minlength=self.count.size)
        return total.astype(np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Answers:
    """The texts of all answers behind each other; the answer of a turn's side is a *slot*.

    Attributes:
        exists: `[turns, 2]` False for the missing second answer of a pointwise turn.
        start: `[slots]` index of each answer's first character; slot = 2 * turn + side.
        chars: `[turns, 2]` length in code points; 0 where there is no answer.
        words: `[turns, 2]` pieces between white space.
        sentences: Pieces that end at `. ! ? …` before white space, or at a line break. A full stop
            behind a digit ends nothing: `1.` opens a list item.
        paragraphs: Pieces between line breaks (the release has no blank lines): also list items.
    """

    exists: BoolArray
    start: IntArray
    chars: IntArray
    words: IntArray
    sentences: Units
    paragraphs: Units

    def blocks(self, size: int) -> Units:
        """Cut every answer into blocks of `size` characters; the last one may be shorter."""
        return _units(self._inside() % size == 0, self.chars)

    def _inside(self) -> IntArray:
        """Return `[all characters]` the index of a character within its answer."""
        return np.arange(int(self.chars.sum())) - np.repeat(self.start, self.chars.ravel())


def split_answers(left: Sequence[str | None], right: Sequence[str | None]) -> Answers:
    """Take the answers apart.

    Args:
        left: Answer a of every turn.
        right: Answer b, None in pointwise turns.
    """
    texts = [text for pair in zip(left, right, strict=True) for text in pair]
    exists = np.array([text is not None for text in texts], dtype=bool).reshape(-1, 2)
    chars = np.array([len(text or "") for text in texts], dtype=np.int64).reshape(-1, 2)
    joined = "".join(text or "" for text in texts).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(joined, dtype=np.uint32)
    start = np.cumsum(chars.ravel()) - chars.ravel()
    opens = np.zeros(len(codes), dtype=bool)  # first character of an answer
    opens[start[chars.ravel() > 0]] = True

    ink = ~np.isin(codes, _SPACES)
    after_space = np.concatenate(([True], ~ink))[: len(codes)]
    word = np.flatnonzero(ink & (after_space | opens))
    slot = _slot_of(word, chars)
    breaks, ended = _before(codes, ink, word, opens)
    # The first piece of an answer begins with its first character, white space included.
    inner = np.concatenate(([False], slot[1:] == slot[:-1]))[: len(word)]
    sentence, paragraph = opens.copy(), opens.copy()
    sentence[word[inner & ((breaks >= 1) | ended)]] = True
    paragraph[word[inner & (breaks >= 1)]] = True
    return Answers(
        exists=exists,
        start=start,
        chars=chars,
        words=np.bincount(slot, minlength=chars.size).reshape(-1, 2),
        sentences=_units(sentence, chars),
        paragraphs=_units(paragraph, chars),
    )


def _before(
    codes: Codes, ink: BoolArray, word: IntArray, opens: BoolArray
) -> tuple[IntArray, BoolArray]:
    """Return, for the white space before each word, its line breaks and if it ends a sentence."""
    if not len(word):
        return np.empty(0, np.int64), np.empty(0, bool)
    lines = np.concatenate(([0], np.cumsum(codes == ord("\n"))))
    visible = np.maximum.accumulate(np.where(ink, np.arange(len(codes)), 0))
    last = visible[np.maximum(word - 1, 0)]  # the last visible character before the word
    mark, before = codes[last], codes[np.maximum(last - 1, 0)]
    numbered = (mark == ord(".")) & (before >= ord("0")) & (before <= ord("9"))
    numbered &= ~opens[last]  # what stands before an answer's first character is another answer
    return lines[word] - lines[last], np.isin(mark, _SENTENCE_ENDS) & ~numbered


def _units(begins: BoolArray, chars: IntArray) -> Units:
    slot = _slot_of(np.flatnonzero(begins), chars)
    return Units(
        of_char=np.cumsum(begins) - 1,
        slot=slot,
        count=np.bincount(slot, minlength=chars.size).reshape(-1, 2),
    )


def _slot_of(position: IntArray, chars: IntArray) -> IntArray:
    return np.searchsorted(np.cumsum(chars.ravel()), position, side="right")
