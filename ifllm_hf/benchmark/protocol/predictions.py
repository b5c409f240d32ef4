"""The door for predictions made elsewhere: files in, checked line by line, never repaired.

A file holds one row per tested turn and repeat: `query_id, protocol, repeat, fold, p_b,
config_hash`, as Parquet, CSV or JSON lines. `fold` says which rows were tested together, so a file
whose folds split a worker (protocol `worker`) was trained on its own test readers and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.benchmark.protocol.rows import Labelled
from ifllm_hf.benchmark.protocol.runner import PREDICTION_SCHEMA
from ifllm_hf.benchmark.protocol.splits import GROUP_COLUMN, make_splits
from ifllm_hf.errors import DataError, IFLLMError, OutputError
from ifllm_hf.files import polars_disk_errors, to_parquet, whole_file

_read_lines = partial(pl.read_ndjson, infer_schema_length=None)
_LINES = ("JSON lines", _read_lines, pl.DataFrame.write_ndjson)
_FORMATS: dict[str, tuple[str, Callable[..., pl.DataFrame], Callable[..., Any]]] = {
    ".parquet": ("Parquet", pl.read_parquet, to_parquet),
    ".csv": ("CSV", partial(pl.read_csv, infer_schema=False), pl.DataFrame.write_csv),
    ".jsonl": _LINES,
    ".ndjson": _LINES,
}
"""By ending: its name, how it is read and how it is written."""


class IncompleteError(DataError):
    """A file lacks rows of a set; it may still cover a smaller one."""


def read_predictions(path: Path | str) -> pl.DataFrame:
    """Return the predictions of a file with the columns and types of `PREDICTION_SCHEMA`.

    Columns beyond the schema are ignored. Values are checked, folds are not: see
    `check_predictions`.

    Raises:
        DataError: No such file, a format that is not known, a missing column, a value of the wrong
            type, or a `p_b` outside [0, 1]; the message names the row (from 0).
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; expected predictions as .parquet, .csv or .jsonl")
    kind, read, _ = _format(path, DataError)
    try:
        frame = read(path.read_bytes())  # of a path, polars takes `[1]` for a pattern
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not readable as {kind} ({error})") from error
    return _typed(frame, str(path))


def _format(path: Path, error: type[IFLLMError]) -> Any:
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise error(f"{path}: {ending or 'no'} ending; expected one of {', '.join(_FORMATS)}")
    return _FORMATS[ending]


def _typed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    missing = [c for c in PREDICTION_SCHEMA if c not in frame.columns]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(missing)}; expected {', '.join(PREDICTION_SCHEMA)}"
        )
    if not len(frame):
        raise DataError(f"{name}: no rows; expected one per tested turn and repeat")
    out = frame.select(_cast(frame[c], dtype) for c, dtype in PREDICTION_SCHEMA.items())
    for column, dtype in PREDICTION_SCHEMA.items():
        bad = out[column].is_null()
        if bad.any():
            row = int(bad.arg_true()[0])
            raise DataError(
                f"{name}: {column} has {int(bad.sum())} values that are empty or not "
                f"{dtype}; first at row {row} ({frame[column][row]!r})"
            )
    outside = ~out["p_b"].is_between(0.0, 1.0) | out["p_b"].is_nan()
    if outside.any():
        row = int(outside.arg_true()[0])
        raise DataError(
            f"{name}: p_b has {int(outside.sum())} values outside [0, 1] or NaN; first at row "
            f"{row} (query {out['query_id'][row]}: {out['p_b'][row]}). Write probabilities that "
            "the right answer is preferred"
        )
    return out


def _cast(column: pl.Series, dtype: Any) -> pl.Series:
    """Return a column in another type, null where a value would have to be changed for it."""
    cast = column.cast(dtype, strict=False)
    if column.dtype.is_float() and dtype == pl.Int64:
        cast = cast.set(column != cast, None)
    return cast


def check_predictions(
    frame: pl.DataFrame,
    data: Labelled,
    *,
    known: pl.DataFrame | None = None,
    name: str = "predictions",
) -> pl.DataFrame:
    """Return the rows of a file that a set tests, after holding the file to its protocols.

    Args:
        frame: Predictions as `read_predictions` returns them.
        data: The labelled rows of the set to score.
        known: Turns that may be predicted although they lie outside the set (labelled turns of a
            larger one), with `query_id, conversation_id, user_id`; they are checked for leaks and
            then left out.
        name: The file, for messages.

    Raises:
        DataError: Foreign or doubled ids, a repeat with one fold, one group on both sides of a
            fold, or several configurations in one protocol.
        IncompleteError: Rows of the set have no prediction.
    """
    protocols = frame["protocol"].unique(maintain_order=True).to_list()
    unknown = [p for p in protocols if p not in GROUP_COLUMN]
    if unknown:
        raise DataError(
            f"{name}: protocol {unknown[0]!r}; expected one of {', '.join(GROUP_COLUMN)}"
        )
    turns = data.rows if known is None else known
    foreign = sorted(set(frame["query_id"].to_list()) - set(turns["query_id"].to_list()))
    if foreign:
        raise DataError(
            f"{name}: {len(foreign)} query ids are not labelled turns of the benchmark; the first "
            f"is {foreign[0]}. Predict the ids of the set, and no others"
        )
    keys = ["protocol", "repeat", "query_id"]
    doubled = frame.filter(frame.select(keys).is_duplicated())
    if len(doubled):
        row = doubled.row(0, named=True)
        raise DataError(
            f"{name}: query {row['query_id']} is predicted more than once in repeat "
            f"{row['repeat']} of the protocol {row['protocol']!r}; expected one row each"
        )
    parts = []
    for protocol in protocols:
        part = frame.filter(pl.col("protocol") == protocol)
        configs = part["config_hash"].unique().sort().to_list()
        if len(configs) > 1:
            raise DataError(
                f"{name}: {len(configs)} configurations under the protocol {protocol!r} "
                f"({', '.join(configs[:3])}); write one file per configuration"
            )
        _check_folds(part, turns, protocol, name)
        parts.append(_complete(part, data, protocol, name))
    return pl.concat(parts)


def _check_folds(part: pl.DataFrame, turns: pl.DataFrame, protocol: str, name: str) -> None:
    for (repeat,), rows in part.group_by("repeat", maintain_order=True):
        if protocol != "future" and rows["fold"].n_unique() < 2:
            raise DataError(
                f"{name}: repeat {repeat} of the protocol {protocol!r} has a single fold, so no "
                "row was left to train on; number the folds that were tested together"
            )
    column = GROUP_COLUMN[protocol]
    if column == "query_id":
        return
    split = (
        part.join(turns.select("query_id", column), on="query_id", how="inner")
        .group_by("repeat", column)
        .agg(pl.col("fold").n_unique().alias("folds"), pl.col("query_id").min())
        .filter(pl.col("folds") > 1)
        .sort("repeat", column)
    )
    if len(split):
        row = split.row(0, named=True)
        raise DataError(
            f"{name}: protocol {protocol!r}, repeat {row['repeat']}: the rows of {row[column]} "
            f"(for example query {row['query_id']}) lie in {row['folds']} folds, so their own "
            f"{column} was trained on ({len(split)} such cases). Keep each {column} in one fold, "
            "or declare the protocol that was used"
        )


def _complete(part: pl.DataFrame, data: Labelled, protocol: str, name: str) -> pl.DataFrame:
    expected = set(data.rows["query_id"].to_list())
    if protocol == "future":
        tested = [split.test for split in make_splits(data.rows, "future")]
        expected = {int(data.rows["query_id"][int(i)]) for test in tested for i in test}
    for (repeat,), rows in part.group_by("repeat", maintain_order=True):
        absent = sorted(expected - set(rows["query_id"].to_list()))
        if absent:
            raise IncompleteError(
                f"{name}: repeat {repeat} of the protocol {protocol!r} has no prediction for "
                f"{len(absent)} of {len(expected)} rows; the first is query {absent[0]}. Every "
                "tested row needs one: predict 0.5 where the model cannot tell"
            )
    return part.filter(pl.col("query_id").is_in(list(expected)))


def write_predictions(frame: pl.DataFrame, path: Path | str) -> None:
    """Write predictions in the format of the ending, whole or not at all.

    Raises:
        DataError: Columns or values that `read_predictions` would refuse.
        OutputError: Unknown ending, or the file cannot be written.
    """
    path = Path(path)
    typed = _typed(frame, str(path))
    _, _, write = _format(path, OutputError)
    with whole_file(path) as aside, polars_disk_errors():
        write(typed, aside)
