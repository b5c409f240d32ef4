r"""The grammar of the behaviour files, which look like CSV and are not.

The site wrote one line per tick with the window text between *unescaped* quotes, so quotes, commas
and line breaks inside the text derail any CSV reader (15,841 rows of the public release are lost
that way). A record is read from both ends instead:

    rel  x "," y "," window "," caret "," page_ms ["," camera] "," epoch_ms EOL
    abs  x "," y "," page_ms "," epoch_ms EOL

    window  nothing, `"` any text `"`, or (rarely) text bare of quotes and commas
    caret   nothing or an integer
    camera  0 or 1, absent in the six-field dialect of the first days
    epoch   an integer of 13 digits
    numbers decimal, with an exponent or a sign, and blanks around them

Most files are regular enough for a vectorised pass: the commas that belong to a window are found by
counting from both ends of the line and hidden, and Arrow parses the rest. A file with anything
irregular in it is read line by line with the same grammar written as regular expressions, which
joins windows broken over lines and mends lines that somebody's CSV writer quoted again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.line_ends import count_mended, mend_behavior
from ifllm_hf.data.raw.line_grammar import (
    CARET_MAX,
    EPOCH_MAX_MS,
    EPOCH_MIN_MS,
    NUMBER_MAX,
    abs_records,
    count_repairs,
    parse_abs_lines,
    parse_rel_lines,
    rel_matcher,
    rel_records,
)
from ifllm_hf.data.raw.records import AbsRecords, RelRecords

_COMMA, _NEWLINE, _RETURN, _QUOTE = 44, 10, 13, 34
_HIDDEN = 1  # stands for a comma inside a window while Arrow splits the line
_EPOCH_DIGITS = 13
_MAX_ODD_SHARE = 0.02  # more irregular lines than that: every line is judged


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
    raw, mended = mend_behavior(raw)
    if not raw:
        return rel_records([], ledger), ledger
    try:
        samples = _parse_rel_fast(raw, ledger)
        ledger.keep(len(samples))
    except _IrregularError:
        samples = parse_rel_lines(raw, name, ledger)
    count_mended(ledger, mended)
    ledger.check()
    return samples, ledger


def parse_abs(raw: bytes, name: str) -> tuple[AbsRecords, Ledger]:
    """Read an `abs_*` file: viewport positions.

    Args and errors are those of `parse_rel`.
    """
    ledger = Ledger(name)
    raw, mended = mend_behavior(raw)
    if not raw:
        return abs_records([]), ledger
    try:
        table = _read_columns(
            raw,
            {"x": pa.float64(), "y": pa.float64(), "page_ms": pa.float64(), "epoch_ms": pa.int64()},
        )
        if any(column.null_count for column in table.columns):
            raise _IrregularError
        if len(table) != raw.count(b"\n") + (not raw.endswith(b"\n")):  # Arrow skips empty lines
            raise _IrregularError
        if raw.count(b"\r") != raw.count(b"\r\n"):  # and breaks lines at a return alone
            raise _IrregularError
        positions = AbsRecords(*(_numpy(column) for column in table.columns))
        if not _are_plausible(positions):
            raise _IrregularError
        ledger.keep(len(positions))
    except (pa.ArrowInvalid, _IrregularError):
        positions = parse_abs_lines(raw, name, ledger)
    count_mended(ledger, mended)
    ledger.check()
    return positions, ledger


def _parse_rel_fast(raw: bytes, ledger: Ledger) -> RelRecords:
    """Read a file whose lines are regular but for a few; raise _IrregularError otherwise."""
    text = np.frombuffer(raw, dtype=np.uint8)
    if not raw.endswith(b"\n"):
        text = np.append(text, np.uint8(_NEWLINE))
    lines = _Lines(text)
    irregular = lines.irregular()
    odd = np.flatnonzero(irregular)
    if not odd.size:
        return _parse_regular(text, lines)
    if odd.size > _MAX_ODD_SHARE * len(irregular):
        raise _IrregularError
    starts, ends = lines.start, lines.end
    match = rel_matcher([raw[starts[i] : ends[i]] for i in range(min(200, len(irregular)))])
    found = [match(raw[starts[i] : ends[i]]) for i in odd]
    records = [record for record in found if record is not None]
    if len(records) < len(found):
        raise _IrregularError
    text = text[np.repeat(~irregular, ends - starts + 1)]
    regular = _parse_regular(text, _Lines(text))
    for record in records:
        count_repairs(record, ledger)
    return regular.with_rows(odd, rel_records(records, ledger))


class _Lines:
    """Where the lines of a file and their commas stand; arrays over the lines."""

    def __init__(self, text: NDArray[np.uint8]) -> None:
        separators = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
        line_end = np.flatnonzero(text[separators] == _NEWLINE)  # index into `separators`
        self._text, self._separators, self._line_end = text, separators, line_end
        self._first = np.concatenate(([0], line_end[:-1] + 1))
        self.commas = line_end - self._first
        self.end = separators[line_end]
        self.start = np.concatenate(([0], self.end[:-1] + 1))
        has_camera = self._from_the_right(1) - self._from_the_right(2) == 2
        self.seven_fields = bool(has_camera.mean() > 0.5)
        self._other_dialect = has_camera != self.seven_fields

    def _from_the_right(self, n: int) -> NDArray[np.int64]:
        """Return the position of the n-th comma from the right; nonsense if there are fewer."""
        return self._separators[np.maximum(self._line_end - n, 0)]

    def irregular(self) -> NDArray[np.bool_]:
        """Say which lines are not a plain record of the file's dialect."""
        tail = 4 if self.seven_fields else 3
        last = self._separators.size - 1
        window_start = self._separators[np.minimum(self._first + 1, last)] + 1
        window_end = self._from_the_right(tail)
        size = window_end - window_start
        first_byte = self._text[np.minimum(window_start, len(self._text) - 1)]
        quoted = (first_byte == _QUOTE) & (self._text[window_end - 1] == _QUOTE) & (size > 1)
        special = np.flatnonzero((self._text == _HIDDEN) | (self._text == _RETURN))
        misread = np.zeros(len(self.end), dtype=bool)  # by Arrow
        misread[np.searchsorted(self.end, special)] = True
        odd: NDArray[np.bool_] = (
            (self.commas < 2 + tail)
            | self._other_dialect
            | (self.end - self._from_the_right(1) - 1 != _EPOCH_DIGITS)
            | ~((size == 0) | quoted)
            | misread
        )
        return odd

    def window_commas(self) -> NDArray[np.int64]:
        """Return the positions of the commas inside the windows of regular lines."""
        inner = self.commas - (6 if self.seven_fields else 5)
        rows = np.flatnonzero(inner > 0)
        return self._separators[_ranges(self._first[rows] + 2, inner[rows])]


def _parse_regular(text: NDArray[np.uint8], lines: _Lines) -> RelRecords:
    commas = lines.window_commas()
    if commas.size:
        text = text.copy() if not text.flags.writeable else text
        text[commas] = _HIDDEN
    columns: dict[str, pa.DataType] = {
        "x": pa.float64(),
        "y": pa.float64(),
        "window": pa.dictionary(pa.int32(), pa.string()),
        "caret": pa.int32(),
        "page_ms": pa.float64(),
        "camera": pa.int8(),
        "epoch_ms": pa.int64(),
    }
    if not lines.seven_fields:
        del columns["camera"]
    try:
        table = _read_columns(text, columns)
    except pa.ArrowInvalid as error:
        raise _IrregularError from error
    if any(table[c].null_count for c in columns if c not in ("window", "caret")):
        raise _IrregularError
    records = RelRecords(
        x=_numpy(table["x"]),
        y=_numpy(table["y"]),
        window=_unquoted(table["window"], hidden_commas=bool(commas.size)),
        caret=_numpy(pc.fill_null(table["caret"], -1)),
        page_ms=_numpy(table["page_ms"]),
        camera=(
            _numpy(table["camera"])
            if lines.seven_fields
            else np.full(table.num_rows, -1, dtype=np.int8)
        ),
        epoch_ms=_numpy(table["epoch_ms"]),
    )
    if not _are_plausible(records):
        raise _IrregularError
    return records


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


def _are_plausible(records: RelRecords | AbsRecords) -> bool:
    """Say whether the line grammar has such numbers; Arrow also takes nan, 1e300 and camera 5."""
    floats = np.concatenate([records.x, records.y, records.page_ms])
    epoch_ms = records.epoch_ms
    good = (np.abs(floats) <= NUMBER_MAX).all()
    good = good and ((epoch_ms >= EPOCH_MIN_MS) & (epoch_ms <= EPOCH_MAX_MS)).all()
    if isinstance(records, RelRecords):
        good = good and (np.abs(records.caret) <= CARET_MAX).all() and (records.camera <= 1).all()
    return bool(good)


def _unquoted(window: pa.ChunkedArray, *, hidden_commas: bool) -> pa.DictionaryArray:
    """Take the outer quotes off every distinct window and show its commas again."""
    encoded = window.combine_chunks()
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
