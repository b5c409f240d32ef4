"""What moved a reward: leave a word, a passage or a moment out, and see how the score changes.

Works on any model of pairs, since it only asks for scores. A change is the score with the part
minus the score without it, in P(b preferred); parts that belong together share what they move, so
changes need not add up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.answer_text import split_answers
from ifllm_hf.behavior.declaration import CHANNELS, SIDES
from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.data.schema import SCHEMAS, TURN_TICK_COLUMNS
from ifllm_hf.metrics.weighted import FloatArray

Score = Callable[[pl.DataFrame], FloatArray]
"""Takes answers (and features, where behaviour is left out), returns P(b preferred), `[n]`."""

_WORD = re.compile(r"\w+")
# What features and rewards need of a turn beside its ticks.
_NEEDED = (
    *("query_id", "user_id", "conversation_id", "turn", "asked_at"),
    *("prompt", "response_a", "response_b"),
)


@dataclass(frozen=True)
class Part:
    """A stretch of an answer.

    Attributes:
        side: "a" or "b".
        start: First character (code points).
        stop: One past the last.
        change: What it adds to P(b preferred).
    """

    side: str
    start: int
    stop: int
    change: float


@dataclass(frozen=True)
class Moment:
    """A stretch of the reading.

    Attributes:
        first: Index of its first tick in the turn.
        stop: One past its last.
        change: What it adds to P(b preferred).
    """

    first: int
    stop: int
    change: float


def words_that_moved(turn: dict[str, Any], score: Score) -> list[Part]:
    """Leave every word out of its answer, one at a time.

    Args:
        turn: A row of the `pairwise` config.
        score: A reward that looks at `response_a` and `response_b` alone.
    """
    whole = {side: turn[f"response_{side}"] or "" for side in SIDES}
    spans, texts = [], [whole]
    for side, text in whole.items():
        for word in _WORD.finditer(text):
            spans.append((side, word.start(), word.end()))
            texts.append({**whole, side: text[: word.start()] + text[word.end() :]})
    rows = pl.DataFrame({f"response_{side}": [text[side] for text in texts] for side in SIDES})
    p = score(rows)
    return [Part(*span, float(p[0] - q)) for span, q in zip(spans, p[1:], strict=True)]


def passages_that_moved(turn: dict[str, Any], score: Score) -> list[Part]:
    """Forget the behaviour on every sentence, one at a time: sentences nobody was on move nothing.

    Args:
        turn: A row of the `pairwise` config.
        score: The reward.
    """
    spans, hidden = [], []
    for side in SIDES:
        for start, stop in _sentences(turn[f"response_{side}"] or ""):
            there = np.zeros(len(turn["t_ms"]), dtype=bool)
            for channel in CHANNELS:
                on = np.array([s == side for s in turn[f"{channel}_on"]], dtype=bool)
                char = np.array([-1 if c is None else c for c in turn[f"{channel}_char"]])
                there |= on & (char >= start) & (char < stop)
            if there.any():
                spans.append((side, start, stop))
                hidden.append(there)
    changes = _changes(turn, hidden, score)
    return [Part(*span, change) for span, change in zip(spans, changes, strict=True)]


def moments_that_moved(turn: dict[str, Any], score: Score, *, parts: int = 24) -> list[Moment]:
    """Forget the behaviour in every stretch of the reading, one at a time.

    Args:
        turn: A row of the `pairwise` config.
        score: The reward.
        parts: Into how many stretches of equally many ticks reading is cut.
    """
    edges = _reading_edges(turn, parts)
    place = np.arange(len(turn["t_ms"]))
    stretches = list(zip(edges[:-1], edges[1:], strict=True))
    hidden = [(place >= first) & (place < stop) for first, stop in stretches]
    changes = _changes(turn, hidden, score)
    return [Moment(*span, change) for span, change in zip(stretches, changes, strict=True)]


def score_over_time(
    turn: dict[str, Any], score: Score, *, points: int = 40
) -> tuple[list[int], FloatArray]:
    """Score the turn as if reading had ended earlier.

    Args:
        turn: A row of the `pairwise` config.
        score: The reward.
        points: How many earlier ends.

    Returns:
        The number of ticks before each end, and P(b preferred) there; the last has all reading.
    """
    ends = _reading_edges(turn, points)[1:]
    if not ends:
        return [], np.empty(0)
    lists = _tick_lists(turn)
    copies = [{**turn, **{name: turn[name][:end] for name in lists}} for end in ends]
    return ends, _scores(copies, score)


def _sentences(text: str) -> list[tuple[int, int]]:
    """Return first and past-the-last character of every sentence."""
    number = split_answers([text], [None]).sentences.of_char
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(text)]
    return list(zip(edges[:-1], edges[1:], strict=True)) if text else []


def _reading_edges(turn: dict[str, Any], parts: int) -> list[int]:
    reading = np.flatnonzero(np.array(turn["phase"]) == "reading")
    if reading.size == 0:
        return [0]
    cuts = np.linspace(0, reading.size, min(parts, reading.size) + 1).round().astype(int)
    return [int(reading[c]) if c < reading.size else int(reading[-1]) + 1 for c in cuts]


def _changes(turn: dict[str, Any], hidden: Sequence[Any], score: Score) -> list[float]:
    copies = [turn]
    for mask in hidden:
        copy = dict(turn)
        for channel in CHANNELS:
            for name, gone in ((f"{channel}_on", "none"), (f"{channel}_char", None)):
                # What was not recorded stays so.
                copy[name] = [
                    gone if off and turn[f"{channel}_on"][i] is not None else value
                    for i, (value, off) in enumerate(zip(turn[name], mask, strict=True))
                ]
        copies.append(copy)
    p = _scores(copies, score)
    return [float(p[0] - other) for other in p[1:]]


def _scores(copies: Sequence[dict[str, Any]], score: Score) -> FloatArray:
    """Score versions of one turn; none of them is an earlier turn of another."""
    named = [
        {**copy, "query_id": i, "user_id": f"reader {i}", "conversation_id": f"conversation {i}"}
        for i, copy in enumerate(copies)
    ]
    known: Any = pl.from_arrow(SCHEMAS["pairwise"].empty_table())
    schema = {name: known.schema[name] for name in (*_NEEDED, *_tick_lists(copies[0]))}
    rows = pl.DataFrame({name: [turn[name] for turn in named] for name in schema}, schema=schema)
    features = behavior_features(rows).drop("contaminated")
    return score(rows.join(features, on="query_id", how="left"))


def _tick_lists(turn: dict[str, Any]) -> list[str]:
    return [name for name in TURN_TICK_COLUMNS if name in turn]
