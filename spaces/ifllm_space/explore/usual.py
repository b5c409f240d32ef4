"""A turn's features beside the usual values: of this reader's other turns, and of everyone."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import PER_RESPONSE, Feature
from ifllm_hf.behavior.features.table import CATALOGUE
from ifllm_space.page_numbers import number

PLAIN_WORDS = {
    "reading_ms": "Time spent reading",
    "mouse_dwell_ms": "Time with the mouse on the answer",
    "gaze_dwell_ms": "Time with the gaze on the answer",
    "mouse_late_20pct": "Mouse on the answer towards the end",
    "gaze_late_20pct": "Gaze on the answer towards the end",
    "mouse_coverage": "Share of the answer the mouse came to",
    "gaze_coverage": "Share of the answer the gaze came to",
    "mouse_depth": "Deepest place the mouse came to",
    "gaze_depth": "Deepest place the gaze came to",
    "mouse_visits": "Visits with the mouse",
    "gaze_visits": "Visits with the gaze",
    "mouse_regressions": "Jumps back with the mouse",
    "gaze_regressions": "Jumps back with the gaze",
    "visible_ms": "Time the answer was on screen",
    "visible_depth": "Deepest place that was on screen",
    "mouse_gaze_agreement": "Mouse and gaze on the same answer",
}
"""The features that are shown first, in words; the others go by their names."""

FEWEST = 3
"""A usual value needs at least so many others."""


def usual_values(
    features: pl.DataFrame, turns: pl.DataFrame, query_id: int
) -> list[dict[str, Any]]:
    """Set the features of a turn beside what is usual for turns of its kind.

    Args:
        features: Features of all turns, with `query_id`.
        turns: `query_id, user_id, kind` of all turns.
        query_id: The turn.

    Returns:
        JSON-ready, one entry per feature with any value: `name`, `says` (in words or None),
        `formula`, `unit`, `values` (one, or left and right), `own` (median of the reader's other
        turns, both answers pooled), `everyone` (quartiles over the turns of the other readers), and
        `others` (how many turns of the reader stand behind `own`).
    """
    this = turns.row(by_predicate=pl.col("query_id") == query_id, named=True)
    kind = turns.filter(pl.col("kind") == this["kind"])
    known = features.join(kind.select("query_id", "user_id"), on="query_id", how="inner")
    is_reader = (known["user_id"] == this["user_id"]).to_numpy()
    is_turn = (known["query_id"] == query_id).to_numpy()
    both = this["kind"] == "pairwise"
    found = [_row(f, known, is_turn, is_reader, both) for f in CATALOGUE]
    order = {name: i for i, name in enumerate(PLAIN_WORDS)}
    shown = [row for row in found if row is not None]
    return sorted(shown, key=lambda row: order.get(row["name"], len(order)))


def _row(
    feature: Feature, known: pl.DataFrame, is_turn: Any, is_reader: Any, both: bool
) -> dict[str, Any] | None:
    columns = feature.columns
    if feature.scope == PER_RESPONSE and not both:
        columns = columns[:1]
    table = known.select(columns).to_numpy()  # turns x sides
    values = table[is_turn][0]
    if not np.isfinite(values).any():
        return None
    own, everyone = table[is_reader & ~is_turn], table[~is_reader]
    return {
        "name": feature.name,
        "says": PLAIN_WORDS.get(feature.name),
        "formula": feature.formula,
        "unit": feature.unit,
        "values": [number(value) for value in values],
        "own": _quantiles(own, [0.5])[0],
        "others": int(np.isfinite(own).any(axis=1).sum()),
        "everyone": _quantiles(everyone, [0.25, 0.5, 0.75]),
    }


def _quantiles(values: Any, at: list[float]) -> list[float | None]:
    finite = values[np.isfinite(values)]
    if finite.size < FEWEST:
        return [None] * len(at)
    return [number(value) for value in np.quantile(finite, at)]
