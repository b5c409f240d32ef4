"""Our own features: one row per turn, from irregular ticks, missing where nothing was recorded.

Every column is declared in `CATALOGUE`. Missing is NaN, never 0: a channel that was not recorded in
reading has NaN everywhere; one that was recorded but never came to an answer has a dwell of 0, and
NaN where there is nothing to take a mean of. A turn without ticks in reading is a row of NaN.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.answer_text import Answers, split_answers
from ifllm_hf.behavior.declaration import (
    ANTISYMMETRIC,
    PER_RESPONSE,
    BoolArray,
    Feature,
    FloatArray,
    Values,
)
from ifllm_hf.behavior.features.baseline import BASELINE, ORDER_COLUMNS, baseline
from ifllm_hf.behavior.features.comparison import (
    COMPARISON,
    EITHER_FEATURES,
    POOLED_FEATURES,
    comparison,
    either,
    pooled,
)
from ifllm_hf.behavior.features.dwell import DWELL, IDLE, dwell, idle
from ifllm_hf.behavior.features.fixations import FIXATIONS, fixations
from ifllm_hf.behavior.features.gaze_mouse import AGREEMENT, agreement
from ifllm_hf.behavior.features.scanpath import SCANPATH, scanpath
from ifllm_hf.behavior.features.scroll import SCROLL, scroll
from ifllm_hf.behavior.features.spread import BLOCK_CHARS, SPREAD, spread
from ifllm_hf.behavior.features.visits import TIME, VISITS, time_totals, visits
from ifllm_hf.behavior.reading_ticks import TICK_COLUMNS, ChannelTicks, reading_ticks
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from ifllm_hf.files import scan_parquet

_OWN: tuple[Feature, ...] = (
    *TIME,
    *DWELL,
    *IDLE,
    *SPREAD,
    *SCANPATH,
    *VISITS,
    *FIXATIONS,
    *AGREEMENT,
    *SCROLL,
    *EITHER_FEATURES,
    *POOLED_FEATURES,
    *COMPARISON,
)
CATALOGUE: tuple[Feature, ...] = (*_OWN, *BASELINE)
"""Every feature, in the order of the columns."""

FEATURE_COLUMNS: tuple[str, ...] = tuple(c for feature in CATALOGUE for c in feature.columns)
ANTISYMMETRIC_COLUMNS: tuple[str, ...] = tuple(
    feature.name for feature in CATALOGUE if feature.scope == ANTISYMMETRIC
)
"""Columns whose sign turns when left and right are swapped; `_a` and `_b` columns swap."""

READING = ("reading",)
# Turns with so many ticks are computed at once: their arrays (8 MB each) stay near the processor.
_CHUNK_TICKS = 1_000_000
_HAS_TICKS, _HAS_B = "has ticks", "has an answer b"
_PHASES = ("reading", "rating", "after")


def behavior_features(rows: Any, *, phases: Sequence[str] = READING) -> pl.DataFrame:
    """Compute the features of turns.

    Args:
        rows: Rows of the `pairwise` or `pointwise` config or both (a polars frame, an Arrow table
            or a `datasets.Dataset`), one per turn: `query_id, user_id, conversation_id, turn,
            asked_at, response_a, response_b` and the tick lists named in `reading_ticks`. Give all
            turns of a reader at once: the reader's own baseline comes from earlier turns in `rows`.
        phases: The phases whose ticks are used. Anything but ("reading",) sees the click on the
            rating: for ablations only, and marked.

    Returns:
        `query_id`, `contaminated` (whether other phases than reading were used) and
        `FEATURE_COLUMNS` (Float64, NaN missing, never infinite), in the order of `rows`.

    Raises:
        DataError: A column is missing, an id is doubled, or ticks and answers do not fit together.
    """
    unknown = [phase for phase in phases if phase not in _PHASES]
    if unknown or not phases:
        raise DataError(
            f"phases holds {unknown[0] if unknown else 'nothing'!r}; expected some of {_PHASES}."
        )
    frame = turns_as_polars(rows)
    needed = ("query_id", "response_a", "response_b")
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; expected the columns of the "
            "`pairwise` and `pointwise` configs."
        )
    refuse_doubled(frame["query_id"])
    own = own_features(frame, phases)
    return with_baseline(own, dict(baseline(own.lazy())))


def own_features(frame: pl.DataFrame, phases: Sequence[str] = READING) -> pl.DataFrame:
    """Compute what the turns' own ticks say: all features but those of `BASELINE`.

    Args:
        frame: Some turns, as for `behavior_features`.
        phases: See `behavior_features`.

    Returns:
        What `baseline` takes, and `contaminated`; one row for each turn, whatever else is there.
    """
    parts = [_turn_values(chunk, phases) for chunk in chunks_of_turns(frame)]
    values = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    known = values.pop(_HAS_TICKS) > 0
    contaminated = pl.lit(tuple(phases) != READING).alias("contaminated")
    own = frame.select("query_id", *(c for c in ORDER_COLUMNS if c in frame.columns), contaminated)
    paired = {"paired": values.pop(_HAS_B) > 0}
    return own.hstack(pl.DataFrame({**paired, **_columns(_OWN, values, known)}))


def with_baseline(own: pl.DataFrame, values: Values) -> pl.DataFrame:
    """Return the table of features.

    Args:
        own: Some turns, from `own_features`.
        values: What `baseline` says of them, by name.
    """
    known = own["reading_ms"].is_not_nan().to_numpy()
    return own.hstack(pl.DataFrame(_columns(BASELINE, values, known))).select(
        "query_id", "contaminated", *FEATURE_COLUMNS
    )


def chunks_of_turns(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the turns a few at a time: time and memory then grow no faster than the ticks."""
    if "t_ms" not in frame.columns or not isinstance(frame.schema["t_ms"], pl.List):
        yield frame  # refused by `reading_ticks`, with the reason
        return
    ticks = frame["t_ms"].list.len().fill_null(0).cum_sum().to_numpy()
    ends = np.flatnonzero(np.diff(ticks // _CHUNK_TICKS, append=-1)) + 1
    start = 0
    for end in ends if len(frame) else [0]:
        yield frame[start : int(end)]
        start = int(end)


def _turn_values(frame: pl.DataFrame, phases: Sequence[str]) -> dict[str, FloatArray]:
    """Return what a turn's own ticks say; nothing here looks at another turn."""
    answers = split_answers(frame["response_a"].to_list(), frame["response_b"].to_list())
    ticks = reading_ticks(frame, answers, phases)
    values: dict[str, FloatArray] = dict(time_totals(ticks))
    blocks = answers.blocks(BLOCK_CHARS)
    for name, channel in ticks.channels.items():
        found = {
            **dwell(channel, answers),
            **spread(channel, answers, blocks),
            **scanpath(channel),
            **visits(channel, answers),
            **fixations(channel, answers),
        }
        values |= {f"{name}_{k}": _masked(v, channel, answers) for k, v in found.items()}
    mouse = ticks.channels["mouse"]
    values |= {k: _masked(v, mouse, answers) for k, v in idle(ticks).items()}
    values |= agreement(ticks, answers)
    values |= scroll(ticks, answers)
    values |= either(values)
    values |= pooled(values)
    values |= comparison(values)
    values[_HAS_TICKS] = ticks.has_ticks.astype(np.float64)
    values[_HAS_B] = answers.exists[:, 1].astype(np.float64)
    return values


def read_turns(folder: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the turns of both kinds from a prepared folder, with the columns that features need.

    Args:
        folder: A folder written by `ifllm prepare`.

    Raises:
        TableError: It is not a prepared folder.
    """
    return read_shards(turn_files(folder))


def turn_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the shards of a prepared folder that hold turns, in order: pairs, then single ones.

    Raises:
        TableError: It is not a prepared folder.
    """
    return [*config_files(folder, "pairwise"), *config_files(folder, "pointwise")]


def read_shards(files: Sequence[str]) -> pl.DataFrame:
    """Read the columns that features need of some shards, as one table."""
    scanned = scan_parquet(files)
    there = set(scanned.collect_schema().names())
    return scanned.select([name for name in _COLUMNS if name in there]).collect()


def feature_table() -> str:
    """Return the catalogue as a Markdown table, for the documentation."""
    lines = [
        "| column | formula | unit | range | side | channel | after |",
        "|---|---|---|---|---|---|---|",
    ]
    sides = {
        PER_RESPONSE: "`_a`, `_b`",
        "per_pair_symmetric": "symmetric",
        ANTISYMMETRIC: "antisymmetric",
    }
    for f in CATALOGUE:
        formula = f.formula.replace("|", "\\|")
        range_ = f"{f.low:.6g} to {f.high:.6g}".replace("inf", "∞")
        lines.append(
            f"| `{f.name}` | {formula} | {f.unit} | {range_} "
            f"| {sides[f.scope]} | {f.channel} | {f.source} |"
        )
    return "\n".join(lines) + "\n"


_COLUMNS = ("query_id", *ORDER_COLUMNS, "response_a", "response_b", *TICK_COLUMNS)


def turns_as_polars(rows: Any) -> pl.DataFrame:
    """Return the columns that features need of a polars frame, an Arrow table or a `Dataset`.

    Raises:
        DataError: It is none of these.
    """
    import pyarrow as pa

    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if hasattr(rows, "with_format"):  # a datasets.Dataset, whose selection an Arrow view respects
        names = [name for name in _COLUMNS if name in rows.column_names]
        rows = rows.select_columns(names).with_format("arrow")[:]
    if isinstance(rows, pa.Table):
        names = [name for name in _COLUMNS if name in rows.column_names]
        rows = pl.from_arrow(rows.select(names))
    if not isinstance(rows, pl.DataFrame):
        raise DataError(
            f"rows are a {type(rows).__name__}; expected a polars frame, an Arrow table or a "
            "datasets.Dataset with one row per turn."
        )
    return rows


def refuse_doubled(ids: pl.Series) -> None:
    """Refuse turns of which one has several rows.

    Raises:
        DataError: An id comes twice.
    """
    doubled = ids.filter(ids.is_duplicated())
    if len(doubled):
        raise DataError(
            f"query_id {doubled[0]} stands in {int((ids == doubled[0]).sum())} rows; expected one "
            "row per turn. Remove the repeats or check the join that made them"
        )


def _masked(value: FloatArray, channel: ChannelTicks, answers: Answers) -> FloatArray:
    """Blank turns in which the channel was not recorded, and answers that do not exist."""
    of_turn = channel.recorded
    known = of_turn if value.ndim == 1 else of_turn[:, None] & answers.exists
    return np.where(known, value, np.nan)


def _columns(
    features: Sequence[Feature], values: Values, known: BoolArray
) -> dict[str, FloatArray]:
    """Return the columns of features; NaN in turns without ticks."""
    columns: dict[str, FloatArray] = {}
    for feature in features:
        value = values[feature.name]
        parts = (value[:, 0], value[:, 1]) if feature.scope == PER_RESPONSE else (value,)
        for column, part in zip(feature.columns, parts, strict=True):
            columns[column] = np.where(known, part, np.nan)
    return columns
