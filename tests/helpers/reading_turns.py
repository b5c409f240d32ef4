"""Turns with ticks, small enough to compute by hand, or random but real-like."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

TICK_LISTS: dict[str, Any] = {
    "t_ms": pl.Float64,
    "page_load": pl.Int16,
    "phase": pl.String,
    "gaze_x_px": pl.Float32,
    "gaze_y_px": pl.Float32,
    "mouse_x_px": pl.Float32,
    "mouse_y_px": pl.Float32,
    "gaze_on": pl.String,
    "gaze_char": pl.Int32,
    "mouse_on": pl.String,
    "mouse_char": pl.Int32,
    "camera_ok": pl.Boolean,
    "mouse_idle_ms": pl.Float32,
    "gaze_surface": pl.String,
    "mouse_surface": pl.String,
    "surface": pl.String,
}
SCHEMA: dict[str, Any] = {
    "query_id": pl.Int64,
    "conversation_id": pl.String,
    "user_id": pl.String,
    "turn": pl.Int16,
    "asked_at": pl.Datetime("us", "UTC"),
    "response_a": pl.String,
    "response_b": pl.String,
    **{name: pl.List(dtype) for name, dtype in TICK_LISTS.items()},
}
NOON = datetime.datetime(2025, 10, 1, 12, tzinfo=datetime.UTC)


def turn(
    t_ms: Sequence[float] = (),
    mouse: Sequence[Any] | None = None,
    gaze: Sequence[Any] | None = None,
    *,
    query_id: int = 1,
    a: str = "x" * 100,
    b: str | None = "y" * 200,
    **columns: Any,
) -> dict[str, Any]:
    """Make a turn; a place is "a5" (character 5 of a), "-" (off) or None (not sampled)."""
    n = len(t_ms)
    row: dict[str, Any] = {
        "query_id": query_id,
        "conversation_id": "ann/1",
        "user_id": "ann",
        "turn": 1,
        "asked_at": NOON,
        "response_a": a,
        "response_b": b,
        **{name: [None] * n for name in TICK_LISTS},
        "t_ms": [float(t) for t in t_ms],
        "page_load": [0] * n,
        "phase": ["reading"] * n,
    }
    for name, places in (("mouse", mouse), ("gaze", gaze)):
        # A channel that is not given is on the page's tick grid, but nothing was recorded of it.
        places = ["none"] * n if places is None else list(places)
        assert len(places) == n
        row[f"{name}_on"] = [
            None if p is None else "none" if p in ("-", "none") else p[0] for p in places
        ]
        row[f"{name}_char"] = [int(p[1:]) if p and p[0] in "ab" else None for p in places]
        row[f"{name}_x_px"] = [None if p in (None, "none") else 7.0 for p in places]
    return {**row, **columns}


def table(turns: Sequence[dict[str, Any]]) -> pl.DataFrame:
    view = [k for k in (turns[0] if turns else ()) if k.startswith(("scroll_", "visible_"))]
    extra = {k: pl.List(pl.Float64) for k in view}
    return pl.DataFrame(list(turns), schema={**SCHEMA, **extra}, orient="row")


def random_turns(seed: int, n: int = 24, ticks: int = 120) -> pl.DataFrame:
    """Make turns like those of a release: 3 readers, both kinds, reloads, gaps, empty lists."""
    rng = np.random.default_rng(seed)
    words = ["reading", "is", "slow.", "Look!", "so\n", "much", "to", "say,", "1.", "grün 🙂"]
    rows = []
    for i in range(n):
        pairwise = bool(rng.random() < 0.8)
        count = int(rng.choice([0, 1, 2, ticks, 2 * ticks], p=[0.08, 0.04, 0.04, 0.5, 0.34]))
        a, b = (" ".join(rng.choice(words, rng.integers(1, 80))) for _ in range(2))
        if rng.random() < 0.1:
            a = "z"
        length = {"a": len(a), "b": len(b)}
        step = rng.choice([80.0, 90.5, 120.0, 7.3, 2500.0], count, p=[0.5, 0.3, 0.1, 0.09, 0.01])
        load = np.sort(rng.integers(0, 2, count))
        phase = np.sort(rng.choice([0, 1, 2], count, p=[0.7, 0.1, 0.2]))
        row = turn(
            np.round(np.cumsum(step) + 1000, 1),
            query_id=100 + i,
            a=a,
            b=b if pairwise else None,
            user_id=f"u{i % 3}",
            conversation_id=f"u{i % 3}/{i // 9}",
            turn=1 + (i % 9) // 3,
            asked_at=NOON + datetime.timedelta(minutes=int(i)),
            page_load=load.tolist(),
            phase=[("reading", "rating", "after")[p] for p in phase],
            camera_ok=rng.choice([True, False, None], count).tolist(),
            mouse_idle_ms=rng.choice([0.0, 900.0, 3000.0], count).tolist(),
        )
        for c in ("gaze", "mouse"):
            stay = np.repeat(rng.integers(0, 3, count // 8 + 1), 8)[:count]
            sides = [("none", "a", "b" if pairwise else "none")[s] for s in stay]
            where = np.cumsum(rng.integers(-15, 25, count))
            row[f"{c}_on"] = sides
            row[f"{c}_char"] = [
                None if s == "none" else int(p % length[s])
                for s, p in zip(sides, where, strict=True)
            ]
            row[f"{c}_x_px"] = rng.uniform(0, 1900, count).tolist()
            row[f"{c}_y_px"] = rng.uniform(0, 900, count).tolist()
            if rng.random() < 0.15:  # this channel was not recorded
                row[f"{c}_on"] = ["none"] * count
                row[f"{c}_char"] = row[f"{c}_x_px"] = row[f"{c}_y_px"] = [None] * count
        rows.append(row)
    return table(rows)


def features_of(*args: Any, **columns: Any) -> dict[str, float]:
    """Compute the features of one made-up turn."""
    from ifllm_hf.behavior.features.table import behavior_features

    return behavior_features(table([turn(*args, **columns)])).row(0, named=True)
