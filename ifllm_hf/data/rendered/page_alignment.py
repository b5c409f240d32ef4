"""Offsets into a page's text become offsets into the Markdown, or a reason why they do not.

Where our own renderer shows the very text that the page showed, which their hashes tell, each unit
of it is the same unit. Elsewhere (formulas, HTML, another dialect) a browser that has the Markdown
aligns by itself and sends runs of offsets. They count only for the very Markdown that they were
made from, which its hash tells, and only in order and inside of both texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.rendered.page_text import predicted_text, units
from ifllm_hf.files import digest

OUR_RENDERER, BROWSER = "our renderer", "browser"

WRONG_LENGTH = "the hash fits, the number of characters does not"
OTHER_TEXT = "the page's text is not the one that its Markdown gives"
OTHER_MARKDOWN = "aligned to another Markdown"
RUNS_DO_NOT_FIT = "runs overlap, or lie outside of the text"

Run = Sequence[int]
"""First unit in the page's text, first unit in the Markdown, number of units."""


@dataclass(frozen=True, eq=False)
class PageAlignment:
    """Where the units of a page's text stand.

    Attributes:
        places: [n] the UTF-16 unit of the Markdown of each counted unit of the page; -1: unknown.
        by: Who aligned: our renderer or the browser.
    """

    places: NDArray[np.int64]
    by: str

    def place(self, offset: int) -> int | None:
        """Return the unit of the Markdown at an offset of the page; None: unknown."""
        found = int(self.places[offset]) if 0 <= offset < len(self.places) else -1
        return None if found < 0 else found

    def stretch(self, first: int, last: int) -> tuple[int, int] | None:
        """Return first and last unit of the Markdown of a stretch of the page, both inclusive.

        Units whose place is unknown are passed over; None: all are, or it is beyond the text.
        """
        if not 0 <= first <= last < len(self.places):
            return None
        known = self.places[first : last + 1]
        known = known[known >= 0]
        return (int(known.min()), int(known.max())) if known.size else None


def align_page(markdown: str, sha256: str, length: int) -> PageAlignment | str:
    """Align a page's text by what our own renderer makes of its Markdown.

    Args:
        markdown: As stored.
        sha256: What the page said of its text; see `page_text.page_hash`.
        length: Counted units that the page said it has.

    Returns:
        The alignment, or why there is none.
    """
    expected = predicted_text(markdown)
    if expected.sha256 != sha256:
        return OTHER_TEXT
    if len(expected.places) != length:
        return WRONG_LENGTH
    return PageAlignment(expected.places, OUR_RENDERER)


def align_by_runs(
    markdown: str, length: int, source_sha256: str, runs: Sequence[Run]
) -> PageAlignment | str:
    """Take the alignment that a browser made, if it can be true.

    Args:
        markdown: As stored.
        length: Counted units of the page's text.
        source_sha256: sha256 of the Markdown that the browser aligned to, as UTF-8.
        runs: Its runs, in the order of the page.

    Returns:
        The alignment, or why it is refused.
    """
    if source_sha256 != digest(markdown):
        return OTHER_MARKDOWN
    table = np.array(runs, np.int64).reshape(-1, 3)
    begin, places, count = table.T
    inside = (count > 0) & (begin + count <= length) & (places + count <= len(units(markdown)))
    ends = table[:-1, :2] + count[:-1, None]
    if not inside.all() or (ends > table[1:, :2]).any() or (table < 0).any():
        return RUNS_DO_NOT_FIT
    found = np.full(length, -1, np.int64)
    for at, place, n in table.tolist():
        found[at : at + n] = np.arange(place, place + n)
    return PageAlignment(found, BROWSER)
