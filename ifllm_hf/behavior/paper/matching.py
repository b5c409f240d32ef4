"""Which question a sample belongs to, by the paper's rule: its window is found near its caret.

The same (window, caret) has the same answer throughout a side of a conversation, so each distinct
pair is looked up once; the rest is array work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import BoolArray, FloatArray, IntArray
from ifllm_hf.data.raw.samples import Samples
from ifllm_hf.errors import DataError

HALF_WIDTH = 15
"""Characters on each side of the caret in which a window is looked for."""

PLACEHOLDER = (
    "After you type your question, please wait patiently. It might take up to 1 minute for AI to "
    "finish generating their answer. The AI's response will show up here."
)
"""What the collection site showed in place of an answer before the first one arrived."""

BEFORE_ANY, PROMPT, UNMATCHED = -2, -1, 0
"""Labels that are no question; the n-th question asked has label n >= 1."""


@dataclass(frozen=True)
class MatchedFile:
    """One behaviour file after matching, rows in file order; every array has shape (n,).

    Attributes:
        page_ms: Page clock, ms.
        caret: Caret offset, -1 = none.
        on: The row is on the answer (x and y are not both -1).
        inside: Neither x nor y is -1.
        label: `BEFORE_ANY`, `PROMPT`, `UNMATCHED` or the number of the question; rows off the
            answer carry on the last question matched.
        question: Number of the question whose answer has the row's (non-empty) window, else 0.
        green: The camera saw a well placed face, or the record has no camera flag.
    """

    page_ms: FloatArray
    caret: IntArray
    on: BoolArray
    inside: BoolArray
    label: IntArray
    question: IntArray
    green: BoolArray

    def __getitem__(self, rows: BoolArray | IntArray) -> MatchedFile:
        """Return the rows of a mask, or of positions in their order."""
        return MatchedFile(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @cached_property
    def reading(self) -> BoolArray:
        """Which rows are inside the answer and have a caret."""
        reading: BoolArray = self.inside & (self.caret != -1)
        return reading

    def sorted(self) -> MatchedFile:
        """Return the rows in order of the page clock."""
        if np.all(self.page_ms[1:] >= self.page_ms[:-1]):
            return self
        return self[np.argsort(self.page_ms, kind="stable")]


def concatenate(files: Sequence[MatchedFile]) -> MatchedFile:
    """Join the rows of several files, one after the other."""
    names = MatchedFile.__dataclass_fields__
    return MatchedFile(*(np.concatenate([getattr(f, name) for f in files]) for name in names))


def flatten(text: str) -> str:
    """Replace each line feed and each carriage return by one space."""
    return text.replace("\n", " ").replace("\r", " ")


def locate(
    windows: Sequence[str | None], carets: Sequence[int], answers: Sequence[str]
) -> tuple[list[int], list[bool]]:
    """Find the question and the placeholder text by window and caret.

    A text has a window that occurs in it within 15 characters of the caret, line ends being spaces
    in both (`flatten`). As in the paper, the caret -1 looks at the first 14 characters.

    Args:
        windows: Recorded windows; None counts as "".
        carets: Caret offsets, -1 = none.
        answers: The answers of one side in order of asking; "" where there is none.

    Returns:
        questions: Number of the first question whose answer has the (non-empty) window near the
            caret, else 0.
        on_prompt: Whether the placeholder text has it; an empty window always.
    """
    texts = [(number, flatten(text)) for number, text in enumerate(answers, start=1) if text]
    questions, on_prompt = [0] * len(windows), [False] * len(windows)
    for row, (raw, caret) in enumerate(zip(windows, carets, strict=True)):
        window = (raw or "").strip()
        if not window:
            on_prompt[row] = True
            continue
        if "\n" in window or "\r" in window:
            window = flatten(window)
        # This is the hot spot of the paper's features.
        start = caret - HALF_WIDTH if caret > HALF_WIDTH else 0
        stop = caret + HALF_WIDTH
        if start < len(PLACEHOLDER):
            on_prompt[row] = window in PLACEHOLDER[start:stop]
        for number, text in texts:
            if window in text[start:stop]:
                questions[row] = number
                break
    return questions, on_prompt


def match_files(files: Sequence[tuple[str, Samples]], answers: Sequence[str]) -> list[MatchedFile]:
    """Give every row of one side's files its question, by text and caret.

    The same window at the same caret has the same place in all files of a side, so each distinct
    pair is located once.

    Args:
        files: (name for errors, for example "worker_1/2, gaze a"; samples in file order).
        answers: The side's answers in order of asking; "" where there is none.

    Returns:
        Per file, the rows whose two times are numbers; the others still take part in matching.

    Raises:
        DataError: If a source recorded no windows.
    """
    on = [(samples.x != -1) | (samples.y != -1) for _, samples in files]
    on_answer = list(zip(files, on, strict=True))
    windows = pl.concat(
        [_windows(name, samples).filter(pl.Series(rows)) for (name, samples), rows in on_answer]
    ).fill_null("")
    carets = np.concatenate([samples.caret[rows] for (_, samples), rows in on_answer])
    text_codes = windows.cast(pl.Categorical).to_physical().to_numpy()
    keys = (text_codes.astype(np.int64) << 31) + carets.astype(np.int64)
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    located = locate(windows.gather(first).to_list(), carets[first].tolist(), answers)
    question = np.array(located[0], dtype=np.int64)[back]
    on_prompt = np.array(located[1], dtype=np.bool_)[back]
    ends = np.cumsum([np.count_nonzero(rows) for rows in on])[:-1]
    parts = zip(files, on, np.split(question, ends), np.split(on_prompt, ends), strict=True)
    return [_label(samples, rows, found, prompt) for (_, samples), rows, found, prompt in parts]


def _windows(name: str, samples: Samples) -> pl.Series:
    """Return the windows of a file, or raise DataError if the source recorded none."""
    window = samples.window
    if window is None or (len(window) and window.null_count() == len(window)):
        raise DataError(
            f"{name}: no text windows were recorded; the paper's features find the question by "
            "the text around the caret. Collected sessions do not have it: use the feature set "
            "'ours' for them."
        )
    return window


def _label(samples: Samples, on: BoolArray, found: IntArray, on_prompt: BoolArray) -> MatchedFile:
    """Label all rows of a file, given question and placeholder of the rows on the answer."""
    question = np.zeros(len(samples), dtype=np.int64)
    question[on] = found
    label = np.zeros(len(samples), dtype=np.int64)
    label[on] = np.where(on_prompt, PROMPT, found)
    # Off the answer, the last question matched carries on.
    last = np.maximum.accumulate(np.where(label > 0, np.arange(len(label)), -1))
    off = ~on
    label[off] = np.where(last >= 0, label[last], BEFORE_ANY)[off]
    matched = MatchedFile(
        page_ms=np.asarray(samples.page_ms, dtype=np.float64),
        caret=samples.caret.astype(np.int64),
        on=on,
        inside=(samples.x != -1) & (samples.y != -1),
        label=label,
        question=question,
        green=samples.camera != 0,
    )
    timed = ~(np.isnan(samples.page_ms) | np.isnan(samples.epoch_ms))
    return matched if timed.all() else matched[timed]


def first_rows(numbers: IntArray) -> dict[int, int]:
    """Return the first row of every question number (> 0), in order of the numbers."""
    if len(numbers) == 0:
        return {}
    found = {n: int(np.argmax(numbers == n)) for n in range(1, int(numbers.max()) + 1)}
    return {n: row for n, row in found.items() if numbers[row] == n}


def capped_gaps_ms(page_ms: FloatArray, cap_ms: float = 1000.0) -> float:
    """Return the sum of the steps between consecutive times (sorted), each at most `cap_ms`."""
    return float(np.minimum(page_ms[1:] - page_ms[:-1], cap_ms).sum())
