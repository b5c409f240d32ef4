"""A text with heat: how long gaze (behind it) and mouse (below it) were on every character.

Characters stand in cells of a grid, as in a typewriter's line, and are drawn as outlines in the
coordinates of the axes: text and heat stay together at every size and resolution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.declaration import FloatArray, IntArray
from ifllm_hf.plot.canvas import BLUE, GREY, VERMILION
from ifllm_hf.plot.wrapped_text import wrap

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes

_FONT = "DejaVu Sans Mono"
_ADVANCE_EM = 1233 / 2048  # of that font
_LINE_EM = 1.62  # from one line to the next
_BASELINE = 0.68  # of a line, from its top
CELL_ASPECT = _LINE_EM / _ADVANCE_EM
"""Height of a cell by its width."""
FONT_PT = 9.0
"""Size of the text where it is not asked for."""

GAZE_SPREAD = (2.0, 14.0)
"""Standard deviation of the smoothing of gaze, in lines and characters. A webcam is off by 100 to
200 px (Semmelmann & Weigelt 2018), and a line of the release's page was 70 px high, a character 11
px wide."""
MOUSE_SPREAD = (0.0, 3.0)
"""The same for the mouse: the pointer has a tip."""

_THICKEST_PT = 2.6
_STRONGEST_ALPHA = 0.72
_GAMMA = 0.75  # a short look is still a look
# Emphasis, headings, code fences: what a page would not have shown.
_MARKUP = re.compile(r"^\s*(?:```|~~~).*$|\*\*|`+|^#{1,6} ", re.MULTILINE)


@dataclass(frozen=True)
class SetText:
    """A text broken into lines of a fixed width.

    Attributes:
        text: The text.
        columns: Characters a line.
        rows: The lines.
        row: `[characters]` the line of each character; a line break counts to the line it ends.
        column: `[characters]` its place in the line.
    """

    text: str
    columns: int
    rows: list[str]
    row: IntArray
    column: IntArray

    def grid(self, values: FloatArray) -> FloatArray:
        """Return a value of each character as `[lines, columns]`; what meets is added up."""
        out = np.zeros((len(self.rows), self.columns))
        np.add.at(out, (self.row, self.column), values)
        return out

    def hidden_after(self, lines: int) -> int:
        """Return how many characters stand in later lines."""
        return int((self.row >= lines).sum())


def set_text(text: str, columns: int) -> SetText:
    """Break a text into lines."""
    placed, rows = wrap(text, columns)
    row, column = placed.T
    # Breaks have no cell of their own: theirs is that of the character before, if there is one.
    known = np.maximum.accumulate(np.where(row >= 0, np.arange(len(row)), -1))
    has = known >= 0
    return SetText(
        text,
        columns,
        rows,
        np.where(has, row[known], 0) if len(row) else row,
        np.where(has, column[known], 0) if len(row) else column,
    )


def smoothed(placed: SetText, dwell_ms: FloatArray, spread: tuple[float, float]) -> FloatArray:
    """Spread dwell over the neighbours of each character, in its line and in the lines around it.

    Each character's time is shared out by a Gaussian over the characters that there are, so the sum
    stays what it was.

    Args:
        placed: The text.
        dwell_ms: `[characters]`.
        spread: Standard deviations in lines and in characters; 0 does not spread.

    Returns:
        `[lines, columns]`, in milliseconds per character.
    """
    there = (placed.grid(np.ones(len(placed.text))) > 0).astype(float)
    along_lines = _gaussian(len(placed.rows), spread[0])
    along_columns = _gaussian(placed.columns, spread[1])
    reached = along_lines @ there @ along_columns
    share = np.divide(placed.grid(dwell_ms), reached, out=np.zeros_like(there), where=there > 0)
    return np.asarray(along_lines @ share @ along_columns * there)


def draw_text(
    axes: Axes,
    placed: SetText,
    lines: int,
    gaze_ms: FloatArray,
    mouse_ms: FloatArray,
    most: tuple[float, float],
    *,
    shown: int | None = None,
) -> None:
    """Draw the first lines of a text with its heat.

    Small amounts are seen better by a root, so neither scale is linear.

    Args:
        axes: Where to draw; a cell keeps its shape, whatever theirs is.
        placed: The text.
        lines: Room for so many lines.
        gaze_ms: `[lines of the text, columns]`, see `smoothed`.
        mouse_ms: The same of the mouse.
        most: The values of gaze and mouse that are drawn strongest.
        shown: How many lines to draw; as many as there is room for by default.
    """
    import matplotlib
    from matplotlib.colors import PowerNorm

    shown = min(lines if shown is None else shown, len(placed.rows))
    if most[0] > 0 and shown:
        axes.imshow(
            gaze_ms[:shown], cmap=heat_colours(), norm=PowerNorm(_GAMMA, 0, most[0]),
            extent=(0, placed.columns, shown, 0), interpolation="nearest", zorder=1,
        )  # fmt: skip
    if most[1] > 0 and shown:
        _underline(axes, np.sqrt(np.minimum(mouse_ms[:shown] / most[1], 1)))
    ink = matplotlib.rcParams["text.color"]
    rows, columns, which = _letters(placed, shown)
    for markup, color in ((False, ink), (True, GREY)):
        mine = which == markup
        _draw_glyphs(axes, placed, rows[mine], columns[mine], color)
    axes.set(xlim=(-0.8, placed.columns + 0.8), ylim=(lines + 0.35, -0.35), xticks=[], yticks=[])
    axes.set_aspect(CELL_ASPECT, adjustable="box", anchor="N")


def columns_in(width_pt: float, font_pt: float = FONT_PT) -> int:
    """Return how many characters fit into a width in points."""
    return max(12, int(width_pt / (font_pt * _ADVANCE_EM) - 1.6))


def lines_in(height_pt: float, font_pt: float = FONT_PT) -> int:
    """Return how many lines fit into a height in points."""
    return max(1, int(height_pt / (font_pt * _LINE_EM) - 0.7))


def height_pt(lines: int, width_pt: float, columns: int) -> float:
    """Return how high axes of so many lines are, in points, where they are so wide."""
    return (lines + 0.7) * CELL_ASPECT * width_pt / (columns + 1.6)


def heat_colours() -> Any:
    """Return a colour map from nothing to orange, for a light ground and for a dark one."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    ends = [to_rgba(VERMILION, alpha) for alpha in (0.0, _STRONGEST_ALPHA)]
    return LinearSegmentedColormap.from_list("dwell", ends)


def _gaussian(n: int, sigma: float) -> FloatArray:
    """Return `[n, n]` weights of neighbours, not normalised."""
    if sigma <= 0:
        return np.eye(n)
    apart = np.subtract.outer(np.arange(n), np.arange(n)) / sigma
    weights: FloatArray = np.exp(-0.5 * apart**2)
    return weights


def _underline(axes: Axes, share: FloatArray) -> None:
    """Draw a line below every cell, thicker for a larger share; none for next to nothing."""
    from matplotlib.collections import LineCollection

    row, column = np.nonzero(share > 0.12)
    # A little over each end, so that neighbours leave no seam.
    ends = [np.stack([column + shift, row + 0.9], -1) for shift in (-0.03, 1.03)]
    widths = 0.5 + (_THICKEST_PT - 0.5) * share[row, column]
    lines = LineCollection(
        list(np.stack(ends, 1)), linewidths=widths, colors=BLUE, capstyle="butt", zorder=2
    )
    axes.add_collection(lines, autolim=False)


def _letters(placed: SetText, lines: int) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """Return line and column of what is visible, and whether it is markup."""
    markup = np.zeros((len(placed.rows), placed.columns), dtype=bool)
    for found in _MARKUP.finditer(placed.text):
        here = slice(*found.span())
        markup[placed.row[here], placed.column[here]] = True
    at = [
        (i, k) for i, line in enumerate(placed.rows[:lines]) for k, c in enumerate(line) if c != " "
    ]
    rows, columns = np.array(at, dtype=np.int64).reshape(-1, 2).T
    return rows, columns, markup[rows, columns]


def _draw_glyphs(
    axes: Axes, placed: SetText, rows: IntArray, columns: IntArray, color: Any
) -> None:
    """Draw characters as outlines, a path for each line."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    paths = []
    for i in np.unique(rows):
        corners, codes = [], []
        for k in columns[rows == i]:
            shape, code = _glyph(placed.rows[i][k])
            if len(code):
                corners.append(shape + (k, i + _BASELINE))
                codes.append(code)
        if codes:
            paths.append(Path(np.concatenate(corners), np.concatenate(codes)))
    glyphs = PathCollection(paths, facecolors=color, linewidths=0, zorder=3)
    axes.add_collection(glyphs, autolim=False)


@cache
def _glyph(character: str) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Return the outline of a character in cells, from its baseline; a box if it has none."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    known = character if ord(character) in _charmap() else "\u25a1"
    corners, codes = text_to_path.get_text_path(FontProperties(family=_FONT), known)
    em = np.asarray(corners, dtype=np.float64).reshape(-1, 2) / text_to_path.FONT_SCALE
    return em / (_ADVANCE_EM, -_LINE_EM), np.asarray(codes, dtype=np.uint8)


@cache
def _charmap() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())
