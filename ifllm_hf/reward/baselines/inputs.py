"""From rows to the arrays that behaviour models learn from, and the folds they choose by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ifllm_hf.errors import DataError
from ifllm_hf.metrics.weighted import FloatArray

MODERATORS = ("log_turn", "log_prompt_chars", "log_reading_s", "log_answer_chars")
"""What may change how much behaviour and length tell; the same for both sides."""


CHARS = {
    "response_a": "response_chars_a",
    "response_b": "response_chars_b",
    "prompt": "prompt_chars",
}
"""Text -> the column that says how long it is, in code points, where the text is left out."""


def chars(text: str) -> pl.Expr:
    """Return the column of `CHARS` from the text itself."""
    return pl.col(text).str.len_chars().alias(CHARS[text])


def _chars_of(rows: pl.DataFrame, text: str) -> pl.Series:
    known = pl.col(CHARS[text]) if CHARS[text] in rows.columns else chars(text)
    return rows.select(known.cast(pl.Float64)).to_series()


def lengths(rows: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return the characters (code points) of the left and the right answer, each shape (n,)."""
    a, b = (_chars_of(rows, text).fill_null(0.0) for text in ("response_a", "response_b"))
    return a.to_numpy(), b.to_numpy()


def length_log_ratio(rows: pl.DataFrame) -> FloatArray:
    """Return ln((1 + characters of b) / (1 + characters of a)), shape (n,)."""
    a, b = lengths(rows)
    return np.log1p(b) - np.log1p(a)


def feature_matrix(rows: pl.DataFrame, names: Sequence[str]) -> FloatArray:
    """Return the named columns, shape (n, k); missing values (NaN, null) stay NaN.

    Raises:
        DataError: A column does not exist.
    """
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise DataError(
            f"the rows have no column {', '.join(missing[:3])}; join the output of "
            "`ifllm_hf.behavior.features.table.behavior_features` by query_id"
        )
    if not names:
        return np.empty((len(rows), 0))
    frame = rows.select(pl.col(name).cast(pl.Float64).fill_null(np.nan) for name in names)
    return frame.to_numpy(writable=True)  # callers transform columns in place


def evidence(rows: pl.DataFrame, names: Sequence[str]) -> FloatArray:
    """Return antisymmetric columns with 0 where behaviour is missing: it then says nothing."""
    return np.nan_to_num(feature_matrix(rows, names))


def moderators(rows: pl.DataFrame) -> FloatArray:
    """Return `MODERATORS`, shape (n, 4), NaN where unknown."""
    a, b = lengths(rows)
    other = feature_matrix(rows, ["turn", "reading_ms"])
    prompt = _chars_of(rows, "prompt").fill_null(np.nan).to_numpy()
    return np.column_stack(
        [np.log(other[:, 0]), np.log1p(prompt), np.log(other[:, 1] / 1000 + 1), np.log(a + b + 10)]
    )


def mean_and_spread(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of every column over what is known of it, each (k,).

    The deviation of a constant column is 1, so that one can divide by it.
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / count
    off = np.where(known, values - centre, 0.0)
    spread = np.sqrt((off * off).sum(axis=0) / count)
    return centre, np.where(spread > 0, spread, 1.0)


def inner_splits(
    groups: np.ndarray, folds: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Deal whole groups into folds for a choice inside training rows, the same ones every time.

    Args:
        groups: Group of every row, shape (n,).
        folds: How many, at most one for each group.

    Yields:
        Per fold, which rows to fit on and which to choose by, each (n,); none for one group.
    """
    names, member = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))
    fold = (order % min(folds, len(names)))[member]
    for k in range(fold.max() + 1):
        if (fold != k).any():
            yield fold != k, fold == k
