"""Merge the files of a conversation into one row per tick.

One listener tick wrote one line to each of the conversation's files, so row i of every file is the
same instant; where a file lacks lines, rows are joined on the page clock. A reload restarts that
clock and opens a new page load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.grammar import parse_abs, parse_rel
from ifllm_hf.data.raw.records import AbsRecords, RelRecords
from ifllm_hf.data.ticks.repeats import rows_once, without_repeats
from ifllm_hf.errors import TableError

PAIRWISE_FILES = {
    ("gaze", "a"): "rel_gaze_one.csv",
    ("gaze", "b"): "rel_gaze_two.csv",
    ("mouse", "a"): "rel_mouse_left.csv",
    ("mouse", "b"): "rel_mouse_right.csv",
}
POINTWISE_FILES = {("gaze", "a"): "rel_gaze.csv", ("mouse", "a"): "rel_mouse.csv"}
ABS_FILES = {"gaze": "abs_gaze.csv", "mouse": "abs_mouse.csv"}

_RELOAD_MS = 1000.0  # the page clock never runs back by more inside a page load
_CLOCK_SLACK_MS = 50.0  # page clock and epoch are read a moment apart
NONE, SIDE_A, SIDE_B = 0, 1, 2
ABSENT_ROW = "tick has no row in this file"


@dataclass
class Channel:
    """Gaze or mouse of a conversation, arrays `[n]` over its ticks.

    Attributes:
        x_px: Viewport position, NaN where nothing was recorded.
        y_px: Same, from the top.
        rel_px: Per side "a"/"b": x and y inside that answer's element, NaN outside it.
        side: 1 (a), 2 (b) or 0: the answer's element that holds the point.
        caret: UTF-16 offset in the text node hit, -1 where there was none.
        window: Index into `windows`, -1 where no text was recorded.
        windows: The distinct window texts.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    rel_px: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    side: NDArray[np.int8]
    caret: NDArray[np.int32]
    window: NDArray[np.int64]
    windows: list[str]


@dataclass
class MergedTicks:
    """One row per tick of a conversation, in order of page load and page clock; arrays `[n]`.

    Attributes:
        kind: "pairwise" or "pointwise".
        file_row: Row of the tick in the conversation's files.
        page_load: 0 for the first page load, 1 after a reload, and so on.
        page_ms: Page clock, hidden time taken out.
        epoch_ms: Milliseconds since 1970.
        camera: 1 face seen, 0 not, -1 not recorded.
        channels: "gaze" and "mouse".
        ledgers: One per file, by file name.
    """

    kind: str
    file_row: NDArray[np.int64]
    page_load: NDArray[np.int64]
    page_ms: NDArray[np.float64]
    epoch_ms: NDArray[np.int64]
    camera: NDArray[np.int8]
    channels: dict[str, Channel]
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.page_ms)


def merge_files(files: Mapping[str, bytes], name: str) -> MergedTicks:
    """Read the files of one conversation and merge them.

    Args:
        files: Content by file name.
        name: The conversation, for messages.

    Raises:
        TableError: A file is missing or is not a behaviour file.
    """
    rel_files = PAIRWISE_FILES if PAIRWISE_FILES["gaze", "a"] in files else POINTWISE_FILES
    missing = [f for f in (*rel_files.values(), *ABS_FILES.values()) if f not in files]
    if missing:
        raise TableError(
            f"{name}: {', '.join(missing)} missing beside {', '.join(sorted(files)) or 'nothing'}; "
            "expected two abs_* files and the rel_* files of both answers (pairwise) or of one "
            "(pointwise). Get the release again."
        )
    ledgers: dict[str, Ledger] = {}
    rel: dict[tuple[str, str], RelRecords] = {}
    absolute: dict[str, AbsRecords] = {}
    for key, file in rel_files.items():
        rel[key], ledgers[file] = parse_rel(files[file], f"{name}/{file}")
    for channel, file in ABS_FILES.items():
        absolute[channel], ledgers[file] = parse_abs(files[file], f"{name}/{file}")
    once = rows_once({**rel, **absolute})
    for key, file in rel_files.items():
        rel[key] = without_repeats(rel[key], once.get(key), ledgers[file])
    for channel, file in ABS_FILES.items():
        absolute[channel] = without_repeats(absolute[channel], once.get(channel), ledgers[file])
    every: list[AbsRecords | RelRecords] = [*absolute.values(), *rel.values()]
    spine = max(every, key=lambda records: len(records))
    page_ms, n = spine.page_ms, len(spine)
    page_load = _page_loads(page_ms, spine.epoch_ms)
    order = np.lexsort((np.arange(n), page_ms, page_load))
    camera = np.full(n, -1, dtype=np.int8)
    channels = {}
    for channel in ("gaze", "mouse"):
        at, rows = _rows_of(page_ms, absolute[channel], ledgers[ABS_FILES[channel]])
        x, y = np.full(n, np.nan), np.full(n, np.nan)
        x[at], y[at] = absolute[channel].x[rows], absolute[channel].y[rows]
        if channel == "mouse":  # (-1, -1) until the mouse first moves
            unmoved = (x == -1) & (y == -1)
            x[unmoved] = y[unmoved] = np.nan
        sides = {}
        for side in ("a", "b"):
            if (channel, side) in rel:
                on_side = rel[channel, side]
                at, rows = _rows_of(page_ms, on_side, ledgers[rel_files[channel, side]])
                sides[side] = (on_side, at, rows)
                flag = on_side.camera[rows]
                camera[at] = np.where(flag >= 0, flag, camera[at])
        channels[channel] = _channel(x, y, sides, order, ledgers[rel_files[channel, "a"]])
    for ledger in ledgers.values():
        ledger.check()
    return MergedTicks(
        kind="pairwise" if rel_files is PAIRWISE_FILES else "pointwise",
        file_row=order,
        page_load=page_load[order],
        page_ms=page_ms[order],
        epoch_ms=spine.epoch_ms[order],
        camera=camera[order],
        channels=channels,
        ledgers=ledgers,
    )


def _rows_of(
    page_ms: NDArray[np.float64], records: AbsRecords | RelRecords, ledger: Ledger
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match a file's rows to ticks: the ticks that have a row, and those rows.

    A tick without a row counts as seen and dropped: the page recorded it, the file lost it. A row
    without a tick (unknown to the longest file) is dropped and counted too.
    """
    n = len(page_ms)
    if len(records) == n and np.array_equal(records.page_ms, page_ms):
        rows = np.arange(n)
        return rows, rows
    left = _with_occurrence(page_ms).with_row_index("tick")
    right = _with_occurrence(records.page_ms).with_row_index("row")
    joined = left.join(right, on=["page_ms", "nth"], how="inner").sort("tick")
    ledger.drop(ABSENT_ROW, n - len(joined))
    strangers = len(records) - len(joined)
    if strangers:
        ledger.kept -= strangers
        ledger.dropped["row of no tick"] = strangers
    return joined["tick"].to_numpy().astype(np.int64), joined["row"].to_numpy().astype(np.int64)


def _with_occurrence(page_ms: NDArray[np.float64]) -> pl.DataFrame:
    frame = pl.DataFrame({"page_ms": page_ms})
    return frame.with_columns(nth=pl.int_range(pl.len()).over("page_ms"))


def _page_loads(page_ms: NDArray[np.float64], epoch_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the page loads.

    Within a load, page clock and epoch rise together, the epoch faster while the tab is hidden. A
    tick that fits no open load in that way opens a new one (reload, or a second tab).
    """
    n = len(page_ms)
    loads = np.zeros(n, dtype=np.int64)
    if n == 0:
        return loads
    order = np.lexsort((page_ms, epoch_ms))
    if bool((np.diff(page_ms[order]) > -_RELOAD_MS).all()):
        return loads
    last_page: list[float] = []
    last_origin: list[float] = []
    for i in order:
        origin = float(epoch_ms[i]) - float(page_ms[i])
        best, best_jump = -1, np.inf
        for load, (page, start) in enumerate(zip(last_page, last_origin, strict=True)):
            jump = origin - start
            if page_ms[i] >= page - _RELOAD_MS and -_CLOCK_SLACK_MS <= jump < best_jump:
                best, best_jump = load, jump
        if best < 0:
            best = len(last_page)
            last_page.append(0.0)
            last_origin.append(origin)
        last_page[best] = max(last_page[best], float(page_ms[i]))
        last_origin[best] = max(last_origin[best], origin)
        loads[i] = best
    return loads


def _channel(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sides: dict[str, tuple[RelRecords, NDArray[np.int64], NDArray[np.int64]]],
    order: NDArray[np.int64],
    ledger: Ledger,
) -> Channel:
    n = len(x)
    side = np.zeros(n, dtype=np.int8)
    caret = np.full(n, -1, dtype=np.int32)
    window = np.full(n, -1, dtype=np.int64)
    windows: list[str] = []
    rel_px = {}
    for code, name in ((SIDE_A, "a"), (SIDE_B, "b")):
        rel_x, rel_y = np.full(n, np.nan), np.full(n, np.nan)
        rel_px[name] = (rel_x, rel_y)
        if name not in sides:
            continue
        records, at, rows = sides[name]
        on = (records.x[rows] != -1) | (records.y[rows] != -1)
        at, rows = at[on], rows[on]
        rel_x[at], rel_y[at] = records.x[rows], records.y[rows]
        both = int((side[at] != NONE).sum())
        if both:  # never in the public release; the left answer is kept as the place
            ledger.repair("point inside both answers", both)
            free = side[at] == NONE
            at, rows = at[free], rows[free]
        side[at] = code
        caret[at] = records.caret[rows]
        codes = records.window.indices.fill_null(-1).to_numpy(zero_copy_only=False)[rows]
        window[at] = np.where(codes >= 0, codes + len(windows), -1)
        windows += records.window.dictionary.to_pylist()
    return Channel(
        x_px=x[order],
        y_px=y[order],
        rel_px={s: (rx[order], ry[order]) for s, (rx, ry) in rel_px.items()},
        side=side[order],
        caret=caret[order],
        window=window[order],
        windows=windows,
    )


def window_array(channel: Channel) -> pa.DictionaryArray:
    """Return the channel's windows as an Arrow dictionary array, null where none was recorded."""
    indices = pa.array(channel.window, pa.int32(), mask=channel.window < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(channel.windows, pa.string()))
