"""Fixations by dispersion (I-DT), on samples at irregular times.

Webcam gaze comes at about 13 irregular samples per second. Velocity-threshold methods (I-VT,
microsaccades) divide by the sample interval and smooth over a fixed number of samples, so they need
a constant, high rate: here an 85 ms interval is longer than a saccade, and jitter of the interval
would turn into velocity. Dispersion asks only how far a group of samples spreads and how long it
lasts, and both are well defined at any times.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.answer_text import Answers
from ifllm_hf.behavior.declaration import Feature, IntArray, Values, per_channel, ratio
from ifllm_hf.behavior.quantities import MS, NUMBER, SHARE
from ifllm_hf.behavior.reading_ticks import ChannelTicks
from ifllm_hf.errors import DataError

FIXATION_CHARS = 100
"""How far the characters of one fixation may spread: a line of the page and a little more."""
FIXATION_MS = 200.0

_fixation = partial(per_channel, source="Salvucci & Goldberg 2000, I-DT")

FIXATIONS: tuple[Feature, ...] = (
    *_fixation(
        "fixations",
        f"groups of ticks of one visit within {FIXATION_CHARS} characters for at least "
        f"{FIXATION_MS:.0f} ms",
        *NUMBER,
    ),
    *_fixation("fixations_per_100_chars", "100 * fixations / characters", *NUMBER),
    *_fixation("fixation_ms_mean", "mean time of a fixation", *MS),
    *_fixation("longest_fixation_ms", "longest fixation; 0 without", *MS),
    *_fixation("fixation_share", "time in fixations / dwell_ms", *SHARE),
)


def fixations_by_dispersion(
    t_ms: NDArray[Any],
    positions: NDArray[Any],
    *,
    max_dispersion: float,
    min_duration_ms: float,
    segment: NDArray[Any] | None = None,
) -> tuple[IntArray, IntArray]:
    """Find fixations: the longest groups of successive samples that stay close for long enough.

    Greedy from the left, as in I-DT: a group begins at the first sample from which a window of the
    minimal duration stays within the dispersion, and ends before the sample that would exceed it.
    Dispersion = Σ over dimensions of (largest - smallest). Duration = last time - first time.

    Args:
        t_ms: `[n]` times, not decreasing within a segment.
        positions: `[n]` or `[n, d]`, in any unit; finite.
        max_dispersion: Largest dispersion, in that unit.
        min_duration_ms: Smallest duration.
        segment: `[n]` fixations do not cross where this changes; one segment by default.

    Returns:
        Indices of the first and of the last sample of each fixation.

    Raises:
        DataError: Lengths differ or a position is not finite.

    Examples:
        >>> import numpy as np
        >>> t = np.array([0, 90, 160, 260, 340, 400])
        >>> x = np.array([5, 6, 5, 50, 51, 50])
        >>> first, last = fixations_by_dispersion(t, x, max_dispersion=2, min_duration_ms=120)
        >>> first.tolist(), last.tolist()
        ([0, 3], [2, 5])
    """
    points = np.asarray(positions)
    points = points[:, None] if points.ndim == 1 else points
    n = len(t_ms)
    if len(points) != n or (segment is not None and len(segment) != n):
        raise DataError(
            f"{n} times, {len(points)} positions"
            + ("" if segment is None else f", {len(segment)} segment numbers")
            + "; expected equally many."
        )
    if not n:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise DataError(f"position {row} is not finite; drop missing samples, or split there.")
    group = np.zeros(n, dtype=np.int64) if segment is None else np.asarray(segment)
    # Samples that stay in place are one: a group that holds the first of them holds all of them.
    begins = np.ones(n, dtype=bool)
    begins[1:] = (points[1:] != points[:-1]).any(axis=1) | (group[1:] != group[:-1])
    first = np.flatnonzero(begins)
    last = np.concatenate((first[1:], [n])) - 1
    reach = _reach(points[first], group[first], max_dispersion)
    t = np.asarray(t_ms)
    long_enough = t[last[reach]] - t[first] >= min_duration_ms
    found = np.array(_chain(long_enough, reach), dtype=np.int64)
    return first[found], last[reach[found]]


def fixations(channel: ChannelTicks, answers: Answers) -> Values:
    """Compute the features of `FIXATIONS`."""
    first, last = fixations_by_dispersion(
        channel.t_us,
        channel.char,
        max_dispersion=FIXATION_CHARS,
        min_duration_ms=FIXATION_MS * 1000.0,
        segment=channel.visit,
    )
    slot = channel.slot[first]
    # Sums of whole microseconds are exact, so differences of running sums are too.
    spent = np.concatenate(([0], np.cumsum(channel.time_us)))
    length = (spent[last + 1] - spent[first]) / 1000.0
    count, total = channel.by_slot(of=slot), channel.by_slot(length, of=slot)
    longest = np.zeros(count.size)
    np.maximum.at(longest, slot, length)
    return {
        "fixations": count,
        "fixations_per_100_chars": ratio(100.0 * count, answers.chars),
        "fixation_ms_mean": ratio(total, count),
        "longest_fixation_ms": longest.reshape(-1, 2),
        "fixation_share": ratio(total, channel.dwell_ms),
    }


def _reach(points: NDArray[Any], group: NDArray[Any], max_dispersion: float) -> IntArray:
    """Return, for each point, the last one up to which the dispersion is not exceeded.

    Windows of 1, 2, 4, ... points are known by their extremes; each point takes the largest that
    still fits, then the next smaller one, and so on: all points at once.
    """
    n = len(points)
    ends = np.flatnonzero(np.concatenate((group[1:] != group[:-1], [True])))
    end = np.repeat(ends, np.diff(np.concatenate(([-1], ends))))
    low, high = [points], [points]
    longest = int(np.diff(np.concatenate(([-1], ends))).max())
    # A window that is nowhere short enough has no longer one that is.
    while 2 ** len(low) <= longest and _fits(low[-1], high[-1], max_dispersion).any():
        step = 2 ** (len(low) - 1)
        low.append(np.minimum(low[-1][:-step], low[-1][step:]))
        high.append(np.maximum(high[-1][:-step], high[-1][step:]))
    reach = np.arange(n)
    lowest, highest = points.copy(), points.copy()
    for level in range(len(low) - 1, -1, -1):
        step = 2**level
        rows = np.flatnonzero(reach + step <= end)
        after = reach[rows] + 1
        lower = np.minimum(lowest[rows], low[level][after])
        higher = np.maximum(highest[rows], high[level][after])
        ok = _fits(lower, higher, max_dispersion)
        rows = rows[ok]
        reach[rows] += step
        lowest[rows], highest[rows] = lower[ok], higher[ok]
    return reach


def _fits(low: NDArray[Any], high: NDArray[Any], max_dispersion: float) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = (high - low).sum(axis=1) <= max_dispersion
    return fits


def _chain(long_enough: NDArray[np.bool_], reach: IntArray) -> list[int]:
    """Walk from fixation to fixation; the loop runs once per fixation, not per sample."""
    n = len(reach)
    index = np.where(long_enough, np.arange(n), n)
    following = np.minimum.accumulate(index[::-1])[::-1].tolist()
    after = (reach + 1).tolist()
    found = []
    at = following[0]
    while at < n:
        found.append(at)
        behind = after[at]
        at = following[behind] if behind < n else n
    return found
