"""Where reading ends: the first entry of the pointer into the rating widget.

The page went on recording while people clicked their ratings, and a pointer that rests on a radio
button *is* the label. `reading` therefore ends before the pointer comes to the widget. The widget
is found without looking at any label:

* Its radio buttons stand in fixed columns of the page (`LIKERT_COLUMNS`, `PREFERENCE_COLUMNS`, as
  shares of the page's width, which follows from where the two answers stand).
* A rating is a series of *stops* (the pointer rests for 0.1 s or more, off the answers) in those
  columns, from one row of the widget down to the next: left Likert, right Likert, preference. The
  first series of three decides, failing that the first of two.
* Failing both: the first text of the widget under the pointer, then the first single stop on a
  Likert column as low on the page as this conversation's other ratings.

Reading ends where the movement towards that stop began. Where no rating was found (most often
because the recording stopped before it) reading ends with the last text under the pointer.

Collected sessions say when a rating control was entered: `data.sessions.events.session_ticks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.ticks.alignment import ON_PLACEHOLDER, ON_RATING, ON_RESPONSE, Alignment
from ifllm_hf.data.ticks.merge import NONE, SIDE_A, SIDE_B, Channel, MergedTicks

READING, RATING, AFTER = 0, 1, 2
PHASES = ("reading", "rating", "after")
FOUND, FALLBACK = "rating_zone", "fallback"

# Page layout, as shares of the page's width: measured from 13,721 stops of 255 conversations.
LIKERT_COLUMNS = (0.3735, 0.455, 0.537, 0.618, 0.700)
PREFERENCE_COLUMNS = (0.495, 0.660)
# Answer b starts half a page to the right of answer a, less this; exact in both pairwise layouts.
PITCH_SHORT_PX = 19.5
_FIRST_PREFERENCE = len(LIKERT_COLUMNS)
_COLUMNS = np.array(LIKERT_COLUMNS + PREFERENCE_COLUMNS)
_COLUMN_REACH = 0.008  # half the width of a column of stops

_STOP_MS = 100.0
_STILL_PX = 2.0
_STEP_MS = 8000.0  # the longest pause between two clicks of one series
_LIKERT_DOWN_PX = (20.0, 110.0)  # from one Likert row to the next
_PREFERENCE_DOWN_PX = (20.0, 220.0)  # from a Likert row to the preference row
_SERIES_LOOKAHEAD = 5
_APPROACH_MS = 2000.0
_ROW_MARGIN_PX = 30.0
_RATING_PAUSE_MS = 15000.0
_LONGEST_CLICK_MS = 5000.0  # a longer rest in a column is the pointer parked there
_SHORTEST_READING_MS = 3000.0  # nobody rates answers that appeared a moment ago
# A pointwise page shows one answer; its width is known up to the scroll bar.
_POINTWISE_WIDTHS = np.linspace(0.98, 1.045, 27)


@dataclass(frozen=True)
class PageGeometry:
    """What the pointer's positions say of the page.

    Attributes:
        width_px: Width of the page.
        top_px: Upper edge of the visible answers in the viewport.
    """

    width_px: float
    top_px: float


@dataclass
class Stops:
    """Rests of the pointer off the answers in one turn; `first`/`last` index the turn's ticks."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    column: NDArray[np.int64]  # index into _COLUMNS, -1 where in none
    start_ms: NDArray[np.float64]
    end_ms: NDArray[np.float64]


@dataclass
class Phases:
    """Phase of every tick and how each turn's end of reading was found.

    Attributes:
        phase: `[n]` int8 index into PHASES, -1 before the first turn.
        source: Per turn "rating_zone", "fallback", or None for a turn without ticks.
        geometry: The page's geometry, None where it could not be told.
    """

    phase: NDArray[np.int8]
    source: list[str | None]
    geometry: PageGeometry | None


def find_phases(ticks: MergedTicks, aligned: Alignment, n_turns: int) -> Phases:
    """Cut every turn of a conversation into reading, rating and after."""
    geometry = page_geometry(ticks, aligned)
    mouse = ticks.channels["mouse"]
    phase = np.full(len(ticks), -1, dtype=np.int8)
    source: list[str | None] = [None] * n_turns
    rows_of = [np.flatnonzero(aligned.turn == k) for k in range(n_turns)]
    stops = [
        _stops(ticks, mouse, aligned, rows, geometry) if geometry is not None else None
        for rows in rows_of
    ]
    first = [_series_start(s, ticks.kind) if s is not None else None for s in stops]
    opened = [(s, i) for s, i in zip(stops, first, strict=True) if s is not None and i is not None]
    lowest = min((float(s.y_px[i]) for s, i in opened), default=np.inf)
    for k, rows in enumerate(rows_of):
        if not rows.size:
            continue
        start = _rating_start(ticks, mouse, aligned, rows, stops[k], first[k], lowest)
        if start is not None:
            source[k] = FOUND
            begin, done = start, _rating_end(ticks, rows, stops[k], start)
        else:
            source[k] = FALLBACK
            begin = done = _last_text(aligned, rows)
        phase[rows] = AFTER
        phase[rows[begin:done]] = RATING
        phase[rows[:begin]] = READING
    return Phases(phase, source, geometry)


def page_geometry(ticks: MergedTicks, aligned: Alignment) -> PageGeometry | None:
    """Tell the page's width and the answers' upper edge from where the points fell.

    The distance between viewport and element coordinates is the element's left edge, the same for
    every point on it.
    """
    lefts = {}
    for code, side in ((SIDE_A, "a"), (SIDE_B, "b")):
        offsets = []
        for channel in ticks.channels.values():
            on = channel.side == code
            offsets.append(channel.x_px[on] - channel.rel_px[side][0][on])
        values = np.concatenate(offsets)
        values = values[np.isfinite(values)]
        if values.size:
            lefts[side] = float(np.median(values))
    on_text = [
        channel.y_px[aligned.surface[name] == ON_RESPONSE]
        for name, channel in ticks.channels.items()
    ]
    heights = np.concatenate(on_text)
    heights = heights[np.isfinite(heights)]
    if heights.size < 50 or "a" not in lefts:
        return None
    top = float(np.percentile(heights, 0.5))
    if ticks.kind == "pairwise":
        if "b" not in lefts or lefts["b"] <= lefts["a"]:
            return None
        return PageGeometry(2 * (lefts["b"] - lefts["a"] + PITCH_SHORT_PX), top)
    widest = max(
        float(np.nanmax(channel.rel_px["a"][0], initial=0.0)) for channel in ticks.channels.values()
    )
    return _fit_pointwise_width(ticks, aligned, widest + 2 * lefts["a"], top)


def _fit_pointwise_width(
    ticks: MergedTicks, aligned: Alignment, about_px: float, top_px: float
) -> PageGeometry:
    """Choose the width that puts most stops of the conversation into Likert columns."""
    mouse = ticks.channels["mouse"]
    first, last = _still_runs(mouse.x_px, mouse.y_px, ticks.page_ms)
    off = (aligned.surface["mouse"][first] != ON_RESPONSE) & (mouse.y_px[first] > top_px)
    x = mouse.x_px[first[off & (mouse.side[first] == NONE)]]
    shares = x[:, None, None] / (about_px * _POINTWISE_WIDTHS)[:, None]
    hits = (np.abs(shares - np.array(LIKERT_COLUMNS)) < _COLUMN_REACH / 2).any(axis=2).sum(axis=0)
    best = _POINTWISE_WIDTHS[hits == hits.max()].mean() if len(x) else 1.02
    return PageGeometry(about_px * float(best), top_px)


def _still_runs(
    x: NDArray[np.float64], y: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and last index of every rest of at least `_STOP_MS`."""
    if not len(x):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    moved = (np.abs(np.diff(x)) > _STILL_PX) | (np.abs(np.diff(y)) > _STILL_PX)
    first = np.flatnonzero(np.concatenate(([True], moved)))
    last = np.concatenate((first[1:], [len(x)])) - 1
    rest = (last > first) & np.isfinite(x[first]) & (t[last] - t[first] >= _STOP_MS)
    return first[rest], last[rest]


def _stops(
    ticks: MergedTicks,
    mouse: Channel,
    aligned: Alignment,
    rows: NDArray[np.int64],
    geometry: PageGeometry,
) -> Stops:
    x, y, t = mouse.x_px[rows], mouse.y_px[rows], ticks.page_ms[rows]
    first, last = _still_runs(x, y, t)
    off = aligned.surface["mouse"][rows[first]] != ON_RESPONSE
    if ticks.kind == "pointwise":
        off &= mouse.side[rows[first]] == NONE
    first, last = first[off], last[off]
    distance = np.abs(x[first, None] / geometry.width_px - _COLUMNS)
    if ticks.kind == "pointwise":
        distance = distance[:, :_FIRST_PREFERENCE]
    column = np.where(
        (distance.min(axis=1) < _COLUMN_REACH)
        & (y[first] > geometry.top_px)
        & (t[first] - t[:1] > _SHORTEST_READING_MS),
        distance.argmin(axis=1),
        -1,
    )
    return Stops(first, last, x[first], y[first], column, t[first], t[last])


def _series_start(stops: Stops, kind: str) -> int | None:
    """Return the stop that opens the first series of ratings: three rows, else two.

    A pointwise page has a single row of radio buttons: a series is one stop.
    """
    radio = np.flatnonzero(stops.column >= 0)
    if kind == "pointwise":
        return int(radio[0]) if radio.size else None
    pair: int | None = None
    for at, i in enumerate(radio):
        if stops.column[i] >= _FIRST_PREFERENCE:
            continue
        likert = _steps(stops, radio, at, preference=False)
        if any(_steps(stops, radio, b, preference=True) for b in likert):
            return int(i)
        if pair is None and (likert or _steps(stops, radio, at, preference=True)):
            pair = int(i)
    return pair


def _steps(stops: Stops, radio: NDArray[np.int64], at: int, *, preference: bool) -> list[int]:
    """Return which of the next stops can be the next row's click; indices into `radio`."""
    found = []
    low, high = _PREFERENCE_DOWN_PX if preference else _LIKERT_DOWN_PX
    i = radio[at]
    for b in range(at + 1, min(at + 1 + _SERIES_LOOKAHEAD, len(radio))):
        j = radio[b]
        if stops.start_ms[j] - stops.end_ms[i] > _STEP_MS:
            break
        right_kind = (stops.column[j] >= _FIRST_PREFERENCE) == preference
        if right_kind and low <= stops.y_px[j] - stops.y_px[i] <= high:
            found.append(b)
    return found


def _rating_start(
    ticks: MergedTicks,
    mouse: Channel,
    aligned: Alignment,
    rows: NDArray[np.int64],
    stops: Stops | None,
    series: int | None,
    lowest: float,
) -> int | None:
    """Return the index (into `rows`) of the first tick on the way to the rating, None: none."""
    entry: int | None = None
    if stops is not None and series is not None:
        entry = int(stops.first[series])
    else:
        widget = np.flatnonzero(aligned.surface["mouse"][rows] == ON_RATING)
        if len(widget) >= 2:
            entry = int(widget[0])
        if stops is not None:
            likert = (stops.column >= 0) & (stops.column < _FIRST_PREFERENCE)
            alone = np.flatnonzero(likert & (stops.y_px >= lowest - _ROW_MARGIN_PX))
            if alone.size and (entry is None or stops.first[alone[0]] < entry):
                entry = int(stops.first[alone[0]])
    if entry is None:
        return None
    x, y, t = mouse.x_px[rows], mouse.y_px[rows], ticks.page_ms[rows]
    begin = entry
    while begin > 0 and t[entry] - t[begin - 1] < _APPROACH_MS:
        moved = abs(x[begin] - x[begin - 1]) > _STILL_PX or abs(y[begin] - y[begin - 1]) > _STILL_PX
        if not moved:  # NaN compares false: before its first movement the mouse is nowhere
            break
        begin -= 1
    return begin


def _rating_end(
    ticks: MergedTicks, rows: NDArray[np.int64], stops: Stops | None, begin: int
) -> int:
    """Return the index behind the last tick of the rating: its last click that we can see."""
    end = begin + 1
    if stops is not None:
        for i in np.flatnonzero((stops.column >= 0) & (stops.last >= begin)):
            if stops.start_ms[i] - ticks.page_ms[rows[end - 1]] > _RATING_PAUSE_MS:
                break
            if stops.end_ms[i] - stops.start_ms[i] > _LONGEST_CLICK_MS:
                end = max(end, int(stops.first[i]) + 1)
                break
            end = max(end, int(stops.last[i]) + 1)
    return end


def _last_text(aligned: Alignment, rows: NDArray[np.int64]) -> int:
    """Return the index behind the last tick with the turn's answer under the pointer.

    The gaze stands in where the mouse was never on an answer. Waiting for the next answer ends
    reading in any case.
    """
    for channel in ("mouse", "gaze"):
        on = np.flatnonzero(aligned.surface[channel][rows] == ON_RESPONSE)
        if on.size:
            waiting = np.flatnonzero(aligned.surface[channel][rows] == ON_PLACEHOLDER)
            waiting = waiting[waiting > on[0]]
            end = int(on[-1]) + 1
            return min(end, int(waiting[0])) if waiting.size else end
    return 0
