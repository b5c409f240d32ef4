"""Turns ticks into list columns and writes them shard by shard, so that memory stays at one chunk.

A shard is one Parquet file with one row group. Conversations are gathered until their ticks reach
the size of a shard; then the rows of `ticks`, `pairwise` and `pointwise` are built from the
contiguous arrays (no Python lists anywhere) and written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ifllm_hf.data.schema import (
    CONVERSATION_TICK_COLUMNS,
    TABLE_SCHEMAS,
    TICKS,
    TURN_TICK_COLUMNS,
    TURNS,
)
from ifllm_hf.errors import TableError
from ifllm_hf.files import write_arrow

if TYPE_CHECKING:
    from ifllm_hf.data.recordings import ConversationRows

SHARD_BYTES = 64 * 2**20
"""Ticks of one shard, uncompressed in memory; the Hub's viewer wants row groups below 100 MB."""

# Rows of one shard where no ticks bound it; a turn with its history is about 10 kB of text.
_TURNS_WITHOUT_TICKS = 2000

_JOINED = 64  # conversations
_SMALL_BYTES = 100_000
_ROWS_OF_A_TABLE = 1000
_NO_TICKS = TICKS.empty_table()


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return `table` with exactly the columns, order and types of `schema`.

    Raises:
        TableError: A column is missing, unknown, or holds values that do not fit its type.
    """
    if table.schema.equals(schema):
        return table
    missing = [column for column in schema.names if column not in table.column_names]
    unknown = [column for column in table.column_names if column not in schema.names]
    if missing or unknown:
        raise TableError(
            f"{name}: columns missing: {missing or 'none'}, not expected: {unknown or 'none'}. "
            "Expected are the columns of ifllm_hf.data.schema, no more and no fewer."
        )
    columns = []
    for want in schema:
        column = table.column(want.name)
        try:
            columns.append(column.cast(want.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(
                f"{name}: column '{want.name}' is {column.type} and does not fit {want.type}: "
                f"{error}"
            ) from error
    return pa.table(columns, schema=schema)


class ShardWriter:
    """Writes the shards of one config; their names are final once `close` knows how many."""

    def __init__(self, folder: Path, config: str) -> None:
        """Create the config's directory under `folder`."""
        self.directory = folder / config
        self.directory.mkdir()
        self.rows = 0
        self._schema = TABLE_SCHEMAS[config]
        self._paths: list[Path] = []
        encodings, dictionaries = _encodings(self._schema)
        self._encodings = encodings
        self._dictionaries = dictionaries

    def write(self, table: pa.Table) -> None:
        """Write one shard."""
        path = self.directory / f"train-{len(self._paths):05d}.parquet"
        self._paths.append(path)
        write_arrow(
            table,
            path,
            row_group_size=max(1, table.num_rows),
            use_dictionary=self._dictionaries,
            column_encoding=self._encodings,
            write_statistics=[f.name for f in self._schema if not pa.types.is_nested(f.type)],
            # Repetition levels are made batch by batch; the default of 1024 costs a tenth more.
            write_batch_size=65536,
        )
        self.rows += table.num_rows

    def close(self) -> int:
        """Give the shards their final names and return the number of rows.

        A config without rows gets one empty shard: a missing file would make it unloadable.
        """
        if not self._paths:
            self.write(self._schema.empty_table())
        for i, path in enumerate(self._paths):
            path.rename(path.with_name(f"train-{i:05d}-of-{len(self._paths):05d}.parquet"))
        return self.rows


def _encodings(schema: pa.Schema) -> tuple[dict[str, str], list[str]]:
    """Return the encoding per Parquet column path, and the paths that get a dictionary.

    Measured on real trajectories: floats split into byte planes are 40 % smaller and twice as fast
    to write as with a dictionary; counters and epochs shrink most as differences; text repeats.
    """
    encodings: dict[str, str] = {}
    dictionaries: list[str] = []

    def visit(path: str, kind: pa.DataType) -> None:
        if pa.types.is_list(kind):
            visit(f"{path}.list.element", kind.value_type)
        elif pa.types.is_struct(kind):
            for child in kind:
                visit(f"{path}.{child.name}", child.type)
        elif pa.types.is_floating(kind):
            encodings[path] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_int32(kind) or pa.types.is_int64(kind):
            encodings[path] = "DELTA_BINARY_PACKED"
        elif pa.types.is_string(kind):
            dictionaries.append(path)

    for column in schema:
        visit(column.name, column.type)
    return encodings, dictionaries


def write_table(writer: ShardWriter, table: pa.Table, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a whole table in shards of about `shard_bytes`."""
    if table.num_rows == 0:
        return
    step = max(1, int(table.num_rows * min(1.0, shard_bytes / max(1, table.nbytes))))
    for start in range(0, table.num_rows, step):
        writer.write(table.slice(start, step))


def write_parts(
    writer: ShardWriter, parts: Iterable[pa.Table], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a table that comes in parts; memory holds one shard of about `shard_bytes`."""
    waiting: list[pa.Table] = []
    size = 0
    for part in parts:
        if waiting and size + part.nbytes > shard_bytes:
            write_table(writer, pa.concat_tables(waiting), shard_bytes)
            waiting, size = [], 0
        waiting.append(part)
        size += part.nbytes
    if waiting:
        write_table(writer, pa.concat_tables(waiting), shard_bytes)


class RowWriter:
    """Writes rows that come a few at a time, in shards of about `shard_bytes`."""

    def __init__(self, writer: ShardWriter, schema: pa.Schema, shard_bytes: int) -> None:
        """Write rows of `schema` with `writer`."""
        self._writer = writer
        self._schema = schema
        self._shard_bytes = shard_bytes
        self._rows: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._size = 0

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take some rows."""
        self._rows += rows
        if len(self._rows) >= _ROWS_OF_A_TABLE:
            self._join()
            if self._size > self._shard_bytes:
                self.flush()

    def flush(self) -> None:
        """Write what is left."""
        self._join()
        if self._tables:
            write_table(self._writer, pa.concat_tables(self._tables), self._shard_bytes)
        self._tables, self._size = [], 0

    def _join(self) -> None:
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._size += self._tables[-1].nbytes
        self._rows = []


class TickRows:
    """Builds the rows of `pairwise`, `pointwise` and `ticks` from conversations as they come.

    Rows of `pairwise` and `pointwise` keep the order in which conversations come and, inside one,
    the order of `turns`; turns of conversations that never come follow at the end. A turn without
    ticks has empty lists, never null. A conversation without ticks has no row in `ticks`.
    """

    def __init__(
        self, folder: Path, turns: pa.Table | None, shard_bytes: int = SHARD_BYTES
    ) -> None:
        """Open the three configs under `folder`.

        Args:
            folder: An existing directory.
            turns: The columns of `schema.TURNS`, in their final order; None: each conversation
                brings its own.
            shard_bytes: Size at which the gathered ticks are written.
        """
        whole = TURNS.empty_table() if turns is None else turns
        self._turns = conform(whole, TURNS, "turns").combine_chunks()
        self._writers = {c: ShardWriter(folder, c) for c in ("pairwise", "pointwise", "ticks")}
        self._shard_bytes = shard_bytes
        self._pending: list[ConversationRows] = []
        self._gathered = _Gathered()
        self._rows_of: dict[str, list[int]] = {}
        for row, conversation in enumerate(self._turns["conversation_id"].to_pylist()):
            self._rows_of.setdefault(conversation, []).append(row)
        self._seen: set[str] = set()

    def add(self, conversation: ConversationRows) -> None:
        """Take one conversation; writes a shard when enough ticks have gathered.

        Raises:
            TableError: The conversation came before, its ticks do not have the expected columns,
                or a tick names a turn that is not one of the conversation's.
        """
        name = conversation.conversation_id
        if name in self._seen:
            raise TableError(f"ticks: conversation {name} came twice; expected once.")
        self._seen.add(name)
        full = self._gathered.size + conversation.ticks.nbytes > self._shard_bytes
        if self._pending and (full or self._gathered.turns_size > self._shard_bytes):
            self._flush()
        self._gathered.add(conversation)
        # Which conversation it was; its rows lie with those of the others.
        self._pending.append(_without_rows(conversation))

    def close(self) -> dict[str, int]:
        """Write what is left and return the number of rows per config."""
        left = sorted(
            row for name, rows in self._rows_of.items() if name not in self._seen for row in rows
        )
        self._flush(left[:_TURNS_WITHOUT_TICKS])
        for start in range(_TURNS_WITHOUT_TICKS, len(left), _TURNS_WITHOUT_TICKS):
            rows = np.array(left[start : start + _TURNS_WITHOUT_TICKS], dtype=np.int64)
            self._write_turns(_NO_TICKS, self._turns.take(pa.array(rows)), {})
        return {config: writer.close() for config, writer in self._writers.items()}

    def _flush(self, more_rows: Sequence[int] = ()) -> None:
        """Write the conversations that wait, and the turns at `more_rows`, which have no ticks."""
        pending, self._pending = self._pending, []
        gathered, self._gathered = self._gathered, _Gathered()
        ticks, own_turns = gathered.tables()
        self._write_conversations(pending, gathered.lengths, ticks)
        rows = [row for c in pending for row in self._rows_of.get(c.conversation_id, ())]
        rows.extend(more_rows)
        of_table = self._turns.take(pa.array(rows, pa.int64()))
        turns = pa.concat_tables([of_table, own_turns]).combine_chunks()
        sources = {q: s for c in pending for q, s in c.reading_end_source.items()}
        self._write_turns(ticks, turns, sources)

    def _write_conversations(
        self, pending: list[ConversationRows], lengths: list[int], ticks: pa.Table
    ) -> None:
        kept = [c for c, n in zip(pending, lengths, strict=True) if n]
        if not kept:
            return
        offsets = np.cumsum([0, *(n for n in lengths if n)])
        columns = {
            "conversation_id": pa.array([c.conversation_id for c in kept], pa.string()),
            "user_id": pa.array([c.user_id for c in kept], pa.string()),
            "task_id": pa.array([c.task_id for c in kept], pa.int64()),
            "kind": pa.array([c.kind for c in kept], pa.string()),
            "fold": pa.array([c.fold for c in kept], pa.int8()),
            **_as_lists(ticks, offsets, CONVERSATION_TICK_COLUMNS),
        }
        self._writers["ticks"].write(pa.table(columns))

    def _write_turns(self, ticks: pa.Table, turns: pa.Table, sources: Mapping[int, str]) -> None:
        """Write turns with their ticks."""
        query_ids = turns["query_id"].to_numpy()
        place = _places(ticks["query_id"], query_ids)
        for kind in ("pairwise", "pointwise"):
            chosen = np.flatnonzero(pc.equal(turns["kind"], kind).to_numpy())
            if len(chosen):
                self._write_kind(kind, turns, ticks, place, chosen, sources)

    def _write_kind(
        self,
        kind: str,
        turns: pa.Table,
        ticks: pa.Table,
        place: np.ndarray,
        chosen: np.ndarray,
        sources: Mapping[int, str],
    ) -> None:
        rank = np.full(turns.num_rows + 1, -1, dtype=np.int64)  # the last entry: no turn
        rank[chosen] = np.arange(len(chosen))
        owner = rank[place]
        mine = np.flatnonzero(owner >= 0)
        if np.any(np.diff(owner[mine]) < 0):
            # A turn goes on after a reload, or the clock of the file runs back: gather it.
            mine = mine[np.argsort(owner[mine], kind="stable")]
        counts = np.bincount(owner[mine], minlength=len(chosen))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        out = turns.take(pa.array(chosen))
        source = [
            sources.get(query_id) if n else None
            for query_id, n in zip(out["query_id"].to_pylist(), counts, strict=True)
        ]
        own = ticks.select(TURN_TICK_COLUMNS).take(pa.array(mine))
        columns = {name: out[name] for name in TURNS.names}
        columns["reading_end_source"] = pa.array(source, pa.string())
        columns.update(_as_lists(own, offsets, TURN_TICK_COLUMNS))
        self._writers[kind].write(pa.table(columns))


def _without_rows(conversation: ConversationRows) -> ConversationRows:
    nothing: dict[str, Any] = dict.fromkeys(("turns", "tasks", "messages", "actions"), ())
    return replace(conversation, ticks=_NO_TICKS, **nothing)


class _Gathered:
    """The ticks and turns of the conversations that wait for their shard.

    A table of one short conversation takes twice its bytes in descriptions of 40 columns, so small
    ones are joined as they come.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.size = 0
        self.turns_size = 0
        self._ticks: list[pa.Table] = []
        self._turns: list[pa.Table] = []
        self._small: list[pa.Table] = []
        self._small_turns: list[Mapping[str, Any]] = []

    def add(self, conversation: ConversationRows) -> None:
        ticks = conform(conversation.ticks, TICKS, f"ticks of {conversation.conversation_id}")
        self.lengths.append(ticks.num_rows)
        self.size += conversation.ticks.nbytes
        self._small.append(ticks)
        self._small_turns += conversation.turns
        if len(self._small) == _JOINED:
            self._join()

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Return all ticks, and all turns that came with them."""
        self._join()
        ticks = pa.concat_tables([_NO_TICKS, *self._ticks]).combine_chunks()
        turns = pa.concat_tables([TURNS.empty_table(), *self._turns])
        self._ticks, self._turns = [], []
        return ticks, turns

    def _join(self) -> None:
        if self._small:
            joined = pa.concat_tables(self._small)
            few = joined.nbytes < _JOINED * _SMALL_BYTES
            self._ticks.append(joined.combine_chunks() if few else joined)
        if self._small_turns:
            turns = pa.Table.from_pylist(self._small_turns, schema=TURNS)
            self.turns_size += turns.nbytes
            self._turns.append(turns)
        self._small, self._small_turns = [], []


def _places(query_ids: pa.ChunkedArray, turn_ids: np.ndarray) -> np.ndarray:
    """Return for every tick the position of its turn in `turn_ids`; its length if none."""
    none = len(turn_ids)
    place = np.full(len(query_ids), none, dtype=np.int64)
    present = np.flatnonzero(pc.is_valid(query_ids).to_numpy())
    ids = pc.drop_null(query_ids).to_numpy()
    order = np.argsort(turn_ids, kind="stable")
    at = np.searchsorted(turn_ids, ids, sorter=order) if none else np.zeros(len(ids), np.int64)
    known = at < none
    known[known] = turn_ids[order[at[known]]] == ids[known]
    if not known.all():
        raise TableError(
            f"ticks: query_id {ids[~known][0]} belongs to no turn of the conversations it came "
            "with. Expected is a query_id of `turns`, or null."
        )
    place[present] = order[at]
    return place


def _as_lists(
    ticks: pa.Table, offsets: np.ndarray, names: tuple[str, ...]
) -> dict[str, pa.ListArray]:
    """Cut every column at `offsets` ([n + 1] positions) into a column of n lists."""
    cuts = pa.array(offsets, pa.int32())
    of = {n: ticks[n] for n in names}  # `combine_chunks` would copy what is in one piece already
    whole = {n: c.chunk(0) if c.num_chunks == 1 else c.combine_chunks() for n, c in of.items()}
    return {n: pa.ListArray.from_arrays(cuts, whole[n]) for n in names}
