"""How a turn departs from how its reader usually reads: earlier turns only.

A reader's turns are ordered by `asked_at`, then by conversation and turn. A turn without a time
counts as asked with the one before it in its conversation (else the one after it); where a
conversation has no time at all, only its own turns are earlier ones. Later turns feed nothing. A
table with some of a reader's turns knows only those.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import (
    ANTISYMMETRIC,
    SYMMETRIC,
    Feature,
    FloatArray,
    IntArray,
    per_channel,
    ratio,
)
from ifllm_hf.behavior.features.comparison import COMPARISON, LATE
from ifllm_hf.behavior.quantities import LOGARITHM, NUMBER
from ifllm_hf.errors import DataError

PRIOR_TURNS = 3.0
"""A reader's habitual log ratio is shrunk towards 0 as if it had been 0 in this many turns."""
LEVELS = {
    "dwell_ms_per_char": 0.5,
    "speed_chars_per_s": 1.0,
    "fixation_ms_mean": 50.0,
    "coverage": 0.05,
    "reread_share": 0.05,
}
"""Per-response feature -> δ of its logarithm, in its unit."""
LEANINGS = ("dwell_ms", "recency_3s_ms", "recency_15s_ms", "last_third_ms", *LATE)

ORDER_COLUMNS = ("user_id", "conversation_id", "turn", "asked_at")

_OWN = "within-reader standardisation; Buscher et al. 2012 (readers differ in pace)"

_LEVEL_FEATURES = tuple(
    feature
    for name, delta in LEVELS.items()
    for feature in per_channel(
        f"{name}_vs_own",
        f"ln({name} + {delta:g}) - its mean over all answers of the reader's earlier turns",
        *LOGARITHM,
        _OWN,
    )
)
_LEANING_FEATURES = tuple(
    Feature(
        f"{feature.name}_vs_own",
        f"{feature.name} - Σ of it over the reader's n earlier turns / (n + {PRIOR_TURNS:g}); "
        "its sign turns if all of the reader's turns are swapped",
        *LOGARITHM,
        _OWN,
        ANTISYMMETRIC,
        feature.channel,
    )
    for feature in COMPARISON
    if feature.name.removesuffix("_log_ratio").split("_", 1)[1] in LEANINGS
)

_both = partial(Feature, source=_OWN, scope=SYMMETRIC, channel="both")
BASELINE: tuple[Feature, ...] = (
    *_LEVEL_FEATURES,
    *_LEANING_FEATURES,
    _both(
        "reading_ms_vs_own",
        "ln(reading_ms + 1000) - its mean over the reader's earlier turns of the same kind",
        *LOGARITHM,
    ),
    _both("earlier_turns", "the reader's earlier turns with ticks in reading", *NUMBER),
)


def baseline(own: pl.LazyFrame) -> Iterator[tuple[str, FloatArray]]:
    """Compute the features of `BASELINE`, one at a time: their columns need not be in memory.

    Args:
        own: All turns: `query_id`, `ORDER_COLUMNS`, `paired` (whether the turn has two answers)
            and what their own ticks say, the columns of the other features.

    Yields:
        Name and values, `[turns, 2]` per response, `[turns]` per pair.

    Raises:
        DataError: A column is missing.
    """
    there = own.collect_schema().names()
    missing = [name for name in (*ORDER_COLUMNS, "query_id") if name not in there]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; the reader's own baseline needs them "
            "to tell earlier turns from later ones."
        )
    reader, order = reading_order(own.select(*ORDER_COLUMNS, "query_id").collect())

    def read(*names: str) -> FloatArray:
        values: FloatArray = own.select(names).collect().to_numpy()
        return values

    for feature in _LEVEL_FEATURES:
        name = feature.name.removesuffix("_vs_own")
        level = np.log(read(f"{name}_a", f"{name}_b") + LEVELS[name.split("_", 1)[1]])
        yield feature.name, level - _earlier_mean(level, reader, order)[:, None]
    for feature in _LEANING_FEATURES:
        value = read(feature.name.removesuffix("_vs_own"))
        total, count = _earlier(value, reader, order)
        yield feature.name, value[:, 0] - total / (count + PRIOR_TURNS)
    reading = np.log(read("reading_ms") + 1000.0)
    of_kind = reader * 2 + read("paired")[:, 0].astype(np.int64)
    yield "reading_ms_vs_own", reading[:, 0] - _earlier_mean(reading, of_kind, order)
    _, count = _earlier(reading, reader, order)
    yield "earlier_turns", count


def reading_order(rows: pl.DataFrame) -> tuple[IntArray, IntArray]:
    """Return the reader of every turn as a number, and the order from earliest to latest.

    Args:
        rows: The turns: `query_id` and `ORDER_COLUMNS`.

    Returns:
        Twice `[turns]`.
    """
    frame = rows.select(*ORDER_COLUMNS, "query_id").with_row_index("row")
    asked = (
        pl.col("asked_at").forward_fill().backward_fill().over("conversation_id", order_by="turn")
    )
    frame = frame.with_columns(asked.alias("asked"))
    # An unknown time is neither earlier nor later than other conversations.
    reader = (
        pl.when(pl.col("asked").is_null())
        .then(pl.concat_str(pl.lit("\0"), "conversation_id"))
        .otherwise(pl.col("user_id"))
    )
    frame = frame.with_columns(reader.rank("dense").cast(pl.Int64).alias("reader"))
    order = frame.sort("asked", "conversation_id", "turn", "query_id")["row"].to_numpy()
    return frame["reader"].to_numpy(), order


def _earlier(
    values: FloatArray, reader: IntArray, order: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return sum and number of known values `[turns, k]` in the reader's earlier turns."""
    known = np.isfinite(values)
    clean = np.where(known, values, 0.0)
    # Adding the sides first makes the sum blind to which is left.
    frame = pl.DataFrame(
        {
            "reader": reader[order],
            "total": clean.sum(axis=1)[order],
            "count": known.sum(axis=1).astype(np.float64)[order],
        }
    ).select(pl.col("total", "count").cum_sum().shift(1, fill_value=0.0).over("reader"))
    total, count = np.empty(len(order)), np.empty(len(order))
    total[order], count[order] = frame["total"].to_numpy(), frame["count"].to_numpy()
    return total, count


def _earlier_mean(values: FloatArray, reader: IntArray, order: IntArray) -> FloatArray:
    return ratio(*_earlier(values, reader, order))
