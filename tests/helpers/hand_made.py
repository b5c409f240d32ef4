"""Hand-made ticks, for what comes after the files are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ifllm_hf.data.ticks.displayed_text import DisplayedText
from ifllm_hf.data.ticks.merge import Channel, MergedTicks

Spot = tuple[str, str | None, int]
"""The side that a channel is on ("none", "a", "b"), the window there, and its caret."""

NOWHERE: Spot = ("none", None, -1)


def channel(
    spots: Sequence[Spot],
    x_px: Any = None,
    y_px: Any = None,
    left_px: dict[str, float] | None = None,
) -> Channel:
    """Make a channel; `left_px` gives the left edge of each answer, for positions inside them."""
    n = len(spots)
    windows = sorted({window for _, window, _ in spots if window is not None})
    number = {window: i for i, window in enumerate(windows)}
    side = np.array([("none", "a", "b").index(s) for s, _, _ in spots], dtype=np.int8)
    x = np.full(n, np.nan) if x_px is None else np.asarray(x_px, dtype=np.float64)
    y = np.full(n, np.nan) if y_px is None else np.asarray(y_px, dtype=np.float64)
    edges = left_px or {"a": 0.0, "b": 0.0}
    rel = {
        s: tuple(np.where(side == code, v, np.nan) for v in (x - edges.get(s, 0.0), y))
        for code, s in ((1, "a"), (2, "b"))
    }
    return Channel(
        x_px=x,
        y_px=y,
        rel_px=rel,  # type: ignore[arg-type]
        side=side,
        caret=np.array([caret for _, _, caret in spots], dtype=np.int32),
        window=np.array(
            [-1 if window is None else number[window] for _, window, _ in spots], dtype=np.int64
        ),
        windows=windows,
    )


def ticks(
    gaze: Channel | Sequence[Spot],
    mouse: Channel | Sequence[Spot] | None = None,
    *,
    kind: str = "pairwise",
    t_ms: Any = None,
    epoch_ms: Any = None,
    page_load: Any = None,
) -> MergedTicks:
    """Make ticks of 100 ms; one epoch millisecond per page millisecond unless given."""
    gaze = gaze if isinstance(gaze, Channel) else channel(gaze)
    n = len(gaze.side)
    if mouse is None:
        mouse = [NOWHERE] * n
    mouse = mouse if isinstance(mouse, Channel) else channel(mouse)
    page_ms = 100.0 * np.arange(n) if t_ms is None else np.asarray(t_ms, dtype=np.float64)
    return MergedTicks(
        kind=kind,
        file_row=np.arange(n),
        page_load=np.zeros(n, np.int64) if page_load is None else np.asarray(page_load),
        page_ms=page_ms,
        epoch_ms=page_ms.astype(np.int64) if epoch_ms is None else np.asarray(epoch_ms),
        camera=np.ones(n, dtype=np.int8),
        channels={"gaze": gaze, "mouse": mouse},
        ledgers={},
    )


def look_at(side: str, stored: str, caret: int) -> Spot:
    """Look at a caret of an answer: ten units on each side, trimmed, as the page recorded it."""
    units = DisplayedText(stored).units[max(0, caret - 10) : caret + 10]
    return side, units.tobytes().decode("utf-16-le", "ignore").strip(), caret
