"""Recorded samples, and samples that are matched to questions."""

from __future__ import annotations

import numpy as np
import polars as pl

from ifllm_hf.behavior.paper.matching import MatchedFile
from ifllm_hf.data.raw.samples import Samples

OFF = -5  # a caret that stands for "off the answer" in `matched`


def matched(*rows: tuple[float, int, int]) -> MatchedFile:
    """Build a matched file from (page_ms, label, caret), `OFF` as caret = off the answer."""
    t = np.array([r[0] for r in rows], dtype=np.float64)
    label = np.array([r[1] for r in rows], dtype=np.int64)
    caret = np.array([r[2] for r in rows], dtype=np.int64)
    on = caret != OFF
    return MatchedFile(
        page_ms=t,
        caret=np.where(on, caret, -1),
        on=on,
        inside=on,
        label=label,
        question=np.where(on & (label > 0), label, 0),
        green=np.ones(len(t), dtype=np.bool_),
    )


def recorded(*rows: tuple[bool, str, int]) -> Samples:
    """Build samples from (on the answer, window, caret), one every 100 ms."""
    n = len(rows)
    position = np.array([5.0 if on else -1.0 for on, _, _ in rows])
    t = 100.0 * np.arange(n)
    windows = pl.Series([w for _, w, _ in rows], dtype=pl.String)
    caret = np.array([c for _, _, c in rows], dtype=np.int32)
    return Samples(position, position, windows, caret, t, np.ones(n, dtype=np.int8), t + 1e12)
