"""The ticks of a whole dataset as flat numpy arrays, through Arrow, in a fraction of a second.

`ds.with_format("numpy")` makes one array per row and an object array of every string. Ticks of all
rows at once are better read as one array per column with offsets, and enumerations as codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ifllm_hf.data.schema import CONVERSATION_TICK_COLUMNS, ENUMERATIONS, TICKS
from ifllm_hf.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TickArrays:
    """Flat tick columns of n rows (turns or conversations) with m ticks in all.

    Attributes:
        offsets: [n + 1] int64; the ticks of row i are `offsets[i]:offsets[i + 1]`.
        columns: By name, [m]. Floats have NaN for null. Integers and booleans (as int8) have -1 for
            null. Enumerations are int8 codes into `categories`, -1 for null. `*_window` columns
            are object arrays of str or None.
        categories: By name, the values the codes of an enumeration stand for.
    """

    offsets: np.ndarray[Any, np.dtype[np.int64]]
    columns: dict[str, np.ndarray[Any, Any]]
    categories: dict[str, tuple[str, ...]]

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """Return the flat column `name`."""
        return self.columns[name]

    def row(self, i: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return views of the ticks of row `i`, by column."""
        start, stop = self.offsets[i], self.offsets[i + 1]
        return {name: values[start:stop] for name, values in self.columns.items()}


def ticks_to_numpy(dataset: Dataset, columns: Sequence[str] | None = None) -> TickArrays:
    """Read the ticks of all rows of `pairwise`, `pointwise` or `ticks` as flat numpy arrays.

    Args:
        dataset: A `Dataset` of one of these configs; any selection, filter or format.
        columns: Tick columns to read; default all that the dataset has, but `*_window` only if
            named (text costs more than all the rest).

    Returns:
        The arrays.

    Raises:
        DataError: A named column is not a tick column of the dataset, or an enumeration holds an
            unknown value.
    """
    # `query_id` is one per row in `pairwise`, one per tick in `ticks`: only lists are tick columns.
    stored = dataset.features.arrow_schema
    there = [
        name
        for name in CONVERSATION_TICK_COLUMNS
        if name in stored.names and pa.types.is_list(stored.field(name).type)
    ]
    if columns is None:
        columns = [name for name in there if not name.endswith("_window")]
    wrong = [name for name in columns if name not in there]
    if wrong or not columns:
        raise DataError(
            f"columns {wrong or list(columns)} are no tick columns of this dataset. "
            f"Expected some of: {', '.join(there) or 'none, it has no ticks'}."
        )
    table = dataset.select_columns(list(columns)).with_format("arrow")[:]
    lists = {name: table[name].combine_chunks() for name in columns}
    lengths = pc.list_value_length(lists[columns[0]]).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    flat = {name: _to_numpy(name, values.flatten()) for name, values in lists.items()}
    categories = {name: ENUMERATIONS[name] for name in columns if name in ENUMERATIONS}
    return TickArrays(offsets, flat, categories)


def _to_numpy(name: str, values: pa.Array) -> np.ndarray[Any, Any]:
    if name in ENUMERATIONS:
        codes = pc.index_in(values, value_set=pa.array(ENUMERATIONS[name]))
        unknown = codes.null_count - values.null_count
        if unknown:
            raise DataError(
                f"column '{name}' holds {unknown} values that are none of "
                f"{', '.join(ENUMERATIONS[name])}. Prepare the data again."
            )
        return np.asarray(pc.fill_null(codes.cast(pa.int8()), -1))
    kind = TICKS.field(name).type
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    if values.null_count and pa.types.is_integer(values.type):
        values = pc.fill_null(values, -1)
    return np.asarray(values.to_numpy(zero_copy_only=False))
