"""One turn as figures need it: texts, times, places, and what counts as reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ifllm_hf.behavior.answer_text import split_answers
from ifllm_hf.behavior.declaration import CHANNELS, SIDES, FloatArray, IntArray
from ifllm_hf.behavior.reading_ticks import (
    VISIBLE_COLUMNS,
    ChannelTicks,
    ReadingTicks,
    reading_ticks,
)
from ifllm_hf.errors import DataError

RELOAD_GAP_MS = 1000.0
"""A page that was loaded again begins its clock anew; this much is shown between the loads."""

READING = "reading"
_OFF = {"none": -1, "a": 0, "b": 1}  # -2: not sampled
_NEEDED = (
    *("response_a", "response_b", "t_ms", "page_load", "phase"),
    *(f"{channel}_{what}" for channel in CHANNELS for what in ("on", "char")),
)
_LISTS: dict[str, Any] = {
    "t_ms": pl.Float64,
    "page_load": pl.Int64,
    "phase": pl.String,
    **{f"{channel}_on": pl.String for channel in CHANNELS},
    **{f"{channel}_char": pl.Int64 for channel in CHANNELS},
    **{f"{channel}_x_px": pl.Float64 for channel in CHANNELS},
    **dict.fromkeys(VISIBLE_COLUMNS, pl.Int64),
}
_NAMES = {"a": "Left answer (a)", "b": "Right answer (b)"}


@dataclass(frozen=True)
class DrawnAnswer:
    """An answer of a turn.

    Attributes:
        side: "a" or "b".
        name: As a title says it.
        text: As stored, Markdown and all.
        model: Who wrote it; None unknown.
        likert: Its rating from 1 to 5; None not rated.
        liked: Whether it was preferred.
    """

    side: str
    name: str
    text: str
    model: str | None
    likert: int | None
    liked: bool

    @property
    def slot(self) -> int:
        """Its number in arrays by side."""
        return SIDES.index(self.side)


@dataclass(frozen=True)
class DrawnTurn:
    """A turn; arrays `[n]` over all its ticks, in order.

    Attributes:
        query_id: The question.
        prompt: Its text.
        said: Reader, turn, topic and preference, in words.
        answers: One or two.
        guessed_end: Whether the end of reading was not found and is a guess.
        t_s: Seconds since the first tick; see `bridged_ms`.
        phase: "reading", "rating" or "after".
        on: By channel: 0 answer a, 1 answer b, -1 on neither, -2 not sampled.
        char: By channel: code points into that answer; -1 off the answers.
        visible: By side, `[n, 2]` the part of the answer on screen where it changed, else NaN.
        reading: What features see: only reading, only positions on the answers.
        reading_s: `[k]` seconds of the ticks in `reading`, on the scale of `t_s`.
    """

    query_id: int | None
    prompt: str
    said: str
    answers: tuple[DrawnAnswer, ...]
    guessed_end: bool
    t_s: FloatArray
    phase: NDArray[np.str_]
    on: dict[str, IntArray]
    char: dict[str, IntArray]
    visible: dict[str, FloatArray]
    reading: ReadingTicks
    reading_s: FloatArray

    def channel(self, name: str) -> ChannelTicks:
        """Return a channel's ticks on the answers while reading."""
        return self.reading.channels[name]

    def recorded(self, name: str) -> bool:
        """Tell whether a channel was recorded while reading, wherever it was."""
        return bool(self.channel(name).recorded[0])

    def dwell_ms(self, name: str, answer: DrawnAnswer) -> FloatArray:
        """Return how long a channel was on each character of an answer while reading.

        Their sum is the feature `{name}_dwell_ms` of that side.

        Returns:
            `[characters]`, in milliseconds.
        """
        ticks = self.channel(name)
        mine = ticks.slot == answer.slot
        weights = ticks.time_us[mine] / 1000.0
        return np.bincount(ticks.char[mine], weights=weights, minlength=len(answer.text)).astype(
            np.float64
        )

    def seconds_said(self, name: str, answer: DrawnAnswer) -> str:
        """Say how long a channel was on an answer while reading, or that nobody knows."""
        if not len(self.t_s):
            return f"{name} not recorded"
        if not self.recorded(name):
            return f"{name} not recorded while reading"
        seconds = float(self.channel(name).dwell_ms[0, answer.slot]) / 1000.0
        return f"{name} {seconds:.1f} s" if seconds else f"{name} never here"


def drawn_turn(row: Mapping[str, Any]) -> DrawnTurn:
    """Take what figures show from a row.

    Args:
        row: A row of the config `pairwise` or `pointwise`, of a release, of collected sessions or
            made up: `load_dataset("ifllm", split="train")[5]`.

    Raises:
        DataError: It is no such row, or its ticks and answers do not fit together.
    """
    if not isinstance(row, Mapping):
        raise DataError(
            f"a {type(row).__name__} cannot be drawn; expected one row as a dict, as "
            '`load_dataset("ifllm", split="train")[5]` gives it.'
        )
    missing = [name for name in _NEEDED if name not in row]
    if missing:
        raise DataError(
            f"the row has no {', '.join(missing)}; expected the texts and ticks of one turn. "
            'Take a row of the config `pairwise` or `pointwise`, as in `load_dataset("ifllm", '
            '"pairwise", split="train")[5]`; `turns` and `preferences` hold no ticks.'
        )
    ticks = {name: _listed(row, name) for name in _LISTS if name in row}
    frame = _frame(row, ticks)
    answers = split_answers([row["response_a"]], [row["response_b"]])
    reading = reading_ticks(frame, answers, (READING,))
    t_s = bridged_ms(ticks["t_ms"], ticks["page_load"]) / 1000.0
    phase = np.array([p or "" for p in ticks["phase"]], dtype=np.str_)
    sides = SIDES if row["response_b"] is not None else SIDES[:1]
    return DrawnTurn(
        query_id=row.get("query_id"),
        prompt=row.get("prompt") or "",
        said=_said(row, len(sides)),
        answers=tuple(_answer(row, side, len(sides)) for side in sides),
        guessed_end=row.get("reading_end_source") == "fallback",
        t_s=t_s,
        phase=phase,
        on={c: np.array([_OFF.get(s, -2) for s in ticks[f"{c}_on"]], np.int64) for c in CHANNELS},
        char={
            c: np.array([-1 if k is None else k for k in ticks[f"{c}_char"]], np.int64)
            for c in CHANNELS
        },
        visible={side: _visible(ticks, side, len(t_s)) for side in sides},
        reading=reading,
        reading_s=t_s[phase == READING],
    )


def bridged_ms(t_ms: Sequence[float], page_load: Sequence[int]) -> FloatArray:
    """Return times since the first tick, one after the other over page loads, `[n]`.

    Args:
        t_ms: Page clock, which begins anew with every load.
        page_load: Number of the load.
    """
    if not len(t_ms):
        return np.empty(0)
    times = np.asarray(t_ms, dtype=np.float64)
    step = np.diff(times, prepend=times[0])
    step[np.diff(np.asarray(page_load), prepend=page_load[0]) != 0] = RELOAD_GAP_MS
    bridged: FloatArray = np.cumsum(step)
    return bridged


def _listed(row: Mapping[str, Any], name: str) -> list[Any]:
    """Return a tick column as a list; nothing was recorded where it is null."""
    values = row[name]
    if values is None:
        return []
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise DataError(
            f"query {row.get('query_id')}: {name!r} is {values!r}; expected a list, one value a "
            "tick. Take a row of the config `pairwise` or `pointwise`."
        )
    known = [None if v is None or v != v else v for v in values]
    if _LISTS[name] == pl.Int64:  # a format of numpy makes floats of what may be missing
        return [int(v) if isinstance(v, float) and v.is_integer() else v for v in known]
    return known


def _frame(row: Mapping[str, Any], ticks: Mapping[str, list[Any]]) -> pl.DataFrame:
    try:
        columns = [
            pl.Series(name, [values], dtype=pl.List(_LISTS[name])) for name, values in ticks.items()
        ]
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"query {row.get('query_id')}: its ticks hold values of a wrong kind ({error}). Take "
            "a row of the config `pairwise` or `pointwise`."
        ) from error
    return pl.DataFrame([pl.Series("query_id", [row.get("query_id")]), *columns])


def _answer(row: Mapping[str, Any], side: str, sides: int) -> DrawnAnswer:
    likert = row.get(f"likert_{side}")
    return DrawnAnswer(
        side=side,
        name=_NAMES[side] if sides == 2 else "Answer",
        text=row[f"response_{side}"] or "",
        model=row.get(f"model_{side}"),
        likert=None if likert is None else int(likert),
        liked=row.get("preference") == side,
    )


def _said(row: Mapping[str, Any], sides: int) -> str:
    """Return the line below the question."""
    turn = row.get("turn")
    parts = [
        f"query {row['query_id']}" if row.get("query_id") is not None else None,
        f"reader {row['user_id']}" if row.get("user_id") else None,
        f"turn {turn}" if turn is not None else None,
        row.get("domain"),
    ]
    if sides == 2:
        preferred = {"a": "left preferred", "b": "right preferred", "tie": "both liked equally"}
        parts.append(preferred.get(row.get("preference") or "", "no preference given"))
    return " · ".join(part for part in parts if part)


def _visible(ticks: Mapping[str, list[Any]], side: str, n: int) -> FloatArray:
    ends = [ticks.get(f"visible_{edge}_char_{side}") or [None] * n for edge in ("from", "to")]
    return np.array(ends, dtype=np.float64).reshape(2, n).T
