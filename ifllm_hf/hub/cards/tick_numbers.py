"""The numbers of the card that come from ticks; one shard in memory at a time, columns as needed.

Distributions are kept as exact counts over a fine grid (0.1 ms, 1 px), so memory does not grow with
the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ifllm_hf.data.schema import ENUMERATIONS

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

_PHASES = (*ENUMERATIONS["phase"], "before")
INTERVAL_STEPS_PER_MS = 10
_LONGEST_MS = 60_000  # longer gaps share the last cell
_FARTHEST_PX = 10_000
_GAP_MS = 1000.0
# WebGazer goes on learning from where the cursor was in the last second.
MOVED_MS, IDLE_MS = 300.0, 1500.0

_COLUMNS = (
    *("query_id", "page_load", "t_ms", "file_row", "phase", "camera_ok"),
    *("gaze_x_px", "gaze_y_px", "mouse_x_px", "mouse_y_px", "mouse_idle_ms", "mouse_surface"),
)


@dataclass
class TickNumbers:
    """Counts over all ticks.

    Attributes:
        ticks: All ticks.
        conversations: Conversations that have ticks.
        phases: Ticks by phase; "before" are those before the first question.
        intervals: Number of intervals between neighbouring ticks of a page load, by 0.1 ms.
        median_intervals_ms: One per conversation with at least two ticks.
        gaps: Intervals of more than a second.
        reloads: Conversations with more than one page load.
        reordered: Conversations whose files do not hold the ticks in the order of time.
        camera: Ticks whose `camera_ok` is true, false, null.
        distances: By "moved" and "idle": number of ticks by distance of gaze and mouse in px.
        pointer: Per question: `query_id`, `phase`, and the last place of the mouse off the answers
            as a share of the way from its leftmost to its rightmost place in the conversation.
    """

    ticks: int = 0
    conversations: int = 0
    phases: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0))
    intervals: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_LONGEST_MS * INTERVAL_STEPS_PER_MS + 1, np.int64)
    )
    median_intervals_ms: list[float] = field(default_factory=list)
    gaps: int = 0
    reloads: int = 0
    reordered: int = 0
    camera: dict[str, int] = field(default_factory=lambda: {"true": 0, "false": 0, "null": 0})
    distances: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {k: np.zeros(_FARTHEST_PX + 1, np.int64) for k in ("moved", "idle")}
    )
    pointer: list[pl.DataFrame] = field(default_factory=list)

    def interval_percentile(self, percent: float) -> float | None:
        """Return the interval in ms below which `percent` of all intervals lie."""
        at = count_percentile(self.intervals, percent)
        return None if at is None else at / INTERVAL_STEPS_PER_MS

    def median_distance_px(self, which: str) -> int | None:
        """Return the median distance of gaze and mouse; `which` is "moved" or "idle"."""
        return count_percentile(self.distances[which], 50)


def count_percentile(counts: NDArray[np.int64], percent: float) -> int | None:
    """Return the smallest cell at or below which `percent` of all counts lie; None without any."""
    total = int(counts.sum())
    if not total:
        return None
    return int(np.searchsorted(np.cumsum(counts), percent / 100 * total))


def read_ticks_of(file: Path, columns: Sequence[str], scalars: Sequence[str] = ()) -> pa.Table:
    """Read the named columns of a shard; text in lists comes as dictionaries, which is fast."""
    as_codes = [f"{name}.list.element" for name in columns if name in ENUMERATIONS]
    shard = pq.ParquetFile(file, read_dictionary=as_codes)
    return shard.read(columns=[*scalars, *columns]).combine_chunks()


def flattened(
    table: pa.Table, columns: Sequence[str]
) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.int64]]:
    """Return list columns as one array each, their lengths, and the row of every value."""
    lists = {name: table[name].chunk(0) for name in columns}
    lengths = lists["t_ms"].value_lengths().to_numpy()
    flat = {name: values.flatten() for name, values in lists.items()}
    return flat, lengths, np.repeat(np.arange(len(lengths)), lengths)


def codes(values: pa.DictionaryArray, names: Sequence[str]) -> NDArray[np.int8]:
    """Return the index in `names` of every value, -1 for null or another value."""
    place = pc.index_in(values.dictionary, value_set=pa.array(names))
    of_code = np.append(pc.fill_null(place, -1).to_numpy().astype(np.int8), np.int8(-1))
    at = pc.fill_null(values.indices, len(of_code) - 1).to_numpy()
    return np.asarray(of_code[at], dtype=np.int8)


def count_ticks(files: Sequence[Path]) -> TickNumbers:
    """Count over the shards of the `ticks` config."""
    numbers = TickNumbers()
    for file in files:
        table = read_ticks_of(file, _COLUMNS)
        if table.num_rows:
            _count_shard(table, numbers)
    return numbers


def _count_shard(table: pa.Table, numbers: TickNumbers) -> None:
    flat, lengths, conversation = flattened(table, _COLUMNS)
    numbers.ticks += len(conversation)
    numbers.conversations += int((lengths > 0).sum())
    if not len(conversation):
        return
    phase = codes(flat["phase"], ENUMERATIONS["phase"])
    for code, name in zip((0, 1, 2, -1), _PHASES, strict=True):
        numbers.phases[name] += int((phase == code).sum())
    camera = flat["camera_ok"]
    seen = int(pc.sum(camera).as_py() or 0)
    numbers.camera["true"] += seen
    numbers.camera["null"] += camera.null_count
    numbers.camera["false"] += len(camera) - camera.null_count - seen
    _count_intervals(flat, conversation, numbers)
    x = _floats(flat["mouse_x_px"])
    _count_distances(flat, x, numbers)
    _add_pointer(flat, x, phase, conversation, numbers)


def _count_intervals(
    flat: dict[str, Any], conversation: NDArray[np.int64], numbers: TickNumbers
) -> None:
    load, t = flat["page_load"].to_numpy(), flat["t_ms"].to_numpy()
    row = flat["file_row"].to_numpy()
    same = conversation[1:] == conversation[:-1]
    steps = np.diff(t)
    here = np.flatnonzero(same & (load[1:] == load[:-1]) & (steps > 0))
    steps = steps[here]
    cells = np.rint(steps * INTERVAL_STEPS_PER_MS).astype(np.int64)
    top = len(numbers.intervals) - 1
    numbers.intervals += np.bincount(np.minimum(cells, top), minlength=top + 1)
    numbers.gaps += int((steps > _GAP_MS).sum())
    numbers.reloads += len(np.unique(conversation[load > 0]))
    numbers.reordered += len(np.unique(conversation[1:][same & (np.diff(row) < 0)]))
    cuts = np.flatnonzero(np.diff(conversation[here])) + 1
    numbers.median_intervals_ms += [
        float(np.partition(part, len(part) // 2)[len(part) // 2])
        for part in np.split(steps, cuts)
        if len(part)
    ]


def _count_distances(flat: dict[str, Any], x: NDArray[Any], numbers: TickNumbers) -> None:
    idle = _floats(flat["mouse_idle_ms"])
    with np.errstate(invalid="ignore"):
        chosen = {"moved": idle <= MOVED_MS, "idle": idle > IDLE_MS}
    dx = _floats(flat["gaze_x_px"]) - x
    dy = _floats(flat["gaze_y_px"]) - _floats(flat["mouse_y_px"])
    distance = np.sqrt(dx * dx + dy * dy)
    known = np.isfinite(distance)
    for name, rows in chosen.items():
        cells = np.rint(distance[rows & known]).astype(np.int64)
        numbers.distances[name] += np.bincount(
            np.minimum(cells, _FARTHEST_PX), minlength=_FARTHEST_PX + 1
        )


def _add_pointer(
    flat: dict[str, Any],
    x: NDArray[Any],
    phase: NDArray[np.int8],
    conversation: NDArray[np.int64],
    numbers: TickNumbers,
) -> None:
    """Note where the mouse was last off the answers, per question and phase."""
    surface = codes(flat["mouse_surface"], ENUMERATIONS["mouse_surface"])
    starts = np.flatnonzero(np.append(True, np.diff(conversation) != 0))
    low = np.minimum.reduceat(np.where(np.isfinite(x), x, np.inf), starts)
    high = np.maximum.reduceat(np.where(np.isfinite(x), x, -np.inf), starts)
    which = np.cumsum(np.append(0, np.diff(conversation) != 0))
    on_answer = ENUMERATIONS["mouse_surface"].index("response")
    use = np.isfinite(x) & (surface != on_answer) & (phase >= 0) & (high > low)[which]
    place = (x[use] - low[which[use]]) / (high - low)[which[use]]
    query_id, phase = pc.fill_null(flat["query_id"], -1).to_numpy()[use], phase[use]
    # A phase of a question is one run of ticks, or a few after a reload; the last one counts.
    last = np.append((np.diff(query_id) != 0) | (np.diff(phase) != 0), True)[: len(place)]
    numbers.pointer.append(
        pl.DataFrame({"query_id": query_id[last], "phase": phase[last], "place": place[last]})
    )


def _floats(values: pa.Array) -> NDArray[Any]:
    return np.asarray(values.to_numpy(zero_copy_only=False))
