"""Numbers as the page draws them, and how the pages that recorded answers had set them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PageLines:
    """How answers were set on the page that recorded them.

    Attributes:
        px: Height of a line.
        chars: Characters in a full line, about.
    """

    px: int
    chars: int


RELEASE_PAGE = PageLines(70, 65)
"""20 px Consolas (11 px a character) at a line height of 3.5, in columns of 48 % of the window."""
OUR_PAGE = PageLines(32, 68)
"""`.ifllm-reading` in the collect.css of taking part on a wide screen."""


def number(value: float | None) -> float | None:
    """Return a number that JSON knows: missing stays missing."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
