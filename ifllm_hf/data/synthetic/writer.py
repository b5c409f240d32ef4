"""The behaviour files of one conversation, byte for byte as the site's server wrote them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import compress, pairwise
from operator import add
from pathlib import Path

import numpy as np
import polars as pl

from ifllm_hf.data.synthetic import story
from ifllm_hf.data.synthetic.observe import ObservedChannel
from ifllm_hf.data.synthetic.page import BoolArray, FloatArray, IntArray
from ifllm_hf.data.synthetic.reader import Recording

BUFFER_TICKS = 100
_DIGITS = 14  # of PHP's numbers
_LATER = (0.98, 0.9, 0.8)  # share of ticks not stamped 1 ms later: abs_gaze, abs_mouse, rel


@dataclass
class Written:
    """What became of the ticks of one recording.

    Attributes:
        order: The ticks that were uploaded, in file order.
        t_ms: Page time as written, in file order.
        in_rel: Whether the rel files have the tick too.
        lost: Ticks in buffers that were never sent.
        counts: How often each defect of this conversation occurs, by file name.
    """

    order: IntArray
    t_ms: FloatArray
    in_rel: BoolArray
    lost: int
    counts: dict[str, dict[str, int]]


def write_behavior(
    folder: Path,
    recording: Recording,
    sides: int,
    defects: set[str],
    rng: np.random.Generator,
    *,
    as_served: bool,
) -> Written:
    """Write the four (pointwise) or six (pairwise) files of a conversation.

    Args:
        folder: Where to; it is made.
        recording: What happened.
        sides: 2 pairwise, 1 pointwise.
        defects: Kinds of `story` to apply.
        rng: Source of randomness.
        as_served: Whether to lose the last buffer and write pairwise gaze twice, as the site did.

    Returns:
        Which ticks are where.
    """
    folder.mkdir(parents=True)
    counts: dict[str, dict[str, int]] = {}
    batches = _batches(recording, as_served)
    sent = sum(len(batch) for batch in batches)
    if story.EPOCH_BACKWARDS in defects and len(batches) >= 3:
        at = len(batches) // 2
        batches[at - 1], batches[at] = batches[at], batches[at - 1]
        counts[story.EPOCH_BACKWARDS] = {"batches": 1}
    order = np.concatenate(batches) if batches else np.zeros(0, np.int64)
    n = len(order)
    # Page times are differences of two large clock readings, and look like it.
    base = float(np.round(rng.uniform(1e6, 2e8), 1))
    t_ms = _significant((base + recording.t_ms[order]) - base)
    times = _strings(t_ms)
    late = rng.random(n)
    epochs = [(recording.epoch_ms[order] + (late > share)).tolist() for share in _LATER]

    twice = (0, 0)  # the upload that stands there once more, as ticks in file order
    if story.DOUBLED_UPLOAD in defects and batches:
        at = len(batches) // 2
        twice = (sum(map(len, batches[:at])), sum(map(len, batches[: at + 1])))
        counts[story.DOUBLED_UPLOAD] = {}

    gaze = [_strings(_significant(v[order])) for v in (recording.gaze_x, recording.gaze_y)]
    rows = [f"{x},{y},{t},{e}\n" for x, y, t, e in zip(*gaze, times, epochs[0], strict=True)]
    if as_served and sides == 2:
        edges = np.cumsum([0, *map(len, batches)]).tolist()
        spans = zip(edges[:-1], edges[1:], strict=True)
        rows = ["".join(rows[a:b]) * 2 for a, b in spans]
        counts["doubled_abs_gaze"] = {"abs_gaze.csv": n}
    elif sides == 1:
        rows = _upload_again(rows, *twice, "abs_gaze.csv", counts)
    _write(folder / "abs_gaze.csv", rows)
    mouse = [v[order].astype(np.int64).tolist() for v in (recording.mouse_x, recording.mouse_y)]
    rows = [f"{x},{y},{t},{e}\n" for x, y, t, e in zip(*mouse, times, epochs[1], strict=True)]
    if sides == 1:
        rows = _upload_again(rows, *twice, "abs_mouse.csv", counts)
    _write(folder / "abs_mouse.csv", rows)

    in_rel = np.ones(n, bool)
    if story.MISSING_IN_REL in defects and n > 20:
        in_rel[n // 2 : n // 2 + 5] = False
        counts[story.MISSING_IN_REL] = {"rel": 5}
    six = story.SIX_FIELDS in defects
    camera = [""] * n if six else np.where(recording.camera_ok[order] > 0, "1,", "0,").tolist()
    names = (
        (("rel_gaze",), ("rel_mouse",))
        if sides == 1
        else (
            ("rel_gaze_one", "rel_gaze_two"),
            ("rel_mouse_left", "rel_mouse_right"),
        )
    )
    fields = zip(times, camera, epochs[2], strict=True)
    tails = [f",{t},{flag}{e}\n" for t, flag, e in fields]
    for channel, files in zip((recording.gaze, recording.mouse), names, strict=True):
        for side, name in enumerate(files):
            rows = list(map(add, _rel_heads(channel, side + 1, order), tails))
            if not in_rel.all():
                rows = list(compress(rows, in_rel.tolist()))
            if story.REQUOTED in defects:
                rows, stray, mended = _quote_again(rows)
                counts.setdefault(story.REQUOTED, {})[f"{name}.csv"] = mended
                counts.setdefault("stray_quote", {})[f"{name}.csv"] = stray
            if story.LINE_BREAK in defects and name in ("rel_gaze", "rel_gaze_one"):
                rows, broken = _break_lines(rows)
                counts.setdefault(story.LINE_BREAK, {})[f"{name}.csv"] = broken
            first, behind = (int(in_rel[:at].sum()) for at in twice)
            if name == "rel_mouse_right":
                behind = (first + behind) // 2  # broken off half way
            rows = _upload_again(rows, first, behind, f"{name}.csv", counts)
            _write(folder / f"{name}.csv", rows)
    return Written(order, t_ms, in_rel, len(recording.t_ms) - sent, counts)


def _batches(recording: Recording, as_served: bool) -> list[IntArray]:
    """Cut the ticks into uploads: at least 100, not before the first answer, nothing after."""
    n = len(recording.t_ms)
    first = int(np.argmax(recording.turn >= 0))
    batches = []
    ends = np.flatnonzero(np.diff(recording.page_load)).tolist()
    for begin, end in zip([0, *[e + 1 for e in ends]], [*[e + 1 for e in ends], n], strict=True):
        cuts = np.arange(max(begin + BUFFER_TICKS, first + 1), end + 1, BUFFER_TICKS).tolist()
        if not as_served and (not cuts or cuts[-1] != end):
            cuts.append(end)
        edges = [begin, *cuts]
        batches += [np.arange(a, b) for a, b in pairwise(edges)]
    return batches


def _upload_again(
    rows: list[str], first: int, behind: int, file: str, counts: dict[str, dict[str, int]]
) -> list[str]:
    """Write the rows of an upload a second time, behind itself."""
    if behind > first:
        counts[story.DOUBLED_UPLOAD][file] = behind - first
    return rows[:behind] + rows[first:behind] + rows[behind:]


def _significant(values: FloatArray) -> FloatArray:
    """Round to the digits that PHP prints."""
    size = np.maximum(np.abs(values), 1e-3)
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(size)))
    rounded: FloatArray = np.rint(values * scale) / scale
    return np.where(np.abs(rounded) < 1e-3, 0.0, rounded)


def _strings(values: FloatArray) -> list[str]:
    """Write numbers as PHP and JavaScript do: shortest digits, whole ones without a point."""
    text: list[str] = pl.Series(values).cast(pl.String).to_list()
    for at in np.flatnonzero(values == np.rint(values)).tolist():
        text[at] = str(int(values[at]))
    return text


def _rel_heads(channel: ObservedChannel, side: int, order: IntArray) -> list[str]:
    """Write x, y, window and caret of the ticks in file order."""
    on = channel.on[order] == side
    here = order[on]
    windows = ["", *[f'"{window}"' for window in channel.windows]]
    x = _strings(np.round(channel.rel_x[here], 2))
    y = _strings(np.round(channel.rel_y[here], 2))
    text = (channel.text[here] + 1).tolist()
    unit = ["" if u < 0 else u for u in channel.unit[here].tolist()]
    heads = ["-1,-1,,"] * len(order)
    rows = zip(np.flatnonzero(on).tolist(), x, y, text, unit, strict=True)
    for at, a, b, window, caret in rows:
        heads[at] = f"{a},{b},{windows[window]},{caret}"
    return heads


def _break_lines(rows: list[str]) -> tuple[list[str], int]:
    """Put a line break into the windows of up to 20 rows."""
    spaced = [i for i, row in enumerate(rows) if " " in row and row.count('"') == 2]
    chosen = spaced[:: max(1, len(spaced) // 20)][:20]
    for i in chosen:
        rows[i] = rows[i].replace(" ", "\n", 1)
    return rows, len(chosen)


def _quote_again(rows: list[str]) -> tuple[list[str], int, int]:
    """Pass the rows through a CSV reader and writer that take inner quotes for their own.

    Three kinds come out, as in three files of the release: quotes doubled and one of them moved,
    a stray quote at the end of the line, and windows bare of quotes.
    """
    stray = mended = bare = 0
    out = []
    for number, row in enumerate(rows):
        line = row[:-1]
        if line.count('"') <= 2:
            window = line.split('"')[1] if '"' in line else ""
            if window and "," not in window and number > 100 * bare and bare < 10:
                bare += 1
                line = line.replace('"', "")
        else:
            fields = next(csv.reader([line]))
            if len(fields) >= 6 and fields[-1].isdigit() and len(fields) == _width(line):
                fields[2] = '"' + fields[2].replace('"', '""') + '"'
                line = ",".join(fields)
                mended += 1
            elif len(fields) == 3:
                line += '"'
                stray += 1
        out.append(line + "\n")
    return out, stray, mended + bare


def _width(line: str) -> int:
    """Return 7 where the field before the last is a camera flag, else 6."""
    return 7 if line.split(",")[-2] in ("0", "1") else 6


def _write(path: Path, rows: list[str]) -> None:
    path.write_bytes("".join(rows).encode())
