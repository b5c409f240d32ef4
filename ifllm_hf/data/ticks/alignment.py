"""Give every tick its turn: one contiguous interval per page load.

The text under a point tells which answer was on the screen (`TextPages.fits`), and the log tells
when each pair of answers arrived. A turn's interval starts when its answers appear and ends when
the next ones do. No tick is assigned by its own text alone: the boundaries are those that agree
with most of the texts seen (dynamic programming over the order of the turns), and where nothing
was seen, the logged time, or the end of the placeholder, decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.ticks.displayed_text import DisplayedText, TextPages
from ifllm_hf.data.ticks.merge import NONE, SIDE_A, SIDE_B, Channel, MergedTicks
from ifllm_hf.data.ticks.page_texts import PLACEHOLDER, RATING_TEXTS

SURFACES = ("none", "response", "placeholder", "rating", "page")
ON_NOTHING, ON_RESPONSE, ON_PLACEHOLDER, ON_RATING, ON_PAGE = range(5)

_LOG_WEIGHT = 0.02  # what a logged time says of a tick, against 1 for a text seen there


@dataclass(frozen=True)
class TurnText:
    """What alignment needs of a turn.

    Attributes:
        answers: The stored answers: a, and b in a pairwise turn.
        asked_ms: When the answers arrived by the server's log, epoch milliseconds; None unknown.
    """

    answers: tuple[str, ...]
    asked_ms: float | None


@dataclass
class Sightings:
    """Which texts were under a channel's point, per tick.

    Attributes:
        fits: `[n, turns]`: the text fits the turn's answer on that side.
        page: `[n]` int8: placeholder or rating widget, 0 if neither.
        caret: `[n]` int32 UTF-16 offset, -1 for none.
        side: `[n]` int8.
    """

    fits: NDArray[np.bool_]
    page: NDArray[np.int8]
    caret: NDArray[np.int32]
    side: NDArray[np.int8]


@dataclass
class Alignment:
    """Turn, character and surface of every tick; arrays `[n]`.

    Attributes:
        turn: Index of the turn, -1 before the first answers of a page load.
        on: Per channel, 1 (a), 2 (b) or 0: the answer *of the turn* under the point.
        char: Per channel, code points into that stored answer, -1 where not on it.
        surface: Per channel, index into SURFACES.
        sightings: Per channel, the texts seen.
    """

    turn: NDArray[np.int64]
    on: dict[str, NDArray[np.int8]]
    char: dict[str, NDArray[np.int32]]
    surface: dict[str, NDArray[np.int8]]
    sightings: dict[str, Sightings]


class AnswerTexts:
    """The answers of a conversation, ready to be looked up."""

    def __init__(self, turns: Sequence[TurnText]) -> None:
        """Prepare the answers of `turns`, which come in the order in which they were asked."""
        self.shown = {
            side: [DisplayedText(t.answers[k]) if k < len(t.answers) else None for t in turns]
            for k, side in ((0, SIDE_A), (1, SIDE_B))
        }
        empty = DisplayedText("")
        self._answers = {
            side: TextPages([text or empty for text in texts]) for side, texts in self.shown.items()
        }
        page = (PLACEHOLDER, *RATING_TEXTS)
        self._page = TextPages([DisplayedText(text) for text in page])
        self._turns = len(turns)

    def look_up(self, channel: Channel) -> Sightings:
        """Look every distinct (side, window, caret) of a channel up once."""
        n = len(channel.side)
        fits = np.zeros((n, self._turns), dtype=bool)
        page = np.zeros(n, dtype=np.int8)
        for side, answers in self._answers.items():
            rows = np.flatnonzero(
                (channel.side == side) & (channel.window >= 0) & (channel.caret >= 0)
            )
            if not rows.size:
                continue
            key = (channel.window[rows] << 32) | channel.caret[rows].astype(np.int64)
            distinct, inverse = np.unique(key, return_inverse=True)
            windows = [channel.windows[w] for w in distinct >> 32]
            carets = (distinct & 0xFFFFFFFF).astype(np.int32)
            of_answer = answers.fits(windows, carets)
            other = np.zeros(len(distinct), dtype=np.int8)
            rest = np.flatnonzero(~of_answer.any(axis=1))
            of_page = self._page.fits([windows[p] for p in rest], carets[rest])
            other[rest[of_page[:, 1:].any(axis=1)]] = ON_RATING
            other[rest[of_page[:, 0]]] = ON_PLACEHOLDER
            fits[rows], page[rows] = of_answer[inverse], other[inverse]
        return Sightings(fits, page, channel.caret, channel.side)


def align(ticks: MergedTicks, turns: Sequence[TurnText]) -> Alignment:
    """Assign turn, answer, character and surface to every tick of a conversation."""
    texts = AnswerTexts(turns)
    sightings = {c: texts.look_up(channel) for c, channel in ticks.channels.items()}
    turn = assign_turns(ticks, sightings, [t.asked_ms for t in turns])
    on, char, surface = {}, {}, {}
    for name, seen in sightings.items():
        on[name], char[name], surface[name] = _place(seen, turn, texts)
    return Alignment(turn, on, char, surface, sightings)


def _place(
    seen: Sightings, turn: NDArray[np.int64], texts: AnswerTexts
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int8]]:
    """Find the answer and character under a channel's point, given the turns."""
    n = len(turn)
    here = np.zeros(n, dtype=bool)
    asked = np.flatnonzero(turn >= 0)
    here[asked] = seen.fits[asked, turn[asked]]
    surface = np.where(seen.side != NONE, np.int8(ON_PAGE), np.int8(ON_NOTHING))
    surface = np.where(seen.page > 0, seen.page, surface)
    surface = np.where(here, np.int8(ON_RESPONSE), surface).astype(np.int8)
    on = np.where(here, seen.side, np.int8(NONE)).astype(np.int8)
    char = np.full(n, -1, dtype=np.int32)
    for side, shown in texts.shown.items():
        for k, text in enumerate(shown):
            rows = np.flatnonzero(here & (turn == k) & (seen.side == side))
            if rows.size and text is not None:
                char[rows] = text.code_point(seen.caret[rows])
    return on, char, surface


def assign_turns(
    ticks: MergedTicks,
    sightings: dict[str, Sightings],
    asked_ms: Sequence[float | None],
    use: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Find the boundaries between the turns.

    Args:
        ticks: The conversation.
        sightings: What was under gaze and mouse.
        asked_ms: Logged arrival of each turn's answers.
        use: `[n]`: the ticks whose text may be used; the others are assigned by the boundaries
            alone. All by default.

    Returns:
        `[n]` index of the turn, -1 before the first answers of a page load.
    """
    n, k = len(ticks), len(asked_ms)
    turn = np.full(n, -1, dtype=np.int64)
    if n == 0 or k == 0:
        return turn
    use = np.ones(n, dtype=bool) if use is None else use
    votes = np.zeros((n, k))
    waiting = np.zeros(n, dtype=bool)
    for seen in sightings.values():
        votes += seen.fits & use[:, None]
        waiting |= (seen.page == ON_PLACEHOLDER) & use
    logged = _logged_turn(ticks.epoch_ms, asked_ms)
    for load in np.unique(ticks.page_load):
        rows = np.flatnonzero(ticks.page_load == load)
        turn[rows] = _monotone(votes[rows], waiting[rows], logged[rows])
    return turn


def _logged_turn(
    epoch_ms: NDArray[np.int64], asked_ms: Sequence[float | None]
) -> NDArray[np.int64]:
    """Return the last turn whose answers had arrived by the log; -1 before the first."""
    logged = np.full(len(epoch_ms), -1, dtype=np.int64)
    for k, asked in enumerate(asked_ms):
        if asked is not None:
            logged[epoch_ms >= asked] = k
    return logged


def _monotone(
    votes: NDArray[np.float64], waiting: NDArray[np.bool_], logged: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the non-decreasing assignment that agrees with most votes of one page load.

    Args:
        votes: `[n, k]` texts that fit turn k.
        waiting: `[n]` the placeholder was seen: for the first answers of the load, or between two.
        logged: `[n]` turn by the log, which breaks ties.
    """
    n, k = votes.shape
    gain = np.empty((k + 1, n))
    gain[0] = waiting  # the placeholder speaks for "no answers yet" ...
    gain[1:] = votes.T
    gain[logged + 1, np.arange(n)] += _LOG_WEIGHT
    total = np.concatenate([np.zeros((k + 1, 1)), np.cumsum(gain, axis=1)], axis=1)
    # best[j, i]: the most that ticks < i can agree if tick i - 1 belongs to state <= j.
    best = total[0].copy()
    start = np.zeros((k + 1, n + 1), dtype=np.int64)
    for j in range(1, k + 1):
        lead = best - total[j]
        highest = np.maximum.accumulate(lead)
        # The earliest place that reaches the maximum: answers are there as soon as they are seen.
        fresh = np.concatenate(([True], lead[1:] > highest[:-1]))
        start[j] = np.maximum.accumulate(np.where(fresh, np.arange(n + 1), 0))
        best = total[j] + highest
    state = np.empty(n, dtype=np.int64)
    end = n
    for j in range(k, 0, -1):
        begin = int(start[j, end])
        state[begin:end] = j
        end = begin
    state[:end] = 0
    return state - 1
