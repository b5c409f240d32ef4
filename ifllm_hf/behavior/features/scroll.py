"""Scrolling of each answer's own box and what of it was on screen, where they were recorded.

The release has neither: all NaN. Collected sessions have both (`data.schema.VIEW_COLUMNS`).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import (
    PER_RESPONSE,
    BoolArray,
    Feature,
    FloatArray,
    IntArray,
    Values,
    ratio,
)
from ifllm_hf.behavior.quantities import INF, MS, SHARE
from ifllm_hf.behavior.reading_ticks import ReadingTicks

_SCROLL = "Claypool et al. 2001, implicit interest indicators (scrolling)"
_VIEWPORT = "Lagun & Lalmas 2016, attention from viewport time"

_box = partial(Feature, scope=PER_RESPONSE, channel="scroll")
SCROLL: tuple[Feature, ...] = (
    _box("scroll_px", "Σ |change of scroll_y_px|", "px", 0, INF, _SCROLL),
    _box("scroll_back_share", "way scrolled up / scroll_px", *SHARE, _SCROLL),
    _box("visible_ms", "time that any character of the answer was on screen", *MS, _VIEWPORT),
    _box("visible_depth", "furthest character that was on screen / characters", *SHARE, _VIEWPORT),
)


def scroll(ticks: ReadingTicks, answers: Answers) -> Values:
    """Compute the features of `SCROLL`; one recorded position is 0 px, none is NaN.

    A range holds until the next one of the same answer in the page load; a tick stands for the time
    to the next tick of any channel (`ReadingTicks.time_us`).
    """
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
        **_visible(ticks, answers),
    }


def _visible(ticks: ReadingTicks, answers: Answers) -> Values:
    n_turns = len(ticks.has_ticks)
    time_ms, depth = (np.full((n_turns, 2), np.nan) for _ in range(2))
    for side in (0, 1):
        rows = np.flatnonzero(np.isfinite(ticks.visible_char[:, side, 0]))
        turn = ticks.turn[rows]
        first, end = ticks.visible_char[rows, side].T
        known = (np.bincount(turn, minlength=n_turns) > 0) & answers.exists[:, side]
        furthest = np.zeros(n_turns)
        np.maximum.at(furthest, turn, np.where(end > first, end, 0.0))
        depth[:, side] = np.where(known, ratio(furthest, answers.chars[:, side]), np.nan)
        shown_us = np.where(_held(rows, end > first, ticks), ticks.time_us, 0)
        total: FloatArray = np.bincount(ticks.turn, weights=shown_us, minlength=n_turns) / 1000.0
        time_ms[:, side] = np.where(known, total, np.nan)
    return {"visible_ms": time_ms, "visible_depth": depth}


def _held(rows: IntArray, state: BoolArray, ticks: ReadingTicks) -> BoolArray:
    """Carry the state of some ticks on to the ticks after them, within their page load and turn."""
    latest = np.searchsorted(rows, np.arange(len(ticks.turn)), side="right") - 1
    held = np.zeros(len(ticks.turn), dtype=bool)
    told = np.flatnonzero(latest >= 0)
    source = latest[told]
    same = ticks.stretch[rows[source]] == ticks.stretch[told]
    held[told] = state[source] & same
    return held
