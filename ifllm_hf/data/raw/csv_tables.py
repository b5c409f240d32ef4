"""The three tables of a release as text cells, and cells as numbers and instants.

The tables are proper RFC-4180 (quoted line breaks, doubled quotes), unlike the behaviour files,
which have a grammar of their own. Nothing is guessed here: a cell that is not what its column
holds stops the reading with file, line and column.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.line_ends import mend_texts
from ifllm_hf.errors import TableError

QUERY_LOGS = "query_logs_table.csv"
TASK_TABLE = "task_table.csv"
RECORD_INFO = "record_info_table.csv"

#: The columns that each table of a release must have.
TABLE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    QUERY_LOGS: (
        *("query_ID", "user_id", "task_id", "user_query", "llm_response_1", "llm_response_2"),
        *("llm_name_1", "llm_name_2", "likert_1", "likert_2", "preference", "adjustment"),
        "query_timestamp",
    ),
    TASK_TABLE: (
        *("user_id", "task_id", "copy_sentence", "summary", "feedback", "understand_before"),
        *("understand_after", "query_copy", "llm_response_copy", "accuracy", "finished", "domain"),
    ),
    RECORD_INFO: (
        *("user_id", "consent", "age", "location", "education", "race", "gender", "inserted_at"),
    ),
}

#: Column of `read_csv_table`, and the repair that it stands for.
LINE_ENDS = "line_ends"

#: What MySQL stores for "no time known".
ZERO_DATE = "0000-00-00 00:00:00"

_RESTORE = "Restore the file from the release."

# One field and what ends it. The csv module lets a quote inside plain text pass; this does not.
_FIELD = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*+))(,|\r?\n|\Z)')

# "nan", "1e3" and " 4" are numbers to most parsers, but not in these tables.
_WHOLE_NUMBER = r"^(-?[0-9]{1,18})(?:\.0+)?$"
_DECIMAL_NUMBER = r"^(-?[0-9]{1,18}(?:\.[0-9]+)?)$"


def read_csv_table(raw: bytes, name: str, columns: tuple[str, ...]) -> tuple[pl.DataFrame, Ledger]:
    r"""Read a table of a release strictly.

    Args:
        raw: The file, UTF-8 with or without a byte order mark, lines ended by LF or CRLF.
        name: What messages call the file, e.g. `dataset/query_logs_table.csv`.
        columns: The columns that must be there; others are left out.

    Returns:
        A frame of strings as stored (an empty cell is `""`) with the wanted columns in the order
        asked for, `line` (i64), the line of the file on which the record begins, and `line_ends`
        (bool), whether line breaks inside its texts were mended (see `line_ends.mend_texts`); and
        the ledger of records, where an empty line is a record dropped as `empty_line`.

    Raises:
        TableError: Bytes that are not UTF-8, a missing or doubled column, a quote that is never
            closed or not doubled, a record with more or fewer fields than the header, texts with
            line breaks of two kinds.

    >>> frame, ledger = read_csv_table(b'id,text\n1,"two\r\nlines"\n', "t.csv", ("id", "text"))
    >>> frame["text"].to_list(), frame["line"].to_list(), ledger.kept
    (['two\r\nlines'], [2], 1)
    >>> frame, _ = read_csv_table(b'id,text\r\n1,"two\r\nlines"\r\n', "t.csv", ("id", "text"))
    >>> frame["text"].to_list(), frame["line_ends"].to_list()
    (['two\nlines'], [True])
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if not raw:
        raise TableError(f"{name}: the file is empty; expected {', '.join(columns)}. {_RESTORE}")
    records, starts = _split(raw, name)
    mended = mend_texts(raw, records, starts, name)
    header = records[0]
    _check_header(header, name, columns)
    ledger = Ledger(name)
    kept: list[list[str]] = []
    lines: list[int] = []
    line_ends: list[bool] = []
    line, counted_to = 1, 0
    for record, start, was_mended in zip(records[1:], starts[1:], mended[1:], strict=True):
        line += raw.count(b"\n", counted_to, start)
        counted_to = start
        if record == [""] and len(header) > 1:
            ledger.drop("empty_line")
            continue
        if len(record) != len(header):
            raise TableError(
                f"{name}, line {line}: a record of {len(record)} fields, but the header has "
                f"{len(header)}. A comma, quote or line break inside a text is not quoted, or "
                f"the file is cut off. {_RESTORE}"
            )
        kept.append(record)
        lines.append(line)
        line_ends.append(was_mended)
        ledger.keep(repaired=LINE_ENDS if was_mended else None)
    ledger.check()
    cells = list(zip(*kept, strict=True)) or [()] * len(header)
    data = {c: pl.Series(c, cells[header.index(c)], dtype=pl.String) for c in columns}
    data["line"] = pl.Series("line", lines, dtype=pl.Int64)
    data[LINE_ENDS] = pl.Series(LINE_ENDS, line_ends, dtype=pl.Boolean)
    return pl.DataFrame(data), ledger


def whole_numbers(
    frame: pl.DataFrame,
    column: str,
    file: str,
    *,
    low: int | None = None,
    high: int | None = None,
    required: bool = False,
) -> pl.Series:
    """Read a column of whole numbers (`4` or `4.0`).

    Args:
        frame: A table with `line`.
        column: The column to read.
        file: The file that messages name.
        low: The smallest number allowed.
        high: The largest number allowed.
        required: Whether an empty cell is an error; otherwise it is null.

    Returns:
        An Int64 series.

    Raises:
        TableError: A cell that is not such a number; the message names the line.
    """
    cell = pl.col(column)
    number = cell.str.extract(_WHOLE_NUMBER).cast(pl.Int64, strict=False)
    good = number.is_not_null()
    bounds = ""
    if low is not None:
        good &= number >= low
        bounds = f" from {low}" if high is not None else f" of at least {low}"
    if high is not None:
        good &= number <= high
        bounds += f" to {high}"
    read = frame.select(number.alias("value"), good.fill_null(False).alias("good"))
    _raise_at_first_bad(frame, column, file, read["good"], f"a whole number{bounds}", required)
    return read["value"].alias(column)


def decimal_numbers(frame: pl.DataFrame, column: str, file: str) -> pl.Series:
    """Read a column of finite decimal numbers as Float32; an empty cell is null.

    Raises:
        TableError: A cell that is not a number; the message names the line.
    """
    number = pl.col(column).str.extract(_DECIMAL_NUMBER).cast(pl.Float32, strict=False)
    value = frame.select(number)[column]
    _raise_at_first_bad(frame, column, file, value.is_not_null(), "a decimal number")
    return value


def instants(frame: pl.DataFrame, column: str, file: str) -> tuple[pl.Series, pl.Series]:
    """Read a column of `YYYY-MM-DD HH:MM:SS` in UTC.

    Returns:
        The instants as Datetime("us", "UTC"), null where the cell is empty or the date is zero,
        and a mask of the zero dates.

    Raises:
        TableError: A cell that is no instant; the message names the line.
    """
    cell = pl.col(column)
    time = cell.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    read = frame.select(
        time.dt.replace_time_zone("UTC").alias("value"), (cell == ZERO_DATE).alias("zero")
    )
    good = read["value"].is_not_null() | read["zero"]
    _raise_at_first_bad(frame, column, file, good, "a time like 2025-11-18 03:24:10")
    return read["value"].alias(column), read["zero"]


def filled(column: str) -> pl.Expr:
    """Return the cells of `column` with null for the empty ones."""
    return pl.when(pl.col(column) != "").then(pl.col(column)).alias(column)


def require(frame: pl.DataFrame, column: str, file: str) -> None:
    """Raise TableError, with the line, if a cell of `column` is empty."""
    _raise_at_first_bad(frame, column, file, frame[column] != "", "a value", required=True)


def keep_all(ledger: Ledger, rows: int, repairs: Mapping[str, pl.Series]) -> None:
    """Count `rows` as kept, each mended row once, under the first of `repairs` that it had."""
    counted = pl.Series([False] * rows, dtype=pl.Boolean)
    for reason, mask in repairs.items():
        ledger.keep(int((mask & ~counted).sum()), repaired=reason)
        counted |= mask
    ledger.keep(int((~counted).sum()))


def _split(raw: bytes, name: str) -> tuple[list[list[str]], list[int]]:
    """Split a table into records of fields, and say at which byte each record begins."""
    records: list[list[str]] = []
    starts: list[int] = []
    record: list[str] = []
    start = at = 0
    for field in _FIELD.finditer(raw):
        if field.start() != at:
            break
        quoted, plain, end = field.groups()
        try:
            # Field by field: one emoji would make a string of the whole table four times as large.
            if quoted is None:
                record.append(plain.decode("utf-8"))
            else:
                record.append(quoted.decode("utf-8").replace('""', '"'))
        except UnicodeDecodeError as error:
            bad = field.start(2 if quoted is None else 1) + error.start
            line = raw.count(b"\n", 0, bad) + 1
            raise TableError(
                f"{name}, line {line}: byte 0x{raw[bad]:02x} is not UTF-8; the file is damaged or "
                f"was saved in another encoding. {_RESTORE}"
            ) from error
        at = field.end()
        if end != b",":
            records.append(record)
            starts.append(start)
            record, start = [], at
            if at == len(raw):
                return records, starts
    line = raw.count(b"\n", 0, start) + 1
    raise TableError(
        f"{name}, line {line}: field {len(record) + 1} of the record that begins here has a quote "
        "that is not closed or not doubled, or a stray carriage return; expected RFC-4180. The "
        f"file may be cut off. {_RESTORE}"
    )


def _check_header(header: list[str], name: str, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in header]
    if missing:
        found = ", ".join(header)
        found = found if len(found) <= 200 else found[:200] + "…"
        raise TableError(
            f"{name}, line 1: no column {', '.join(map(repr, missing))}; found: {found!r}. "
            f"Expected the columns {', '.join(columns)}. {_RESTORE}"
        )
    doubled = sorted({c for c in columns if header.count(c) > 1})
    if doubled:
        raise TableError(
            f"{name}, line 1: column {', '.join(map(repr, doubled))} is there more than once; "
            f"expected it once. {_RESTORE}"
        )


def _raise_at_first_bad(
    frame: pl.DataFrame,
    column: str,
    file: str,
    good: pl.Series,
    expected: str,
    required: bool = False,
) -> None:
    bad = ~good if required else ~good & (frame[column] != "")
    n = int(bad.sum())
    if not n:
        return
    first = int(bad.arg_true()[0])
    seen = frame[column][first]
    seen = seen if len(seen) <= 60 else seen[:60] + "…"
    more = f" (and {n - 1} more)" if n > 1 else ""
    raise TableError(
        f"{file}, line {frame['line'][first]}: {column!r} is {seen!r}{more}, expected {expected}. "
        "Correct the cell, or restore the file from the release."
    )
