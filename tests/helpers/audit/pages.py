"""Pairs of a page as the audit holds them: scored, with known gain, with or without a leak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)
LOOK = BEGIN + timedelta(days=400)
"""When all of them have closed."""


def page_pairs(
    readers: int = 30, pairs: int = 4, *, right: float = 0.9, leak: bool = False, seed: int = 0
) -> pl.DataFrame:
    """Return scored pairs whose lengths tell nothing.

    Args:
        readers: One begins each hour.
        pairs: Of each.
        right: How often length with behaviour is right; length alone is every second time.
        leak: Whether the pointer goes to the side that is preferred, off the answers.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    n = readers * pairs
    b = rng.random(n) < 0.5
    says_b = np.where(rng.random(n) < right, b, ~b)
    reader = np.repeat(np.arange(readers), pairs)
    place = (b if leak else rng.random(n) < 0.5) * 800.0
    ticks = [[x, 1000.0] for x in place]  # the last one tells how wide the page is
    return pl.DataFrame(
        {
            "query_id": np.arange(n),
            "conversation_id": [f"reader_{r}/1" for r in reader],
            "user_id": [f"reader_{r}" for r in reader],
            "kind": "pairwise",
            "asked_at": [
                BEGIN + timedelta(hours=int(r), minutes=int(i % pairs))
                for i, r in enumerate(reader)
            ],
            "preference": np.where(b, "b", "a"),
            "response_chars_a": 100,
            "response_chars_b": np.where(rng.random(n) < 0.5, 90, 110),
            "mouse_x_px": ticks,
            "mouse_y_px": [[600.0, 700.0]] * n,
            "mouse_on": [["none", "none"]] * n,
            "phase": [["reading", "reading"]] * n,
            "p_b": np.where(says_b, 0.8, 0.2),
            "head": "all",
            "why": pl.Series([None] * n, dtype=pl.String),
        }
    )
