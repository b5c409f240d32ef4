"""From question and answer to tokens, and from characters of the answer to those tokens.

Characters are code points of the answer as stored. A character belongs to the first token that
covers it; one that no token covers (white space, for many tokenizers) to the next token, at the end
of the answer to the last one. Characters that truncation cut off belong to no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .data_error import DataError

IntArray = NDArray[np.int64]
Question = str | Sequence[dict[str, str]] | None

LAYOUTS = ("chat", "pair", "plain")
"""`chat`: the tokenizer's chat template; `pair`: both texts with the tokenizer's special tokens
between them; `plain`: question, an empty line, answer."""
_PLAIN_BREAK = "\n\n"
_MARK = "\ue000answer\ue001"  # private use: in no text


@dataclass(frozen=True)
class AnswerTokens:
    """Where the answers of a batch lie in their token sequences; one row per answer.

    Attributes:
        input_ids: Token ids per row; empty for a row without text.
        first: `[rows]` position of the answer's first token.
        count: `[rows]` tokens of the answer; 0 without text, or where all were cut off.
        start: `[rows + 1]` of each row in the flat arrays below.
        ends: Behind which character each token of the answer ends, row after row, with a sentinel
            before and behind each row; ascending over the batch through `base`.
        base: `[rows]` what was added to the characters of a row to make that so.
    """

    input_ids: list[list[int]]
    first: IntArray
    count: IntArray
    start: IntArray
    ends: IntArray
    base: IntArray

    def locate(self, row: IntArray, char: IntArray) -> IntArray:
        """Return the position of the token in its sequence; -1 where truncation cut it off.

        Args:
            row: Row of each character.
            char: Code point index into that row's answer.
        """
        entry = np.searchsorted(self.ends, self.base[row] + char, side="right")
        number = entry - self.start[row] - 1
        inside = (number >= 0) & (number < self.count[row])
        return np.where(inside, self.first[row] + number, -1)

    def spans(self, row: int) -> list[tuple[int, int]]:
        """Return, for each token of an answer, the characters that belong to it."""
        begin, stop = self.start[row], self.start[row] + self.count[row] + 1
        edges = (self.ends[begin:stop] - self.base[row]).tolist()
        return list(zip(edges[:-1], edges[1:], strict=True))


def choose_layout(tokenizer: Any) -> str:
    """Return the layout that a tokenizer is made for."""
    if tokenizer.chat_template:
        return "chat"
    single, pair = (tokenizer.num_special_tokens_to_add(pair=p) for p in (False, True))
    # Without a separator the second special token only marks another beginning (Llama).
    return "pair" if tokenizer.sep_token and pair > single else "plain"


def tokenize_answers(
    tokenizer: Any,
    questions: Sequence[Question],
    answers: Sequence[str | None],
    layout: str,
    max_length: int,
    chat_template: str | None = None,
) -> AnswerTokens:
    """Tokenize rows of question and answer.

    Args:
        tokenizer: A fast tokenizer; its truncation side decides what is cut.
        questions: Text, messages (`role`, `content`) that end with the reader's turn (chat layout
            only), or None.
        answers: None for a row without text.
        layout: One of `LAYOUTS`.
        max_length: Longest sequence, in tokens.
        chat_template: Instead of the tokenizer's.

    Raises:
        DataError: The chat template changes an answer, or messages meet a layout without roles.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    if layout == "pair":
        second = [str(answers[row]) for row in rows]
        placed = [
            _Placed(_text(questions[row], row), 0, 0, len(text))
            for row, text in zip(rows, second, strict=True)
        ]
    else:
        second = None
        write = partial(_write_chat, chat_template) if layout == "chat" else _write_plain
        placed = [write(tokenizer, questions[row], str(answers[row]), row) for row in rows]
    encoded = _encode(
        tokenizer, [place.text for place in placed], second, max_length, special=layout != "chat"
    )
    found = _Collector(len(answers))
    for row, place, ids, encoding in zip(rows, placed, *encoded, strict=True):
        offsets = encoding.offsets
        flat = np.fromiter(chain.from_iterable(offsets), np.int64, 2 * len(offsets))
        begin, end = flat[::2], flat[1::2]
        if second is None:
            inside = np.flatnonzero((end > place.begin) & (begin < place.begin + place.length))
            first, count = (int(inside[0]), len(inside)) if inside.size else (0, 0)
        else:
            numbers = encoding.sequence_ids
            count = numbers.count(1)
            first = numbers.index(1) if count else 0
        shift = place.skipped - place.begin
        found.add(
            row,
            ids,
            first,
            begin[first : first + count] + shift,
            end[first : first + count] + shift,
            len(str(answers[row])),
            tokenizer.truncation_side if len(offsets) >= max_length else None,
        )
    return found.finish()


class _Placed(NamedTuple):
    """A text to tokenize and where the answer stands in it.

    `skipped` characters at the beginning of the answer were not written (trimmed by a template);
    the next `length` stand at `begin`.
    """

    text: str
    begin: int
    skipped: int
    length: int


class _Collector:
    """Gathers the rows of an `AnswerTokens`; rows that are not added have no text."""

    def __init__(self, rows: int) -> None:
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        self._first = np.zeros(rows, dtype=np.int64)
        self._ends: list[IntArray] = [np.array([0, 1])] * rows

    def add(
        self,
        row: int,
        ids: list[int],
        first: int,
        begin: IntArray,
        end: IntArray,
        chars: int,
        cut: str | None,
    ) -> None:
        self._ids[row] = ids
        self._first[row] = first
        ends = np.empty(len(end) + 2, dtype=np.int64)
        ends[1:-1] = np.minimum(np.maximum.accumulate(np.maximum(end, 0)), chars)
        ends[0] = max(int(begin[0]), 0) if len(end) and cut == "left" else 0
        if len(end) and cut != "right":
            ends[-2] = chars
        ends[-1] = chars + 1
        self._ends[row] = ends

    def finish(self) -> AnswerTokens:
        sizes = np.array([len(ends) for ends in self._ends], dtype=np.int64)
        last = np.array([ends[-1] for ends in self._ends], dtype=np.int64)
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        base = np.concatenate([[0], np.cumsum(last)])[:-1].astype(np.int64)
        ends = np.concatenate(self._ends) if self._ends else np.empty(0, np.int64)
        return AnswerTokens(
            input_ids=self._ids,
            first=self._first,
            count=sizes - 2,
            start=start,
            ends=ends + np.repeat(base, sizes),
            base=base,
        )


def _encode(
    tokenizer: Any, texts: list[str], second: list[str] | None, max_length: int, *, special: bool
) -> tuple[list[list[int]], list[Any]]:
    """Return the ids of each text and what else its encoding knows."""
    if not texts:
        return [], []
    if not tokenizer.is_fast:
        raise DataError(
            f"{type(tokenizer).__name__} is a slow tokenizer, which does not tell where its tokens "
            "come from. Expected a fast one (AutoTokenizer gives it where there is one)."
        )
    batch = tokenizer(
        texts,
        second,
        add_special_tokens=special,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return batch["input_ids"], batch.encodings


def _text(question: Question, row: int) -> str:
    if question is None:
        return ""
    if isinstance(question, str):
        return question
    raise DataError(
        f"row {row}, field 'question': messages, but this processor writes plain text. Expected a "
        "string, or a tokenizer with a chat template."
    )


def _write_plain(tokenizer: Any, question: Question, answer: str, row: int) -> _Placed:
    before = _text(question, row)
    before += _PLAIN_BREAK if before else ""
    return _Placed(before + answer, len(before), 0, len(answer))


def _write_chat(
    chat_template: str | None, tokenizer: Any, question: Question, answer: str, row: int
) -> _Placed:
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question

    def render(text: str) -> str:
        turn = {"role": "assistant", "content": text}
        return str(
            tokenizer.apply_chat_template(
                [*(messages or []), turn], chat_template=chat_template, tokenize=False
            )
        )

    before, mark, after = render(_MARK).partition(_MARK)
    rendered = render(answer)
    trimmed = answer.strip()
    if mark and rendered == before + answer + after:
        return _Placed(rendered, len(before), 0, len(answer))
    if mark and rendered == before + trimmed + after:
        skipped = len(answer) - len(answer.lstrip())
        return _Placed(rendered, len(before), skipped, len(trimmed))
    raise DataError(
        f"row {row}, field 'answers': the chat template does not write the answer as it is, so its "
        "characters cannot be found in the tokens. Use layout='plain', or another template."
    )
