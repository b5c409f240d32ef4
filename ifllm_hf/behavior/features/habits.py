"""Where the end of reading rested in a reader's earlier turns, answer by answer.

`baseline` keeps the habit of a *difference* (b less a). Here it is told for each answer, which is
what the reward model takes (`trajectory_history`); b less a is the same number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.answer_text import split_answers
from ifllm_hf.behavior.declaration import BoolArray, FloatArray
from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS, PRIOR_TURNS, reading_order
from ifllm_hf.behavior.features.comparison import DELTAS, LATE, either, pooled
from ifllm_hf.behavior.features.dwell import late_shares
from ifllm_hf.behavior.features.table import READING, chunks_of_turns, turns_as_polars
from ifllm_hf.behavior.reading_ticks import reading_ticks
from ifllm_hf.errors import DataError

HABIT = "trajectory_history"
_CHANNELS = ("mouse", "either", "pooled")


def add_habits(turns: Any) -> Any:
    """Add the column `trajectory_history`, `[answers, 9]`, that the reward model's processor reads.

    Give all turns of a reader at once: only earlier ones count, later ones feed nothing.

    Args:
        turns: A `Dataset` of the `pairwise` or `pointwise` config.

    Raises:
        DataError: A column is missing, or ticks and answers do not fit together.
    """
    from datasets import Features, List, Value

    features = Features({HABIT: List(List(Value("float32")))})
    values = reader_habits(turns).tolist()
    kept = turns.remove_columns(HABIT) if HABIT in turns.column_names else turns
    return kept.add_column(HABIT, values, feature=features[HABIT])


def reader_habits(rows: Any) -> FloatArray:
    """Return the habit of every turn's reader before that turn.

    With s the shares of `late_shares` for mouse, mouse else gaze, and both pooled, the sum of
    ln(s + δ) over the reader's n earlier turns in which both answers have one, divided by n + 3.

    Args:
        rows: As for `behavior_features`.

    Returns:
        `[turns, 2, 9]`: answers by columns (channel, then half-life).

    Raises:
        DataError: A column is missing, or ticks and answers do not fit together.
    """
    frame = turns_as_polars(rows)
    return habits_of(frame, log_shares(frame))


def habits_of(turns: pl.DataFrame, shares: FloatArray) -> FloatArray:
    """Return `reader_habits` of turns whose shares are known.

    Args:
        turns: `query_id` and `ORDER_COLUMNS`.
        shares: Their `log_shares`.

    Raises:
        DataError: A column is missing.
    """
    missing = [n for n in ("query_id", *ORDER_COLUMNS) if n not in turns.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; habits need them to tell a reader's "
            "earlier turns from later ones."
        )
    known: BoolArray = np.asarray(np.isfinite(shares).all(axis=1))
    reader, order = reading_order(turns)
    clean: FloatArray = np.where(known[:, None], shares, 0.0)
    habits = _before(clean, reader, order)
    habits /= _before(known.astype(np.float64), reader, order)[:, None] + PRIOR_TURNS
    return habits


def log_shares(turns: pl.DataFrame) -> FloatArray:
    """Return ln(share + δ) of turns with ticks, `[turns, 2, 9]`; NaN where it is not known."""
    return np.concatenate([_log_shares(chunk) for chunk in chunks_of_turns(turns)])


def _log_shares(frame: pl.DataFrame) -> FloatArray:
    answers = split_answers(frame["response_a"].to_list(), frame["response_b"].to_list())
    ticks = reading_ticks(frame, answers, READING)
    values: dict[str, FloatArray] = {}
    for name, channel in ticks.channels.items():
        known = channel.recorded[:, None] & answers.exists & ticks.has_ticks[:, None]
        found = {**late_shares(channel), "dwell_ms": channel.dwell_ms}
        values |= {f"{name}_{k}": np.where(known, v, np.nan) for k, v in found.items()}
    values |= either(values, LATE)
    values |= pooled(values)
    logs = [np.log(values[f"{c}_{end}"] + DELTAS[end]) for c in _CHANNELS for end in LATE]
    return np.stack(logs, axis=2)


def _before(values: FloatArray, reader: np.ndarray, order: np.ndarray) -> FloatArray:
    """Replace values `[turns, ...]` by their sums over a reader's earlier turns, in place."""
    ordered = reader[order]
    for at in np.ndindex(values.shape[1:]):
        column = values[(slice(None), *at)]
        frame = pl.DataFrame({"reader": ordered, "value": column[order]})
        sums = frame.select(pl.col("value").cum_sum().shift(1, fill_value=0.0).over("reader"))
        column[order] = sums["value"].to_numpy()
    return values
