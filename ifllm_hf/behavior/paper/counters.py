"""The paper's counters per question (`all_metrics`), by its second assignment of rows to questions.

Here a question begins, in each file on its own, at the least page time of a row whose window is
found in its answer, and owns every row until the next question begins, rows on other text and off
the answer included.

Quirks of the paper that are kept:

* the assignment is not that of the response features, so their denominators differ;
* `max_idx` is the caret in any text (labels, buttons), -1 if there was none, so that
  `max_idx_ratio` can be slightly negative or above 1;
* in pairwise conversations both gaze files count for `camera_green`, so a tick counts twice; a
  record without a camera flag counts as green;
* `response_length` is -1 for a side that was never matched.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ifllm_hf.behavior.paper.matching import MatchedFile, first_rows

CHANNELS = ("gaze", "mouse")
SIDES = {"a": "left", "b": "right"}

COUNTER_NAMES = (
    "camera_green",
    *(
        f"{channel}_{name}_{side}"
        for channel in CHANNELS
        for name in ("total_entries", "onscreen_points", "max_idx")
        for side in SIDES.values()
    ),
    *(f"response_length_{side}" for side in SIDES.values()),
)

DERIVED_NAMES = (
    *(f"{channel}_max_idx_ratio_{side}" for channel in CHANNELS for side in SIDES.values()),
    "camera_green_ratio",
)


def question_metrics(
    files: dict[tuple[str, str], MatchedFile], lengths: dict[str, list[int]]
) -> dict[int, dict[str, float]]:
    """Return the 15 counters and 5 ratios of every question matched in some file.

    Args:
        files: (channel, side) -> rows in order of the page clock; channel "gaze" or "mouse",
            side "a" or "b".
        lengths: side -> length of the answer per question in order of asking, code points.

    Returns:
        Number of the question -> `COUNTER_NAMES` and `DERIVED_NAMES` -> value.
    """
    out: dict[int, dict[str, float]] = {}
    for (channel, side_id), file in files.items():
        side = SIDES[side_id]
        begins = {n: float(file.page_ms[row]) for n, row in first_rows(file.question).items()}
        for number in begins:
            values = out.setdefault(number, _empty())
            values[f"response_length_{side}"] = lengths[side_id][number - 1]
        order = sorted(begins, key=lambda number: begins[number])
        cuts = np.searchsorted(file.page_ms, [begins[n] for n in order], side="left").tolist()
        spans = pairwise([*cuts, len(file.page_ms)])
        for number, (start, stop) in zip(order, spans, strict=True):
            values = out[number]
            values[f"{channel}_total_entries_{side}"] = stop - start
            on_answer = int(np.count_nonzero(file.on[start:stop]))
            values[f"{channel}_onscreen_points_{side}"] = on_answer
            values[f"{channel}_max_idx_{side}"] = int(file.caret[start:stop].max(initial=-1))
            if channel == "gaze":
                values["camera_green"] += int(np.count_nonzero(file.green[start:stop]))
    for values in out.values():
        values.update(_ratios(values))
    return out


def _empty() -> dict[str, float]:
    """Return the counters before any row: 0, or -1 where the paper means none."""
    unset = ("max_idx", "response_length")
    return {name: -1 if any(u in name for u in unset) else 0 for name in COUNTER_NAMES}


def _ratios(values: dict[str, float]) -> dict[str, float]:
    """Return the five ratios derived from the counters."""
    ratios: dict[str, float] = {}
    for channel in CHANNELS:
        for side in SIDES.values():
            length = values[f"response_length_{side}"]
            reached = values[f"{channel}_max_idx_{side}"]
            ratios[f"{channel}_max_idx_ratio_{side}"] = reached / length if length > 0 else 0.0
    gaze_rows = values["gaze_total_entries_left"] + values["gaze_total_entries_right"]
    ratios["camera_green_ratio"] = values["camera_green"] / gaze_rows if gaze_rows else 0.0
    return ratios
