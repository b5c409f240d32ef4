"""The grammar of the behaviour files as regular expressions, for lines that need judgement."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.records import AbsRecords, RelRecords
from ifllm_hf.errors import TableError

_MAX_JOINED_LINES = 12  # a window has at most 20 characters
_MAX_BAD_SHARE = 0.1  # above it, the file is something else than a behaviour file

# What a value can be: it fits into a float32 or int32, and a time has 13 digits.
NUMBER_MAX, CARET_MAX = 1e24, 10**9
EPOCH_MIN_MS, EPOCH_MAX_MS = 10**12, 10**13 - 1

# Numbers are written as loosely as Arrow reads them, so that no record depends on its neighbours.
_NUMBER = rb"[ \t]*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[ \t]*"
_INTEGER = rb"[ \t]*-?\d{1,18}[ \t]*"
_HEAD = rb"(" + _NUMBER + rb"),(" + _NUMBER + rb"),"
_QUOTED = rb'(|".*")'
_BARE = rb"([^\n,][^\n]*)"  # last resort: some CSV writer took the quotes for its own


def _rel_pattern(window: bytes, camera: bytes) -> re.Pattern[bytes]:
    tail = rb",(" + _INTEGER + rb"|),(" + _NUMBER + rb")," + camera
    tail += rb"(" + _INTEGER + rb')("?)\r?'
    return re.compile(_HEAD + window + tail, re.DOTALL)


_SEVEN_FIELDS = rb"([01]),"
_SIX_FIELDS = rb"()"
_OPEN = re.compile(_HEAD + rb'".*', re.DOTALL)
_ABS = re.compile(_HEAD + rb"(" + _NUMBER + rb"),(" + _INTEGER + rb")\r?")

RelMatch = re.Match[bytes]


def rel_matcher(head: Sequence[bytes]) -> Callable[[bytes], RelMatch | None]:
    """Return the function that reads one `rel` record, in the dialect that `head` mostly speaks.

    The groups of its matches: x, y, window, caret, page_ms, camera, epoch_ms, stray quote.
    """
    seven = _rel_pattern(_QUOTED, _SEVEN_FIELDS)
    cameras = [_SEVEN_FIELDS, _SIX_FIELDS]
    if sum(seven.fullmatch(line) is not None for line in head) < len(head) / 2:
        cameras.reverse()
    # A bare window is guessed in the file's own dialect only: in the other one it would swallow the
    # field beside it.
    patterns = [_rel_pattern(_QUOTED, camera) for camera in cameras]
    patterns.append(_rel_pattern(_BARE, cameras[0]))

    def match(text: bytes) -> RelMatch | None:
        for pattern in patterns:
            if (record := pattern.fullmatch(text)) and _fits(
                record.group(1, 2, 5), record[7], record[4]
            ):
                return record
        return None

    return match


def _fits(numbers: Sequence[bytes], epoch: bytes, caret: bytes = b"") -> bool:
    """Say whether the values of a record are ones that can be."""
    return (
        EPOCH_MIN_MS <= int(epoch) <= EPOCH_MAX_MS
        and abs(int(caret or 0)) <= CARET_MAX
        and all(abs(float(number)) <= NUMBER_MAX for number in numbers)
    )


def parse_rel_lines(raw: bytes, name: str, ledger: Ledger) -> RelRecords:
    """Read a file line by line; see the module's text for the grammar."""
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    match = rel_matcher(lines[:200])
    found: list[RelMatch] = []
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
                alone = match(following)
                if alone is not None and (not alone[3] or _is_quoted(alone[3])):
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
        count_repairs(record, ledger)
        found.append(record)
        ledger.keep()
    _check_share(name, ledger, first_bad, 'x,y,"text",index,page_ms,camera,epoch_ms')
    return rel_records(found, ledger)


def rel_records(found: Sequence[RelMatch], ledger: Ledger) -> RelRecords:
    """Turn matches into arrays."""
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


def count_repairs(record: RelMatch, ledger: Ledger) -> None:
    """Count what was mended in a record that stands on one line."""
    if record[8]:
        ledger.repair("line quoted again by a CSV writer")
    elif record[3] and not _is_quoted(record[3]):
        ledger.repair("window without its quotes")


def _is_quoted(field: bytes) -> bool:
    return len(field) > 1 and field.startswith(b'"') and field.endswith(b'"')


def _window_text(field: bytes, ledger: Ledger) -> str | None:
    if not field:
        return None
    text = field[1:-1] if _is_quoted(field) else field
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        ledger.repair("window is not UTF-8")
        return text.decode("utf-8", errors="replace")


def parse_abs_lines(raw: bytes, name: str, ledger: Ledger) -> AbsRecords:
    """Read an `abs` file line by line."""
    found: list[RelMatch] = []
    first_bad: tuple[int, bytes] | None = None
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        record = _ABS.fullmatch(line)
        if record is None or not _fits(record.group(1, 2, 3), record[4]):
            first_bad = first_bad or (number, line)
            ledger.drop("not a record")
            continue
        found.append(record)
        ledger.keep()
    _check_share(name, ledger, first_bad, "x,y,page_ms,epoch_ms")
    return abs_records(found)


def abs_records(found: Sequence[RelMatch]) -> AbsRecords:
    """Turn matches into arrays."""
    return AbsRecords(
        x=np.array([float(m[1]) for m in found], dtype=np.float64),
        y=np.array([float(m[2]) for m in found], dtype=np.float64),
        page_ms=np.array([float(m[3]) for m in found], dtype=np.float64),
        epoch_ms=np.array([int(m[4]) for m in found], dtype=np.int64),
    )


def _check_share(name: str, ledger: Ledger, first_bad: tuple[int, bytes] | None, form: str) -> None:
    """Raise TableError if too many lines are no records."""
    if first_bad is None or ledger.kept >= (1 - _MAX_BAD_SHARE) * ledger.seen:
        return
    number, line = first_bad
    raise TableError(
        f"{name}: line {number} is {line[:60]!r}, and {ledger.seen - ledger.kept} of {ledger.seen} "
        f"lines are not records; expected lines of the form {form}. "
        "Is the file damaged? Get it again."
    )
