r"""The grammar of the behaviour files, which look like CSV and are not.

The site wrote one line per tick with the window text between *unescaped* quotes, so quotes, commas
and line breaks inside the text derail any CSV reader (15,841 rows of the public release are lost
that way). A record is read from both ends instead:

    rel  x "," y "," window "," caret "," page_ms ["," camera] "," epoch_ms EOL
    abs  x "," y "," page_ms "," epoch_ms EOL

    window  nothing, `"` any text `"`, or (rarely) text bare of quotes and commas
    caret   nothing or an integer
    camera  0 or 1, absent in the six-field dialect of the first days
    epoch   13 digits

Most files are regular enough for a vectorised pass: the commas that belong to a window are found by
counting from both ends of the line and hidden, and Arrow parses the rest. A file with anything
irregular in it is read line by line with the same grammar written as regular expressions, which
joins windows broken over lines and mends lines that somebody's CSV writer quoted again.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.records import AbsRecords, RelRecords
from ifllm_hf.errors import TableError

_COMMA, _NEWLINE, _RETURN, _QUOTE, _ZERO = 44, 10, 13, 34, 48
_HIDDEN = 1  # stands for a comma inside a window while Arrow splits the line
_EPOCH_DIGITS = 13
_MAX_JOINED_LINES = 12  # a window has at most 20 characters
_MAX_BAD_SHARE = 0.1  # above it, the file is something else than a behaviour file

_NUMBER = rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_HEAD = rb"(" + _NUMBER + rb"),(" + _NUMBER + rb"),"
_QUOTED = rb'(|".*")'
_BARE = rb"([^\n]+)"  # last resort: some CSV writer took the quotes for its own


def _rel_pattern(window: bytes, camera: bytes) -> re.Pattern[bytes]:
    tail = rb",(-?\d*),(" + _NUMBER + rb")," + camera + rb'(\d{13})("?)\r?'
    return re.compile(_HEAD + window + tail, re.DOTALL)


_SEVEN_FIELDS = rb"([01]),"
_SIX_FIELDS = rb"()"
_OPEN = re.compile(_HEAD + rb'".*', re.DOTALL)
_ABS = re.compile(_HEAD + rb"(" + _NUMBER + rb"),(\d{13})\r?")


class _IrregularError(Exception):
    """The vectorised pass met something that only the line grammar can judge."""


def parse_rel(raw: bytes, name: str) -> tuple[RelRecords, Ledger]:
    """Read a `rel_*` file: positions relative to an answer, with the text under them.

    Args:
        raw: The file's bytes.
        name: What to call it in messages and in the ledger.

    Returns:
        The samples in file order, and the ledger of the file's records.

    Raises:
        TableError: The bytes are not a behaviour file (more than a tenth of the lines do not fit).
    """
    ledger = Ledger(name)
    if not raw:
        return _rel_records([], ledger), ledger
    try:
        samples = _parse_rel_fast(raw)
        ledger.keep(len(samples))
    except _IrregularError:
        samples = _parse_rel_lines(raw, name, ledger)
    ledger.check()
    return samples, ledger


def parse_abs(raw: bytes, name: str) -> tuple[AbsRecords, Ledger]:
    """Read an `abs_*` file: viewport positions.

    Args and errors are those of `parse_rel`.
    """
    ledger = Ledger(name)
    if not raw:
        return _abs_records([]), ledger
    try:
        table = _read_columns(
            raw,
            {"x": pa.float64(), "y": pa.float64(), "page_ms": pa.float64(), "epoch_ms": pa.int64()},
        )
        if any(column.null_count for column in table.columns):
            raise _IrregularError
        positions = AbsRecords(*(_numpy(column) for column in table.columns))
        ledger.keep(len(positions))
    except (pa.ArrowInvalid, _IrregularError):
        positions = _parse_abs_lines(raw, name, ledger)
    ledger.check()
    return positions, ledger


def _parse_rel_fast(raw: bytes) -> RelRecords:
    """Read a file all of whose lines are regular; raise _IrregularError otherwise."""
    text = np.frombuffer(raw, dtype=np.uint8)
    if not raw.endswith(b"\n"):
        text = np.append(text, np.uint8(_NEWLINE))
    if (text == _HIDDEN).any():
        raise _IrregularError
    separators = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
    line_end = np.flatnonzero(text[separators] == _NEWLINE)  # index into `separators`
    line_first = np.concatenate(([0], line_end[:-1] + 1))
    commas = line_end - line_first
    if commas.min() < 5:
        raise _IrregularError
    end = separators[line_end]
    last, before_last = separators[line_end - 1], separators[line_end - 2]
    has_camera = (last - before_last) == 2
    if has_camera.any() != has_camera.all():
        raise _IrregularError
    tail = 4 if has_camera[0] else 3
    inner = commas - 2 - tail
    window_start = separators[line_first + 1] + 1
    window_end = separators[line_end - tail]
    window_bytes = window_end - window_start
    quoted = (text[window_start] == _QUOTE) & (text[window_end - 1] == _QUOTE) & (window_bytes > 1)
    if (
        inner.min() < 0
        or ((end - last - 1) != _EPOCH_DIGITS).any()
        or not ((window_bytes == 0) | quoted).all()
    ):
        raise _IrregularError
    rows = np.flatnonzero(inner)
    if rows.size:
        text = text.copy() if not text.flags.writeable else text
        text[separators[_ranges(line_first[rows] + 2, inner[rows])]] = _HIDDEN
    columns: dict[str, pa.DataType] = {
        "x": pa.float64(),
        "y": pa.float64(),
        "window": pa.dictionary(pa.int32(), pa.string()),
        "caret": pa.int32(),
        "page_ms": pa.float64(),
        "camera": pa.int8(),
        "epoch_ms": pa.int64(),
    }
    if tail == 3:
        del columns["camera"]
    try:
        table = _read_columns(text, columns)
    except pa.ArrowInvalid as error:
        raise _IrregularError from error
    if any(table[c].null_count for c in columns if c not in ("window", "caret")):
        raise _IrregularError
    return RelRecords(
        x=_numpy(table["x"]),
        y=_numpy(table["y"]),
        window=_unquoted(table["window"], hidden_commas=bool(rows.size)),
        caret=_numpy(pc.fill_null(table["caret"], -1)),
        page_ms=_numpy(table["page_ms"]),
        camera=(
            _numpy(table["camera"]) if tail == 4 else np.full(table.num_rows, -1, dtype=np.int8)
        ),
        epoch_ms=_numpy(table["epoch_ms"]),
    )


def _read_columns(text: bytes | NDArray[np.uint8], columns: dict[str, pa.DataType]) -> pa.Table:
    """Split `text` at commas and line breaks, with no quoting."""
    buffer = pa.py_buffer(text)
    return pcsv.read_csv(
        pa.BufferReader(buffer),
        read_options=pcsv.ReadOptions(
            column_names=list(columns), use_threads=False, block_size=max(1 << 20, buffer.size)
        ),
        parse_options=pcsv.ParseOptions(quote_char=False, newlines_in_values=False),
        convert_options=pcsv.ConvertOptions(
            column_types=columns, null_values=[""], strings_can_be_null=True
        ),
    )


def _unquoted(window: pa.ChunkedArray, *, hidden_commas: bool) -> pa.DictionaryArray:
    """Take the outer quotes off every distinct window and show its commas again."""
    encoded = window.combine_chunks() if window.num_chunks != 1 else window.chunk(0)
    if isinstance(encoded, pa.ChunkedArray):  # no rows at all
        return pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    words = pc.binary_slice(encoded.dictionary.cast(pa.binary()), 1, -1).cast(pa.string())
    if hidden_commas:
        words = pc.replace_substring(words, chr(_HIDDEN), ",")
    return pa.DictionaryArray.from_arrays(encoded.indices, words)


def _ranges(start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate `arange(start[i], start[i] + length[i])` over all i."""
    offset = np.concatenate(([0], np.cumsum(length)[:-1]))
    return np.repeat(start - offset, length) + np.arange(int(length.sum()))


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _parse_rel_lines(raw: bytes, name: str, ledger: Ledger) -> RelRecords:
    """Read a file line by line; see the module's text for the grammar."""
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    seven = _rel_pattern(_QUOTED, _SEVEN_FIELDS)
    head = lines[:200]
    cameras = [_SEVEN_FIELDS, _SIX_FIELDS]
    if sum(seven.fullmatch(line) is not None for line in head) < len(head) / 2:
        cameras.reverse()
    patterns = [_rel_pattern(window, camera) for window in (_QUOTED, _BARE) for camera in cameras]

    def match(text: bytes) -> re.Match[bytes] | None:
        for pattern in patterns:
            if record := pattern.fullmatch(text):
                return record
        return None

    found: list[re.Match[bytes]] = []
    first_bad: tuple[int, bytes] | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        record = match(line)
        if record is None and _OPEN.fullmatch(line):
            # The window holds a line break: take lines until the record closes, but never a line
            # that is a record of its own.
            joined = line
            for extra in range(min(_MAX_JOINED_LINES, len(lines) - number)):
                following = lines[number + extra]
                if match(following) is not None:
                    break
                joined += b"\n" + following
                record = match(joined)
                if record is not None:
                    number += extra + 1
                    ledger.repair("line break inside the window")
                    break
        if record is None:
            first_bad = first_bad or (number, line)
            ledger.drop("cut short" if re.match(_HEAD, line) else "not a record")
            continue
        if record[8]:
            ledger.repair("line quoted again by a CSV writer")
        elif record[3] and not record[3].startswith(b'"'):
            ledger.repair("window without its quotes")
        found.append(record)
        ledger.keep()
    if first_bad is not None and ledger.kept < (1 - _MAX_BAD_SHARE) * ledger.seen:
        raise TableError(
            _not_records(name, ledger, first_bad, 'x,y,"text",index,page_ms,camera,epoch_ms')
        )
    return _rel_records(found, ledger)


def _rel_records(found: list[re.Match[bytes]], ledger: Ledger) -> RelRecords:
    window = pa.array([_window_text(m[3], ledger) for m in found], pa.string())
    return RelRecords(
        x=np.array([float(m[1]) for m in found], dtype=np.float64),
        y=np.array([float(m[2]) for m in found], dtype=np.float64),
        window=window.dictionary_encode(),
        caret=np.array([int(m[4] or -1) for m in found], dtype=np.int32),
        page_ms=np.array([float(m[5]) for m in found], dtype=np.float64),
        camera=np.array([int(m[6] or -1) for m in found], dtype=np.int8),
        epoch_ms=np.array([int(m[7]) for m in found], dtype=np.int64),
    )


def _window_text(field: bytes, ledger: Ledger) -> str | None:
    if not field:
        return None
    text = field[1:-1] if field.startswith(b'"') else field
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        ledger.repair("window is not UTF-8")
        return text.decode("utf-8", errors="replace")


def _parse_abs_lines(raw: bytes, name: str, ledger: Ledger) -> AbsRecords:
    found: list[re.Match[bytes]] = []
    first_bad: tuple[int, bytes] | None = None
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        record = _ABS.fullmatch(line)
        if record is None:
            first_bad = first_bad or (number, line)
            ledger.drop("not a record")
            continue
        found.append(record)
        ledger.keep()
    if first_bad is not None and ledger.kept < (1 - _MAX_BAD_SHARE) * ledger.seen:
        raise TableError(_not_records(name, ledger, first_bad, "x,y,page_ms,epoch_ms"))
    return _abs_records(found)


def _abs_records(found: list[re.Match[bytes]]) -> AbsRecords:
    return AbsRecords(
        x=np.array([float(m[1]) for m in found], dtype=np.float64),
        y=np.array([float(m[2]) for m in found], dtype=np.float64),
        page_ms=np.array([float(m[3]) for m in found], dtype=np.float64),
        epoch_ms=np.array([int(m[4]) for m in found], dtype=np.int64),
    )


def _not_records(name: str, ledger: Ledger, first_bad: tuple[int, bytes], form: str) -> str:
    number, line = first_bad
    return (
        f"{name}: line {number} is {line[:60]!r}, and {ledger.seen - ledger.kept} of {ledger.seen} "
        f"lines are not records; expected lines of the form {form}. "
        "Is the file damaged? Get it again."
    )
