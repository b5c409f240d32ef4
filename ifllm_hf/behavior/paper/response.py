"""How one answer was read, by the paper's formulas: engagement, positions, 20 time windows.

Quirks of the paper that are kept (they decide the numbers):

* rows off the answer count in `data_points` and `overall_attention_ratio`, for the last question
  matched, however long ago;
* `focused_engagement_time` is in milliseconds, the phase features are in seconds;
* positions are UTF-16 caret offsets divided by a length in code points;
* the windows cut the *time* between the first and the last reading row, half-open, so that the
  last row falls into none; 0 stands for "no row in this window" as well as for "at the start".
"""

from __future__ import annotations

import numpy as np

from ifllm_hf.behavior.paper.matching import MatchedFile, capped_gaps_ms

WINDOWS = 20

RESPONSE_NAMES = (
    "focused_engagement_ratio",
    "focused_engagement_time",
    "overall_attention_ratio",
    "normalized_avg_char_position",
    "reading_completion_ratio",
    "normalized_char_position_variance",
    "data_points",
    *(f"window_{i:03d}" for i in range(WINDOWS)),
)


def response_block(file: MatchedFile, number: int, length: int) -> dict[str, float]:
    """Return the 27 features of one answer in one file.

    Args:
        file: The side's file of one channel, rows in order of the page clock.
        number: The number of the question; 0 if it took no part in matching.
        length: Length of the answer in code points.

    Returns:
        `RESPONSE_NAMES` -> value; all 0 if the question has no row or the answer is empty.
    """
    values = dict.fromkeys(RESPONSE_NAMES, 0.0)
    rows = file.label == number if number > 0 else np.zeros(0, dtype=np.bool_)
    n_rows = int(np.count_nonzero(rows))
    if n_rows == 0 or length == 0:
        return values
    reading = rows & file.reading
    t, caret = file.page_ms[reading], file.caret[reading]
    values["data_points"] = float(n_rows)
    values["overall_attention_ratio"] = len(t) / n_rows
    if len(t) == 0:
        return values
    n, total, squares = len(t), int(caret.sum()), int(caret @ caret)
    values["normalized_avg_char_position"] = total / n / length
    values["reading_completion_ratio"] = min(1.0, int(caret.max()) / length)
    if n < 2:
        return values
    # In whole numbers, so that a caret that never moves has a variance of exactly 0.
    values["normalized_char_position_variance"] = (
        (n * squares - total * total) / (n * (n - 1)) / length**2
    )
    span_ms = float(t[-1] - t[0])
    values["focused_engagement_time"] = capped_gaps_ms(t)
    if span_ms == 0:
        return values
    values["focused_engagement_ratio"] = values["focused_engagement_time"] / span_ms
    edges = t[0] + np.arange(WINDOWS + 1) * (span_ms / WINDOWS)
    cuts = np.searchsorted(t, edges, side="left")
    sums = np.concatenate(([0], np.cumsum(caret)))[cuts]
    counts = np.maximum(cuts[1:] - cuts[:-1], 1)
    means = (sums[1:] - sums[:-1]) / counts / length
    values.update(zip(RESPONSE_NAMES[-WINDOWS:], means.tolist(), strict=True))
    return values
