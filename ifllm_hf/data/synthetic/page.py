"""The page that the made-up readers look at: columns, lines, scrolling, rating form, carets.

All lengths are CSS pixels. The numbers were measured on the public release: text of 11 by 70 px per
character, columns that start 335 px below the top of the window and 20 px from its left, the second
one in the middle, both 48 % of the window wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CHAR_PX = 11.0
LINE_PX = 70.0
LABEL_CHAR_PX = 9.0
WINDOW_UNITS = 10

PLACEHOLDER = (
    "After you type your question, please wait patiently. It might take up to 1 minute for AI to "
    "finish generating their answer. The AI's response will show up here."
)

# What a point of the page shows.
NONE, PAGE, RATING, PLACEHOLDER_TEXT, RESPONSE = range(5)
SURFACES = ("none", "page", "rating", "placeholder", "response")

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One row of the rating form: its centre below the answers' box, and its labels by place."""

    below_px: float
    labels: tuple[tuple[str, float], ...]  # text, centre as a share of the window's width


_LIKERT = tuple(
    zip(
        ("Very Dissatisfied", "Dissatisfied", "Neutral", "Satisfied", "Very Satisfied"),
        (0.3735, 0.455, 0.537, 0.618, 0.700),
        strict=True,
    )
)
LIKERT_A, LIKERT_B, CHOICE, NEXT = 1, 2, 4, 5
CHOICE_X = {"a": 0.495, "b": 0.660}  # the radio buttons of the preference
FORM = (
    Row(35.0, (("How satisfied are you with each response?", 0.5),)),
    Row(85.0, (("Left Response", 0.24), *_LIKERT)),
    Row(145.0, (("Right Response", 0.24), *_LIKERT)),
    Row(195.0, (("Which response did you like better?", 0.55),)),
    Row(245.0, (("Left Response", CHOICE_X["a"]), ("Right Response", CHOICE_X["b"]))),
    Row(300.0, (("Next Step", 0.56),)),
)
FORM_HEIGHT_PX = 330.0
FORM_TOP_AT = 0.48  # while rating, the answers' box ends at this share of the window's height


@dataclass(frozen=True)
class Screen:
    """A window and one of the three layouts.

    Attributes:
        width: Of the window.
        height: Of the window.
        layout: "single" (pointwise: one box, positions count its scroll), "box" (pairwise:
            positions in the visible box) or "paragraph" (pairwise since 2026: positions in the
            whole paragraph, whose rectangle reaches beyond its box).
    """

    width: int
    height: int
    layout: str

    @property
    def sides(self) -> int:
        """Number of columns."""
        return 1 if self.layout == "single" else 2

    @property
    def top_px(self) -> float:
        """Top of the columns in the unscrolled page."""
        return 375.375 if self.layout == "paragraph" else 334.6125

    @property
    def box_px(self) -> float:
        """Height of the visible box of an answer."""
        return float(round(0.58 * self.height))

    @property
    def column_px(self) -> float:
        """Width of an answer."""
        return self.width - 64.0 if self.sides == 1 else 0.48 * self.width - 8.8

    def left_px(self, side: int) -> float:
        """Return the left edge of side 0 (a) or 1 (b)."""
        first = 28.8 if self.layout == "paragraph" else 20.0
        return first if side == 0 else self.width / 2 + first - 19.5

    @property
    def rating_scroll_px(self) -> float:
        """How far the page is scrolled while the rating form is used."""
        return float(round(self.top_px + self.box_px - FORM_TOP_AT * self.height))

    @property
    def columns(self) -> int:
        """Characters per line."""
        return int(self.column_px // CHAR_PX)


class Layout:
    """A shown text broken into visual lines; offsets are UTF-16 units, as the browser counts."""

    def __init__(self, text: str, columns: int, source: list[int] | None = None) -> None:
        """Break `text` at `columns` characters; `source`: stored index of each character."""
        self.text = text
        starts: list[int] = []
        ends: list[int] = []
        base = 0
        for line in text.split("\n"):
            at = 0
            while len(line) - at > columns:
                cut = line.rfind(" ", at, at + columns + 1)
                cut = at + columns if cut <= at else cut + 1
                starts.append(base + at)
                ends.append(base + cut)
                at = cut
            starts.append(base + at)
            ends.append(base + len(line))
            base += len(line) + 1
        width = 1 + (np.frombuffer(text.encode("utf-32-le"), np.uint32) > 0xFFFF)
        unit_of_char = np.concatenate([[0], np.cumsum(width)])
        self.units = int(unit_of_char[-1])
        self.line_start: IntArray = unit_of_char[starts]
        self.line_end: IntArray = unit_of_char[ends]
        # The character a unit lies in, and the first one that starts at the unit or after it: they
        # differ only in the middle of a surrogate pair.
        self.char_down: IntArray = np.append(np.repeat(np.arange(len(text)), width), len(text))
        self.char_up: IntArray = np.searchsorted(unit_of_char, np.arange(self.units + 1))
        self.stored: IntArray = np.arange(len(text) + 1) if source is None else np.array(source)
        self.stored[-1] = self.stored[max(0, len(text) - 1)]  # behind the text: its last character
        self.height_px = LINE_PX * len(starts)

    def line_of(self, unit: IntArray) -> IntArray:
        """Return the line of each offset."""
        return np.searchsorted(self.line_start, unit, side="right") - 1

    def caret(self, x_px: FloatArray, y_px: FloatArray) -> tuple[IntArray, IntArray]:
        """Return offset and line of the caret nearest to points given relative to the text."""
        line = np.clip(y_px // LINE_PX, 0, len(self.line_start) - 1).astype(np.int64)
        start = self.line_start[line]
        column = np.clip(np.rint(x_px / CHAR_PX).astype(np.int64), 0, self.line_end[line] - start)
        unit = start + column
        return unit - (self.char_down[unit] != self.char_up[unit]), line

    def windows(self, unit: IntArray, line: IntArray) -> list[str]:
        """Return up to ten units on each side of carets on their visual lines, trimmed."""
        low = np.maximum(unit - WINDOW_UNITS, self.line_start[line])
        high = np.minimum(unit + WINDOW_UNITS, self.line_end[line])
        ends = zip(self.char_up[low].tolist(), self.char_down[high].tolist(), strict=True)
        return [self.text[a:b].strip() for a, b in ends]


class PageLabels:
    """The texts around the answers: topic above, rating form below."""

    def __init__(self, screen: Screen, topic: str) -> None:
        """Place the labels of `screen`; `topic` is the heading."""
        self.screen = screen
        self.texts: list[str] = []
        self.left: list[float] = []
        self.rows: list[tuple[float, list[int]]] = []
        title = Row(0.0, ((f"Please query about {topic}", 0.3),))
        for row in (title, *FORM):
            ids = []
            for text, centre in row.labels:
                ids.append(len(self.texts))
                self.texts.append(text)
                self.left.append(centre * screen.width - LABEL_CHAR_PX * len(text) / 2)
            self.rows.append((row.below_px, ids))

    @cached_property
    def _centres(self) -> list[FloatArray]:
        width = LABEL_CHAR_PX / 2
        return [
            np.array([self.left[i] + width * len(self.texts[i]) for i in ids])
            for _, ids in self.rows
        ]

    def caret(
        self, x_px: FloatArray, y_px: FloatArray, box_top_px: FloatArray
    ) -> tuple[IntArray, IntArray]:
        """Return the label (-1: none) and the caret within it for points outside the answers."""
        label = np.full(len(x_px), -1, np.int64)
        below = y_px - box_top_px - self.screen.box_px
        for number, (at, ids) in enumerate(self.rows):
            hit = (
                (y_px < box_top_px - 40) & (y_px > box_top_px - 110)
                if number == 0
                else np.abs(below - at) <= 27
            )
            if hit.any():
                nearest = np.abs(x_px[hit, None] - self._centres[number]).argmin(axis=1)
                label[hit] = np.array(ids)[nearest]
        left = np.array(self.left)[label]
        length = np.array([len(text) for text in self.texts])[label]
        unit = np.clip(np.rint((x_px - left) / LABEL_CHAR_PX).astype(np.int64), 0, length)
        return label, unit

    def windows(self, unit: IntArray, label: IntArray) -> list[str]:
        """Return the windows of carets in labels."""
        return [
            self.texts[number][max(0, at - WINDOW_UNITS) : at + WINDOW_UNITS].strip()
            for number, at in zip(label.tolist(), unit.tolist(), strict=True)
        ]
