"""Where a recorded window of text stands: in which text of the page, at which character.

The page recorded a caret offset in UTF-16 units of whatever text node was under the point, and up
to ten characters on each side of it. `TextPages.fits` says which of the texts a reader could see
holds such a window at such an offset; `DisplayedText` turns the offset into a code point of the
stored answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PAD = 32  # zero units between texts, so that a comparison never runs into the next one
_UNITS = 24  # a window has at most 20 units; 24 = six keys of four
_BEFORE, _AFTER = 12, 2  # a window starts at most ten units before its caret (two for trimming)
_LONG = 12  # so long a window cannot fit twice around one caret
_SLACK = 15  # the reach of the slow comparison
_BLANK = str.maketrans("\n\r\0", "   ")  # line breaks show as blanks; zero is our separator


class DisplayedText:
    """A stored answer as the page showed it: trimmed, blank lines collapsed.

    Attributes:
        text: The displayed text; line breaks are blanks, as in a window.
        units: Its UTF-16 units, uint16 `[u]`.
    """

    def __init__(self, stored: str) -> None:
        """Prepare `stored`, the answer byte for byte as the log has it."""
        lead = len(stored) - len(stored.lstrip())
        body = stored.strip()
        pieces: list[tuple[int, str]] = []  # (code point in `stored`, text)
        at = 0
        for blank in re.finditer(r"\n\s*\n", body):
            pieces.append((lead + at, body[at : blank.start()] + "\n"))
            at = blank.end()
        pieces.append((lead + at, body[at:]))
        shown = "".join(piece for _, piece in pieces)
        code_points = np.concatenate([np.arange(s, s + len(p)) for s, p in pieces])
        self.text = shown.translate(_BLANK)
        self.units = np.frombuffer(self.text.encode("utf-16-le"), dtype=np.uint16)
        wide = np.frombuffer(shown.encode("utf-32-le"), dtype=np.uint32) > 0xFFFF
        self._code_point = np.repeat(code_points, 1 + wide).astype(np.int32)

    def code_point(self, caret_utf16: NDArray[np.int32]) -> NDArray[np.int32]:
        """Turn caret offsets (UTF-16 units of the page) into code points of the stored answer.

        A caret stands between two characters; the one to its right is taken, at the very end the
        last one. Offsets beyond the text give -1.
        """
        n = len(self._code_point)
        if n == 0:
            return np.full(len(caret_utf16), -1, dtype=np.int32)
        found = self._code_point[np.clip(caret_utf16, 0, n - 1)]
        return np.where((caret_utf16 < 0) | (caret_utf16 > n), np.int32(-1), found)


class TextPages:
    """Texts that windows are looked up in."""

    def __init__(self, texts: Sequence[DisplayedText]) -> None:
        """Take the candidates; the columns of `fits` are in their order."""
        self._texts = [t.text for t in texts]
        self._length = np.array([len(t.units) for t in texts], dtype=np.int64)
        parts: list[NDArray[np.uint16]] = [np.zeros(_PAD, np.uint16)]
        base = []
        at = _PAD
        for text in texts:
            base.append(at)
            parts += [text.units, np.zeros(_PAD, np.uint16)]
            at += len(text.units) + _PAD
        self._base = np.array(base, dtype=np.int64)
        self._units = np.concatenate(parts)
        self._key = _keys(self._units)

    def fits(self, windows: Sequence[str], carets: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Say which texts hold each window around its caret.

        Args:
            windows: `[p]` window texts as recorded (trimmed, so the caret may stand anywhere in
                or one beside them).
            carets: `[p]` offsets in UTF-16 units.

        Returns:
            `[p, texts]`. An empty window fits nothing.
        """
        n, m = len(windows), len(self._texts)
        fit = np.zeros((n, m), dtype=bool)
        if n == 0 or m == 0:
            return fit
        units, length = _window_units(windows)
        wanted = _keys(units.ravel()).reshape(n, _UNITS)[:, 0]
        # A window of fewer than four units is compared on the units that it has.
        missing = np.uint64(4) - np.minimum(length, 4).astype(np.uint64)
        mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(16) * missing % np.uint64(64))
        at = carets.astype(np.int64)
        # Most windows have their ten units before the caret; the search is for the others.
        usual = np.flatnonzero(length >= _LONG)
        self._compare(usual, at, (-10, -9), units, length, wanted, mask, fit)
        others = np.flatnonzero(~fit.any(axis=1) & (length > 0))
        self._compare(others, at, range(-_BEFORE, _AFTER + 1), units, length, wanted, mask, fit)
        self._fit_without_quotes(windows, carets, fit)
        return fit

    def _compare(
        self,
        rows: NDArray[np.int64],
        carets: NDArray[np.int64],
        shifts: Sequence[int],
        units: NDArray[np.uint16],
        length: NDArray[np.int64],
        wanted: NDArray[np.uint64],
        mask: NDArray[np.uint64],
        fit: NDArray[np.bool_],
    ) -> None:
        """Mark in `fit` the texts that hold the windows `rows` at one of the shifts."""
        start = carets[rows, None] + np.array(shifts)  # [rows, shifts]
        for t, (base, size) in enumerate(zip(self._base, self._length, strict=True)):
            # Starts outside the text fall into the zeros around it.
            where = np.minimum(np.maximum(start, -_BEFORE), size)
            where += base
            key = self._key[where]
            key &= mask[rows, None]
            at, column = np.nonzero(key == wanted[rows, None])
            first, row = start[at, column], rows[at]
            inside = (first >= 0) & (first + length[row] <= size)
            row, place = row[inside], first[inside] + base
            seen = self._units[place[:, None] + np.arange(_UNITS)]
            same = (seen == units[row]) | (np.arange(_UNITS) >= length[row, None])
            fit[row[same.all(axis=1)], t] = True

    def _fit_without_quotes(
        self, windows: Sequence[str], carets: NDArray[np.int32], fit: NDArray[np.bool_]
    ) -> None:
        """Try windows that a CSV writer quoted again once more, ignoring quotes on both sides."""
        for p in np.flatnonzero(~fit.any(axis=1)).tolist():
            bare = windows[p].replace('"', "").rstrip(",")
            if len(bare) < 4 or (bare == windows[p] and not windows[p].endswith(")")):
                continue
            lo, hi = max(0, int(carets[p]) - _SLACK), int(carets[p]) + _SLACK
            for t, text in enumerate(self._texts):
                fit[p, t] = bare in text[lo:hi].replace('"', "")


def _keys(units: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Pack every four consecutive units into one number; `[n]`, zeros beyond the end."""
    padded = np.concatenate([units, np.zeros(3, np.uint16)]).astype(np.uint64)
    n = len(units)
    keys: NDArray[np.uint64] = (
        padded[:n]
        | (padded[1 : n + 1] << np.uint64(16))
        | (padded[2 : n + 2] << np.uint64(32))
        | (padded[3 : n + 3] << np.uint64(48))
    )
    return keys


def _window_units(windows: Sequence[str]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the UTF-16 units of each window, `[p, _UNITS]` padded with 0, and their number."""
    joined = "\0".join(windows) + "\0"
    if joined.count("\0") > len(windows):  # a window that holds our separator
        joined = "\0".join(window.replace("\0", " ") for window in windows) + "\0"
    flat = np.frombuffer(bytearray(joined, "utf-16-le", "replace"), dtype=np.uint16)
    flat[(flat == ord("\n")) | (flat == ord("\r"))] = ord(" ")
    ends = np.flatnonzero(flat == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    length = np.minimum(ends - starts, _UNITS)
    at = starts[:, None] + np.arange(_UNITS)
    units = np.where(np.arange(_UNITS) < length[:, None], flat[np.minimum(at, len(flat) - 1)], 0)
    return units.astype(np.uint16), length
