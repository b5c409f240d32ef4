"""Breaks a text into lines of fixed width and remembers where every character went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wrap(text: str, columns: int) -> tuple[NDArray[np.int64], list[str]]:
    """Break `text` at its line breaks and, where a line is too long, at spaces.

    Args:
        text: Any text.
        columns: Characters per line, at least 1.

    Returns:
        Line and column of every code point, shape (n, 2), (-1, -1) for line breaks and for the
        spaces at which a line was broken; and the lines. A tab counts as one space.
    """
    placed = np.full((len(text), 2), -1, dtype=np.int64)
    rows: list[str] = []
    start = 0
    for line in text.replace("\t", " ").split("\n"):
        begin = 0
        while True:
            end, following = _break(line, begin, columns)
            here = slice(start + begin, start + end)
            placed[here, 0], placed[here, 1] = len(rows), np.arange(end - begin)
            rows.append(line[begin:end])
            begin = following
            if begin >= len(line):
                break
        start += len(line) + 1
    return placed, rows


def _break(line: str, begin: int, columns: int) -> tuple[int, int]:
    """Return where the line that starts at `begin` ends, and where the next one starts."""
    if len(line) - begin <= columns:
        return len(line), len(line)
    space = line.rfind(" ", begin + 1, begin + columns + 1)
    if space < 0:
        return begin + columns, begin + columns
    return space, space + 1
