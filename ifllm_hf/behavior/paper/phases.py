"""Reviewing (reading) against composing (writing the next question), by the paper's formulas.

The two kinds of conversation use one word for different things: pointwise *composing* is the time
before the first reading of an answer, pairwise it is the time after the last reading of all.

Quirks of the paper that are kept:

* pairwise values belong to the conversation: every question gets the same ones, so the first
  question sees the last one's future;
* row sets of a phase are cut by time only: rows of any question and any text are in them, the
  rating widget and buttons below the answer included;
* `composing_lookback` of a pairwise side measures rows labelled as placeholder, which after the
  first answer are rows without a caret, not looking back;
* a tie gives -1 in every `which_side_*` column;
* the last question *matched* (not asked) is reviewed until the end of the file;
* reloads restart the page clock, and rows of both page loads are mixed by sorting on it.
"""

from __future__ import annotations

import numpy as np

from ifllm_hf.behavior.declaration import BoolArray, FloatArray
from ifllm_hf.behavior.paper.matching import MatchedFile, capped_gaps_ms, concatenate, first_rows

EPSILON = 0.001
RATIO_CAP = 100.0

POINTWISE_NAMES = (
    "reviewing_duration_s",
    "composing_duration_s",
    "reviewing_pct",
    "composing_pct",
    "detection_method",
    "max_char_position_reached",
    "reviewing_active_ratio",
    "reviewing_offscreen_ratio",
    "composing_active_ratio",
    "composing_offscreen_ratio",
    "composing_lookback_ratio",
    "composing_thinking_ratio",
    "reviewing_composing_duration_ratio",
    "reviewing_composing_activity_ratio",
    "composing_reviewing_activity_diff",
    "offscreen_increase",
    "active_time_reviewing_s",
    "active_time_composing_s",
    "offscreen_time_reviewing_s",
    "offscreen_time_composing_s",
    "lookback_time_s",
    "thinking_time_s",
)

SIDE_NAMES = (
    "reviewing_engaged_time_s",
    "reviewing_engaged_pct",
    "reviewing_active_time_ratio",
    "reviewing_onscreen_ratio",
    "reviewing_entries",
    "max_char_position_reached",
    "composing_lookback_time_s",
    "composing_lookback_ratio",
)

COMPARISON_NAMES = (
    "reviewing_time_ratio",
    "reviewing_time_diff",
    "which_side_longer_reviewing",
    "reviewing_activity_ratio",
    "reviewing_activity_diff",
    "which_side_more_active_reviewing",
    "composing_lookback_ratio",
    "composing_lookback_diff",
    "which_side_read_further",
)

SHARED_NAMES = ("composing_duration_s", "composing_pct", "detection_method")

PAIRWISE_NAMES = (
    *(f"{side}_{name}" for side in ("left", "right") for name in SIDE_NAMES),
    *SHARED_NAMES,
    *(f"comparison_{name}" for name in COMPARISON_NAMES),
)

POINTWISE_CROSS = {
    "reviewing_duration": "reviewing_duration_s",
    "composing_duration": "composing_duration_s",
    "reviewing_activity": "reviewing_active_ratio",
    "composing_activity": "composing_active_ratio",
}

Values = dict[str, float]


def capped_ratio(a: float, b: float) -> float:
    """Return min(a / (b + 0.001), 100)."""
    return min(a / (b + EPSILON), RATIO_CAP)


def _share(mask: BoolArray) -> float:
    """Return the share of true values, 0 for an empty array."""
    return float(np.count_nonzero(mask)) / len(mask) if len(mask) else 0.0


def _sign(left: float, right: float) -> float:
    """Return 1 if left is greater, else -1, ties included."""
    return 1.0 if left > right else -1.0


def pointwise_phases(file: MatchedFile) -> dict[int, Values]:
    """Return the 22 phase features per question of a pointwise file.

    Args:
        file: One channel's file, rows in order of the page clock.

    Returns:
        Number of the question -> `POINTWISE_NAMES` -> value. Questions without a reading row
        (own label and a caret) are left out; the caller fills them with zeros.
    """
    # Rows are sorted by time, so the first row of a label has its least time.
    first = first_rows(file.label)
    order = sorted(first, key=lambda number: first[number])
    out: dict[int, Values] = {}
    before: FloatArray | None = None
    has_caret = file.caret != -1
    for place, number in enumerate(order):
        t = file.page_ms[(file.label == number) & has_caret]
        if len(t) == 0:
            before = None
            continue
        begin, last = float(t[0]), float(t[-1])
        if place == 0:
            composing_start = float(file.page_ms[0])
        elif before is None:
            composing_start = begin
        else:
            earlier = int(np.searchsorted(before, begin, side="left"))
            composing_start = float(before[earlier - 1]) if earlier else begin
        end = float(file.page_ms[-1]) if place == len(order) - 1 else last
        out[number] = _pointwise_values(file, composing_start, begin, end)
        before = t
    return out


def _pointwise_values(file: MatchedFile, start: float, middle: float, end: float) -> Values:
    """Return the values for composing = [start, middle) and reviewing = [middle, end], ms."""
    t = file.page_ms
    first, split = np.searchsorted(t, (start, middle), side="left").tolist()
    stop = int(np.searchsorted(t, end, side="right"))
    has_caret = file.caret != -1
    reviewing_s, composing_s = (end - middle) / 1000, (middle - start) / 1000
    total_s = reviewing_s + composing_s
    carets = file.caret[split:stop][has_caret[split:stop]]
    on_reviewing, on_composing = file.on[split:stop], file.on[first:split]
    r_active, r_off = _share(on_reviewing), _share(~on_reviewing)
    c_active, c_off = _share(on_composing), _share(~on_composing)
    lookback = _share(has_caret[first:split])
    thinking = _share(on_composing & ~has_caret[first:split])
    return {
        "reviewing_duration_s": reviewing_s,
        "composing_duration_s": composing_s,
        "reviewing_pct": 100 * reviewing_s / total_s if total_s else 0.0,
        "composing_pct": 100 * composing_s / total_s if total_s else 0.0,
        "detection_method": 1.0,
        "max_char_position_reached": float(carets.max()) if len(carets) else 0.0,
        "reviewing_active_ratio": r_active,
        "reviewing_offscreen_ratio": r_off,
        "composing_active_ratio": c_active,
        "composing_offscreen_ratio": c_off,
        "composing_lookback_ratio": lookback,
        "composing_thinking_ratio": thinking,
        "reviewing_composing_duration_ratio": capped_ratio(reviewing_s, composing_s),
        "reviewing_composing_activity_ratio": capped_ratio(r_active, c_active),
        "composing_reviewing_activity_diff": c_active - r_active,
        "offscreen_increase": c_off - r_off,
        "active_time_reviewing_s": reviewing_s * r_active,
        "active_time_composing_s": composing_s * c_active,
        "offscreen_time_reviewing_s": reviewing_s * r_off,
        "offscreen_time_composing_s": composing_s * c_off,
        "lookback_time_s": composing_s * lookback,
        "thinking_time_s": composing_s * thinking,
    }


def pointwise_cross(gaze: Values, mouse: Values) -> Values:
    """Return the four gaze-to-mouse ratios of a pointwise question, under their full names."""
    return {
        f"cross_modality_{name}_ratio_gaze_mouse": capped_ratio(gaze[source], mouse[source])
        for name, source in POINTWISE_CROSS.items()
    }


def pairwise_phases(left: MatchedFile, right: MatchedFile) -> Values:
    """Return the 28 phase features of one channel of a pairwise conversation.

    Args:
        left: The file of answer a, rows in order of the page clock.
        right: The file of answer b, likewise.

    Returns:
        `PAIRWISE_NAMES` -> value; all 0 if no question has a row with a caret.
    """
    both = concatenate((left, right))
    has_caret = both.caret != -1
    if not np.any(has_caret & (both.label > 0)):
        return dict.fromkeys(PAIRWISE_NAMES, 0.0)
    start, end = float(both.page_ms.min()), float(both.page_ms.max())
    boundary = float(both.page_ms[has_caret].max())
    total_s = (end - start) / 1000
    reviewing_s, composing_s = (boundary - start) / 1000, (end - boundary) / 1000
    values: Values = {}
    for side, file in (("left", left), ("right", right)):
        cut = int(np.searchsorted(file.page_ms, boundary, side="left"))
        on = file.on[:cut]
        carets = file.caret[:cut][on]
        engaged_s = capped_gaps_ms(file.page_ms[:cut][on]) / 1000
        lookback_s = capped_gaps_ms(file.page_ms[cut:][file.label[cut:] == -1]) / 1000
        block = (
            engaged_s,
            100 * engaged_s / total_s if total_s else 0.0,
            engaged_s / reviewing_s if reviewing_s else 0.0,
            _share(on),
            float(np.count_nonzero(on)),
            float(carets.max()) if len(carets) else 0.0,
            lookback_s,
            lookback_s / composing_s if composing_s else 0.0,
        )
        values.update((f"{side}_{name}", v) for name, v in zip(SIDE_NAMES, block, strict=True))
    values["composing_duration_s"] = composing_s
    values["composing_pct"] = 100 * composing_s / total_s if total_s else 0.0
    values["detection_method"] = 1.0
    values.update(_comparisons(values))
    return values


def _comparisons(values: Values) -> Values:
    """Return the nine comparisons of left with right."""

    def sides(name: str) -> tuple[float, float]:
        return values[f"left_{name}"], values[f"right_{name}"]

    time, active = sides("reviewing_engaged_time_s"), sides("reviewing_active_time_ratio")
    lookback, reached = sides("composing_lookback_time_s"), sides("max_char_position_reached")
    block = (
        capped_ratio(*time),
        time[0] - time[1],
        _sign(*time),
        capped_ratio(*active),
        active[0] - active[1],
        _sign(*active),
        capped_ratio(*lookback),
        lookback[0] - lookback[1],
        _sign(*reached),
    )
    return {f"comparison_{n}": v for n, v in zip(COMPARISON_NAMES, block, strict=True)}


def pairwise_cross(gaze: Values, mouse: Values) -> Values:
    """Return the three gaze-with-mouse columns of a pairwise conversation, under full names."""
    out = {
        f"cross_modality_{side}_reviewing_duration_ratio_gaze_mouse": capped_ratio(
            gaze[f"{side}_reviewing_engaged_time_s"], mouse[f"{side}_reviewing_engaged_time_s"]
        )
        for side in ("left", "right")
    }
    g, m = gaze["comparison_reviewing_time_ratio"], mouse["comparison_reviewing_time_ratio"]
    agree = (g > 1 and m > 1) or (g < 1 and m < 1)
    out["cross_modality_preference_agreement_gaze_mouse"] = 1.0 if agree else -1.0
    return out
