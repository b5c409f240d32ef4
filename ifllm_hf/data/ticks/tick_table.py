"""The canonical tick table of one conversation: merged files, aligned, with phases.

A tick is one instant at which something was recorded, and here one row: in a release pointer and
gaze share a tick, in collected sessions each event is a tick of its own. `schema.TICKS` has the
columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import TICKS, VIEW_COLUMNS
from ifllm_hf.data.ticks.alignment import ON_NOTHING, SURFACES, Alignment, TurnText, align
from ifllm_hf.data.ticks.merge import Channel, MergedTicks, merge_files, window_array
from ifllm_hf.data.ticks.reading_end import PHASES, Phases, find_phases
from ifllm_hf.data.ticks.turn_agreement import Agreement, agreement_out_of_sample

SIDES = ("none", "a", "b")


@dataclass(frozen=True)
class TurnOnPage:
    """What the tick table needs of a turn.

    Attributes:
        query_id: The turn's key.
        text: Its answers and when they arrived.
    """

    query_id: int
    text: TurnText


@dataclass(frozen=True)
class ConversationTicks:
    """A conversation read to the end.

    Attributes:
        kind: "pairwise" or "pointwise".
        table: The columns of `schema.TICKS`.
        reading_end_source: By query_id, how the end of reading was found; turns without ticks are
            left out.
        agreement: How well the turns fit what was seen, out of sample.
        ledgers: By file name.
    """

    kind: str
    table: pa.Table
    reading_end_source: dict[int, str]
    agreement: Agreement
    ledgers: dict[str, Ledger]


def read_ticks(
    conversation_id: str, files: Mapping[str, bytes], turns: Sequence[TurnOnPage]
) -> ConversationTicks:
    """Read the behaviour files of a conversation into its tick table.

    Args:
        conversation_id: `user_id/task_id`, for the key column and for messages.
        files: Content by file name.
        turns: The conversation's turns in the order in which they were asked; may be empty.

    Raises:
        TableError: The files are not those of a conversation.
    """
    merged = merge_files(files, conversation_id)
    aligned = align(merged, [turn.text for turn in turns])
    phases = find_phases(merged, aligned, len(turns))
    return ConversationTicks(
        kind=merged.kind,
        table=_table(conversation_id, merged, aligned, phases, [t.query_id for t in turns]),
        reading_end_source={
            turn.query_id: source
            for turn, source in zip(turns, phases.source, strict=True)
            if source is not None
        },
        agreement=agreement_out_of_sample(merged, aligned, [t.text.asked_ms for t in turns]),
        ledgers=merged.ledgers,
    )


def _table(
    conversation_id: str,
    merged: MergedTicks,
    aligned: Alignment,
    phases: Phases,
    query_ids: Sequence[int],
) -> pa.Table:
    n = len(merged)
    ids = np.array([*query_ids, -1], dtype=np.int64)  # turn -1 (none) takes the last place
    columns: dict[str, pa.Array] = {
        "conversation_id": pa.repeat(pa.scalar(conversation_id), n),
        "query_id": pa.array(ids[aligned.turn], mask=aligned.turn < 0),
        "message_id": pa.nulls(n, pa.string()),  # of chat pages
        "page_load": pa.array(merged.page_load.astype(np.int16)),
        "file_row": pa.array(merged.file_row.astype(np.int32)),
        "t_ms": pa.array(merged.page_ms),
        "epoch_ms": pa.array(merged.epoch_ms),
        "camera_ok": pa.array(merged.camera == 1, mask=merged.camera < 0),
        "mouse_idle_ms": float_column(_mouse_idle_ms(merged)),
        **{name: pa.nulls(n, TICKS.field(name).type) for name in VIEW_COLUMNS},
        "phase": name_column(phases.phase, PHASES),
    }
    for name, channel in merged.channels.items():
        columns |= _channel_columns(name, channel, aligned)
    mouse, gaze = aligned.surface["mouse"], aligned.surface["gaze"]
    columns["surface"] = name_column(np.where(mouse != ON_NOTHING, mouse, gaze), SURFACES)
    return pa.table([columns[name] for name in TICKS.names], schema=TICKS)


def _channel_columns(name: str, channel: Channel, aligned: Alignment) -> dict[str, pa.Array]:
    char = aligned.char[name]
    columns = {
        f"{name}_x_px": float_column(channel.x_px),
        f"{name}_y_px": float_column(channel.y_px),
        f"{name}_on": name_column(aligned.on[name], SIDES),
        f"{name}_char": pa.array(char, mask=char < 0),
        f"{name}_caret_utf16": pa.array(channel.caret, mask=channel.caret < 0),
        f"{name}_window": window_array(channel).cast(pa.string()),
        f"{name}_surface": name_column(aligned.surface[name], SURFACES),
    }
    for side, (x, y) in channel.rel_px.items():
        columns[f"{name}_rel_x_px_{side}"] = float_column(x)
        columns[f"{name}_rel_y_px_{side}"] = float_column(y)
    return columns


def float_column(values: NDArray[np.float64]) -> pa.Array:
    """Turn numbers into a float32 column; NaN is null."""
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def name_column(codes: NDArray[np.int8], names: Sequence[str]) -> pa.Array:
    """Turn codes into their names; a negative code is null."""
    return pa.array(names).take(pa.array(codes, mask=codes < 0))


def _mouse_idle_ms(merged: MergedTicks) -> NDArray[np.float64]:
    """Return the time since the mouse last moved; NaN before it first does in a page load."""
    mouse, t, n = merged.channels["mouse"], merged.page_ms, len(merged)
    if n == 0:
        return np.empty(0)
    x_before, y_before = (np.concatenate(([np.nan], v[:-1])) for v in (mouse.x_px, mouse.y_px))
    fresh = np.concatenate(([True], np.diff(merged.page_load) != 0))
    here = np.isfinite(mouse.x_px)
    moved = here & (fresh | (mouse.x_px != x_before) | (mouse.y_px != y_before))
    last = np.maximum.accumulate(np.where(moved, np.arange(n), -1))
    start = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    return np.where(last >= start, t - t[np.maximum(last, 0)], np.nan)
