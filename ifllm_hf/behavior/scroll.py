"""Scrolling of each answer's own box, where it was recorded. The release has none: all NaN."""

from __future__ import annotations

import numpy as np

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import Feature, Values, ratio
from ifllm_hf.behavior.reading_ticks import ReadingTicks

_INF = float("inf")
_SCROLL = "Claypool et al. 2001, implicit interest indicators (scrolling)"

SCROLL: tuple[Feature, ...] = (
    Feature(
        "scroll_px", "Σ |change of scroll_y_px|", "px", 0, _INF, _SCROLL, "per_response", "scroll"
    ),
    Feature(
        "scroll_back_share",
        "way scrolled up / scroll_px",
        "1",
        0,
        1,
        _SCROLL,
        "per_response",
        "scroll",
    ),
)


def scroll(ticks: ReadingTicks, answers: Answers) -> Values:
    """Compute the features of `SCROLL`; one recorded position is 0 px, none is NaN."""
    n_turns = len(ticks.has_ticks)
    way, back, seen = (np.zeros((n_turns, 2)) for _ in range(3))
    for side in (0, 1):
        rows = np.flatnonzero(np.isfinite(ticks.scroll_px[:, side]))
        y, turn = ticks.scroll_px[rows, side], ticks.turn[rows]
        move = np.where(ticks.stretch[rows][1:] == ticks.stretch[rows][:-1], np.diff(y), 0.0)
        way[:, side] = np.bincount(turn[1:], weights=np.abs(move), minlength=n_turns)
        back[:, side] = np.bincount(turn[1:], weights=np.maximum(-move, 0), minlength=n_turns)
        seen[:, side] = np.bincount(turn, minlength=n_turns)
    known = (seen > 0) & answers.exists
    return {
        "scroll_px": np.where(known, way, np.nan),
        "scroll_back_share": np.where(known, ratio(back, way), np.nan),
    }
