"""The grammar of the behaviour files: dialects, defects, and a round trip of arbitrary ticks."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw import grammar
from ifllm_hf.data.raw.grammar import parse_abs, parse_rel
from ifllm_hf.data.raw.line_grammar import parse_abs_lines, parse_rel_lines
from ifllm_hf.data.raw.records import AbsRecords, RelRecords
from ifllm_hf.errors import TableError

EPOCH = 1_757_425_262_123
OTHER_ENDS = "line ends of another system"
GOOD = b'1.5,-2,"some text",7,1234.5,1,1757425262123\n'
Row = tuple[float, float, str | None, int, float, int, int]


def rows(records: RelRecords) -> list[Row]:
    """Return the records as tuples, in the order of the file's fields."""
    columns = (records.x, records.y, records.caret, records.page_ms)
    x, y, caret, page_ms = (c.tolist() for c in columns)
    window = records.window.to_pylist()
    camera, epoch = records.camera.tolist(), records.epoch_ms.tolist()
    return list(zip(x, y, window, caret, page_ms, camera, epoch, strict=True))


def read(raw: bytes) -> list[Row]:
    return rows(parse_rel(raw, "f.csv")[0])


def by_line(raw: bytes) -> tuple[list[Row], Ledger]:
    ledger = Ledger("f.csv")
    records = parse_rel_lines(raw, "f.csv", ledger)
    ledger.check()
    return rows(records), ledger


def fast(raw: bytes) -> tuple[list[Row], Ledger] | None:
    """Read by the vectorised pass; None where it leaves the file to the line grammar."""
    ledger = Ledger("f.csv")
    try:
        records = grammar._parse_rel_fast(raw, ledger)
    except grammar._IrregularError:
        return None
    ledger.keep(len(records))
    return rows(records), ledger


def both(raw: bytes) -> list[Row]:
    """Read a regular file both ways, which must agree."""
    quick = fast(raw)
    assert quick is not None
    assert quick == by_line(raw)
    found, ledger = quick
    assert ledger == Ledger("f.csv", seen=len(found), kept=len(found))
    assert read(raw) == found
    return found


SEVEN_AND_SIX = [
    (b'1.5,-2,"some text",7,1234.5,1,1757425262123', (1.5, -2, "some text", 7, 1234.5, 1, EPOCH)),
    (b'1.5,-2,"some text",7,1234.5,1757425262123', (1.5, -2, "some text", 7, 1234.5, -1, EPOCH)),
    (b"-1,-1,,,1234.5,0,1757425262123", (-1, -1, None, -1, 1234.5, 0, EPOCH)),
    (b"-1,-1,,,1234.5,1757425262123", (-1, -1, None, -1, 1234.5, -1, EPOCH)),
    (b"3,4,,,9,1,1757425262123", (3, 4, None, -1, 9, 1, EPOCH)),  # on the answer, no caret
    (b'3,4,"",0,9,1,1757425262123', (3, 4, "", 0, 9, 1, EPOCH)),
    (b'3,4,"""",0,9,1,1757425262123', (3, 4, '""', 0, 9, 1, EPOCH)),
    (b'3,4,"a,b",0,99,1757425262123', (3, 4, "a,b", 0, 99, -1, EPOCH)),
    (b'3,4,"a","b",0,9,0,1757425262123', (3, 4, 'a","b', 0, 9, 0, EPOCH)),
    (b'3,4,",",0,9,0,1757425262123', (3, 4, ",", 0, 9, 0, EPOCH)),
    (b'3,4,",,,,,,,",0,9,0,1757425262123', (3, 4, ",,,,,,,", 0, 9, 0, EPOCH)),
    (b'3,4,"say "hi", ok",12,9.25,1,1757425262123', (3, 4, 'say "hi", ok', 12, 9.25, 1, EPOCH)),
    (b'3,4,"1,2,3",12,9.25,1,1757425262123', (3, 4, "1,2,3", 12, 9.25, 1, EPOCH)),
    ('3,4,"🦊 né",12,9,1,1757425262123'.encode(), (3, 4, "🦊 né", 12, 9, 1, EPOCH)),
    (b'1.5E-5,4,"a",12,9,1,1757425262123', (1.5e-5, 4, "a", 12, 9, 1, EPOCH)),
]


@pytest.mark.parametrize(("line", "row"), SEVEN_AND_SIX)
def test_a_line_of_the_format(line: bytes, row: Row) -> None:
    assert both(line + b"\n") == [row]
    assert both(line) == [row]  # the last line break is missing
    assert both((line + b"\n") * 3) == [row] * 3


def test_dialects_do_not_mix_in_the_fast_pass_but_are_both_read() -> None:
    six, seven = b'1,2,"a",3,4.5,1757425262123\n', b'1,2,"a",3,4.5,1,1757425262123\n'
    for raw in (six + seven, seven + six, six * 9 + seven, seven * 9 + six):
        quick = fast(raw)
        assert quick is None or quick == by_line(raw)
        read_cameras = [row[5] for row in read(raw)]
        assert sorted(read_cameras) == sorted(
            [-1] * raw.count(b"4.5,17") + [1] * raw.count(b"1,17")
        )


@pytest.mark.parametrize("page_ms", [b"0", b"1", b"7"])
def test_a_page_time_of_one_digit_is_no_camera_flag(page_ms: bytes) -> None:
    row = (1.0, 2.0, "a", 3, float(page_ms), -1, EPOCH)
    line = b'1,2,"a",3,' + page_ms + b",1757425262123\n"
    assert read(line) == [row]
    assert read(line * 5) == [row] * 5
    comma = b'1,2,"a,b",3,' + page_ms + b",1757425262123\n"
    assert read(comma) == [(1.0, 2.0, "a,b", 3, float(page_ms), -1, EPOCH)]
    off = b"-1,-1,,," + page_ms + b",1757425262123\n"
    assert read(off) == [(-1.0, -1.0, None, -1, float(page_ms), -1, EPOCH)]


@pytest.mark.parametrize(
    "window", ["a\nb", "\n", "\n\n\n", "x\n1,2,y", 'q"\n",5', "a\r\nb", "\na\n"]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_break_inside_the_window_is_joined(window: str, end: bytes) -> None:
    broken = f'1,2,"{window}",3,4.5,1,{EPOCH}'.encode()
    raw = GOOD + broken + b"\n" + GOOD + broken + end
    records, ledger = parse_rel(raw, "f.csv")
    good = read(GOOD)[0]
    assert rows(records) == [good, (1, 2, window, 3, 4.5, 1, EPOCH)] * 2
    assert (ledger.seen, ledger.kept) == (4, 4)
    expected = {"line break inside the window": 2}
    assert ledger.repaired == expected | ({OTHER_ENDS: 1} if end == b"\r\n" else {})


ENDS = {"windows": b"\r\n", "old mac": b"\r"}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
@pytest.mark.parametrize("share", [1, 2, 3])
def test_the_line_ends_of_another_system_lose_nothing(end: bytes, share: int) -> None:
    one = GOOD + b'3,4,"a,b",12,9,1,1757425262123\n-1,-1,,,9.5,0,1757425262123\n'
    records, ledger = parse_rel(one * 4, "f.csv")
    lines = (one * 4).splitlines()
    ends = [end if i % share == 0 else b"\n" for i in range(len(lines))]
    other, mended = parse_rel(b"".join(a + b for a, b in zip(lines, ends, strict=True)), "f.csv")
    assert rows(other) == rows(records)
    assert (mended.seen, mended.kept, mended.dropped) == (ledger.seen, ledger.kept, {})
    assert mended.repaired == {OTHER_ENDS: ends.count(end)}
    absolute = ABS_GOOD * 6
    found, mended = parse_abs(absolute.replace(b"\n", end), "f.csv")
    assert abs_rows(found) == abs_rows(parse_abs(absolute, "f.csv")[0])
    assert (mended.kept, mended.repaired) == (6, {OTHER_ENDS: 6})


def test_a_converted_file_has_its_windows_back() -> None:
    raw = GOOD * 3 + b'1,2,"a\nb",3,4.5,1,1757425262123\n'
    assert read(raw.replace(b"\n", b"\r\n")) == read(raw)


@pytest.mark.parametrize("parse", [parse_rel, parse_abs])
def test_a_byte_order_mark_costs_no_record(parse: Any) -> None:
    raw = (GOOD if parse is parse_rel else ABS_GOOD) * 2
    records, ledger = parse(b"\xef\xbb\xbf" + raw, "f.csv")
    assert records.x.tolist() == parse(raw, "f.csv")[0].x.tolist()
    assert (ledger.seen, ledger.kept, ledger.repaired) == (2, 2, {"byte order mark": 1})


@pytest.mark.parametrize(
    ("line", "window", "repair"),
    [
        (
            b'1,2,"a ""b"" c",3,4.5,1,1757425262123"',
            'a ""b"" c',
            "line quoted again by a CSV writer",
        ),
        (b'1,2,"a",3,4.5,1757425262123"', "a", "line quoted again by a CSV writer"),
        (b"1,2,bare text,3,4.5,1,1757425262123", "bare text", "window without its quotes"),
        (b"1,2,bare, text,3,4.5,1757425262123", "bare, text", "window without its quotes"),
        (
            b'1,2,an "inner" one,3,4.5,1,1757425262123',
            'an "inner" one',
            "window without its quotes",
        ),
        (b'1,2,"only one,3,4.5,1,1757425262123', '"only one', "window without its quotes"),
        (b'1,2,only one",3,4.5,1,1757425262123', 'only one"', "window without its quotes"),
        (b'1,2,",3,4.5,1,1757425262123', '"', "window without its quotes"),
        (b'1,2,"ab\xf0\x9f",3,4.5,1,1757425262123', "ab\ufffd", "window is not UTF-8"),
    ],
)
def test_a_damaged_line_is_mended_and_counted(line: bytes, window: str, repair: str) -> None:
    good = GOOD if b",1,1757" in line else GOOD.replace(b",1,1757", b",1757")
    records, ledger = parse_rel(good + line + b"\n" + good, "f.csv")
    assert rows(records)[1][:5] == (1, 2, window, 3, 4.5)
    assert len(records) == 3
    assert ledger.repaired == {repair: 1}
    assert ledger.dropped == {}


def test_the_byte_that_hides_commas_may_stand_in_a_window() -> None:
    raw = b'1,2,"a\x01,b",3,4.5,1,1757425262123\n' * 3
    assert fast(raw) is None
    assert read(raw) == [(1, 2, "a\x01,b", 3, 4.5, 1, EPOCH)] * 3
    mixed = GOOD * 99 + b'3,4,"a,b",12,9,1,1757425262123\n' + raw[: len(raw) // 3]
    quick = fast(mixed)
    assert quick is not None  # one odd line among many is judged by itself
    assert quick == by_line(mixed)
    assert [row[2] for row in quick[0][-2:]] == ["a,b", "a\x01,b"]


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (b'1,2,"so', "cut short"),
        (b"1,2,", "cut short"),
        (GOOD[:-5], "cut short"),
        (b"1", "not a record"),
    ],
)
def test_a_cut_off_last_line_is_dropped_and_counted(cut: bytes, reason: str) -> None:
    records, ledger = parse_rel(GOOD * 20 + cut, "f.csv")
    assert rows(records) == read(GOOD) * 20
    assert ledger.to_dict()["dropped"] == {reason: 1}
    assert (ledger.seen, ledger.kept) == (21, 20)


def test_an_open_window_does_not_swallow_the_next_record() -> None:
    records, ledger = parse_rel(GOOD * 10 + b'1,2,"so\n' + GOOD * 10, "f.csv")
    assert rows(records) == read(GOOD) * 20
    assert ledger.dropped == {"cut short": 1}


@pytest.mark.parametrize("parse", [parse_rel, parse_abs])
def test_an_empty_file_has_no_records(parse: Any) -> None:
    records, ledger = parse(b"", "f.csv")
    assert len(records) == ledger.seen == 0


DAMAGE = [
    b"1,2,,,nan,1,1757425262123",
    b"nan,2,,,3,1,1757425262123",
    b"1,inf,,,3,1,1757425262123",
    b"1,2,,,1e999,1,1757425262123",
    b"1,2,,,1e300,1,1757425262123",
    b"1,2,," + b"9" * 400 + b",3,1,1757425262123",
    b"1,2,,99999999999,3,1,1757425262123",
    b"1,2,,2147483648,3,1,1757425262123",
    b"1,2,,-,3,1,1757425262123",
    b"1,2,,4.5,3,1,1757425262123",
    b"1,2,,4,3,2,1757425262123",
    b"1,2,,4,3,1,-757425262123",
    b"1,2,,4,3,1, 757425262123",
    b"1,2,,4,3,1,17574252621234",
    b"1,2,,4,3,1,175742526212",
    b"1,2,,4,3,1,175742526212x",
    b",2,,4,3,1,1757425262123",
    b"1,2,,4,,1,1757425262123",
    b"0x10,2,,4,3,1,1757425262123",
    b"1,2",
    b"",
]


@pytest.mark.parametrize("line", DAMAGE)
def test_nonsense_between_good_lines_is_dropped_and_counted(line: bytes) -> None:
    records, ledger = parse_rel(GOOD * 10 + line + b"\n" + GOOD * 10, "f.csv")
    assert ledger.seen == 21
    assert ledger.kept == len(records) == 20
    assert sum(ledger.dropped.values()) == 1
    assert rows(records) == read(GOOD) * 20
    with pytest.raises(
        TableError, match=r"^f\.csv: line 1 is .*1 of 1 lines are not records.*Get it"
    ):
        parse_rel(line + b"\n", "f.csv")


ABS_GOOD = b"12.5,-3,1234.5,1757425262123\n"


def abs_rows(records: AbsRecords) -> list[tuple[float, ...]]:
    columns = (records.x, records.y, records.page_ms, records.epoch_ms)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def abs_by_line(raw: bytes) -> tuple[AbsRecords, Ledger]:
    ledger = Ledger("f.csv")
    return parse_abs_lines(raw, "f.csv", ledger), ledger


def test_viewport_files() -> None:
    raw = ABS_GOOD + b"-1,-1,7,1757425262124\n8e-5,1,2,1757425262125"
    records, ledger = parse_abs(raw, "f.csv")
    expected = [(12.5, -3, 1234.5, EPOCH), (-1, -1, 7, EPOCH + 1), (8e-5, 1, 2, EPOCH + 2)]
    assert abs_rows(records) == expected
    assert (ledger.seen, ledger.kept) == (3, 3)
    slow = parse_abs_lines(raw, "f.csv", Ledger("f.csv"))
    assert abs_rows(slow) == expected
    records, ledger = parse_abs(raw.replace(b"\n", b"\r\n"), "f.csv")
    assert abs_rows(records) == expected
    assert ledger.kept == 3


@pytest.mark.parametrize(
    "line",
    [
        b"nan,2,3,1757425262123",
        b"1,2,inf,1757425262123",
        b"1,2,1e999,1757425262123",
        b"1,2,1e300,1757425262123",
        b"1,2,3,17574252621",
        b"1,2,3,-757425262123",
        b"1,2,3,99999999999999999999999",
        b"1,2,3,4,1757425262123",
        b"1,,3,1757425262123",
        b"1,2,3,17574",
        b"",
    ],
)
def test_a_damaged_viewport_line_is_dropped_and_counted(line: bytes) -> None:
    records, ledger = parse_abs(ABS_GOOD * 10 + line + b"\n" + ABS_GOOD * 10, "f.csv")
    assert len(records) == ledger.kept == 20
    assert ledger.seen == 21
    with pytest.raises(TableError, match=r"^f\.csv: line 1 is"):
        parse_abs(line + b"\n", "f.csv")


@pytest.mark.parametrize("parse", [parse_rel, parse_abs])
@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_are_an_error_that_names_file_and_line(parse: Any, seed: int) -> None:
    raw = random.Random(seed).randbytes(3000 * seed + 10)
    with pytest.raises(
        TableError, match=r"^w/3/f\.csv: line \d+ is b.*expected lines of the form x,y,"
    ):
        parse(raw, "w/3/f.csv")


def test_the_first_bad_line_is_named() -> None:
    with pytest.raises(TableError, match=r"f\.csv: line 3 is b'rubbish', and 2 of 4 lines"):
        parse_rel(GOOD * 2 + b"rubbish\n" * 2, "f.csv")
    with pytest.raises(TableError, match=r"f\.csv: line 2 is b'rubbish', and 1 of 2 lines"):
        parse_abs(ABS_GOOD + b"rubbish\n", "f.csv")


def test_another_table_is_an_error() -> None:
    with pytest.raises(TableError):
        parse_rel(b"user_id,task_id,summary\nw1,3,hello\n", "f.csv")
    with pytest.raises(TableError):
        parse_rel(ABS_GOOD * 9, "f.csv")
    with pytest.raises(TableError):
        parse_abs(GOOD * 9, "f.csv")


@pytest.mark.parametrize(
    "unit", [b'"', b",", b'",', b'1,2,"\n', b"9", b"1,2,3,4,5,\n", b'1,2,",1,1,1,\n']
)
def test_hostile_repetition_takes_no_long_time(unit: bytes) -> None:
    raw = b'1,2,"' + unit * (60_000 // len(unit))
    start = time.process_time()
    with pytest.raises(TableError):
        parse_rel(raw, "f.csv")
    assert time.process_time() - start < 5  # it takes well under a second; quadratic takes minutes


# --- any table of ticks written in the release's format is read back the same ---

# Windows of up to 20 characters: everything but lone surrogates; the awkward ones more often.
CHARACTERS = st.one_of(
    st.sampled_from(list('",\n\r\x01\x00 ab17.🦊é￾\u2028')),
    st.characters(exclude_categories=("Cs",)),
)
WINDOWS = st.one_of(st.none(), st.text(CHARACTERS, max_size=20))
NUMBERS = st.one_of(
    st.just(-1.0),
    st.integers(-3000, 3000).map(float),
    st.floats(-3000, 3000).map(lambda v: round(v, 2)),
    st.floats(-1e-3, 1e-3),
)
TIMES = st.one_of(st.integers(0, 10**7).map(float), st.floats(0, 1e7))
TICKS = st.tuples(
    NUMBERS,
    NUMBERS,
    WINDOWS,
    st.integers(-1, 10**9 - 1),
    TIMES,
    st.integers(0, 1),
    st.integers(10**12, 10**13 - 1),
)


def number(value: float) -> str:
    """Write a number as JavaScript does, near enough: no trailing `.0`."""
    return str(int(value)) if value == int(value) else repr(value)


def line(row: Row, *, camera: bool) -> str:
    x, y, window, caret, page_ms, flag, epoch = row
    text = "" if window is None else f'"{window}"'
    place = "" if caret < 0 else caret
    shown = f"{flag}," if camera else ""
    return f"{number(x)},{number(y)},{text},{place},{number(page_ms)},{shown}{epoch}\n"


def ambiguous(window: str | None) -> bool:
    """Tell windows apart that contain a record's end, or a whole record: no grammar can."""
    return window is not None and re.search(r"\d{13}", window) is not None


@settings(max_examples=150, deadline=None)
@given(st.lists(TICKS, max_size=12), st.booleans(), st.booleans())
@example([(1, 2, "x\n1,2,y", 3, 4.5, 1, EPOCH)], True, True)
@example([(1, 2, "\r", 3, 4.5, 1, EPOCH)] * 3, True, True)
@example([(1, 2, '"', 3, 4.5, 0, EPOCH)], False, True)
def test_any_ticks_are_read_back_the_same(table: list[Row], camera: bool, last: bool) -> None:
    assume(not any(ambiguous(row[2]) for row in table))
    raw = "".join(line(row, camera=camera) for row in table).encode()
    if not last:
        raw = raw[:-1]
    expected = [row if camera else (*row[:5], -1, row[6]) for row in table]
    records, ledger = parse_rel(raw, "f.csv")
    assert rows(records) == expected
    ledger.check()
    assert (ledger.seen, ledger.kept, ledger.dropped) == (len(table), len(table), {})
    broken = sum("\n" in (row[2] or "") for row in table)
    assert ledger.repaired == ({"line break inside the window": broken} if broken else {})
    if raw:
        assert by_line(raw) == (expected, ledger)
        assert fast(raw) in (None, (expected, ledger))


@settings(max_examples=80, deadline=None)
@given(st.lists(TICKS, min_size=1, max_size=12), st.booleans())
def test_the_fast_pass_takes_whatever_has_no_break_in_a_window(
    table: list[Row], camera: bool
) -> None:
    plain = [
        (
            *row[:2],
            re.sub(r"[\n\r\x01]", " ", row[2]) if row[2] is not None else None,
            *row[3:4],
            row[4] + 10,
            *row[5:],
        )
        for row in table
    ]
    expected = [row if camera else (*row[:5], -1, row[6]) for row in plain]
    assert both("".join(line(row, camera=camera) for row in plain).encode()) == expected


@settings(max_examples=80, deadline=None)
@given(st.lists(TICKS, max_size=12), st.booleans())
def test_any_viewport_positions_are_read_back_the_same(table: list[Row], last: bool) -> None:
    raw = "".join(f"{number(r[0])},{number(r[1])},{number(r[4])},{r[6]}\n" for r in table).encode()
    raw = raw if last else raw[:-1]
    expected = [(r[0], r[1], r[4], r[6]) for r in table]
    records, ledger = parse_abs(raw, "f.csv")
    assert abs_rows(records) == expected
    assert (ledger.seen, ledger.kept) == (len(table), len(table))
    if raw:
        assert abs_rows(parse_abs_lines(raw, "f.csv", Ledger("f"))) == expected


DAMAGING_BYTES = [
    b"",
    b",",
    b'"',
    b"\n",
    b"\r",
    b"5",
    b"0",
    b".",
    b"+",
    b"-",
    b"e",
    b" ",
    b"x",
    b"\xff",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TICKS.map(lambda row: line(row, camera=True).encode()), min_size=1, max_size=8),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from(DAMAGING_BYTES),
        ),
        max_size=6,
    ),
    st.booleans(),
)
@example([GOOD * 7, GOOD.replace(b"1234.5", b"1234.")], [], False)
@example([GOOD * 7, GOOD.replace(b"1234.5", b"+.5 ")], [], False)
def test_damaged_bytes_are_kept_or_counted_and_both_ways_agree(
    lines: list[bytes], damage: list[tuple[float, bytes]], replace: bool
) -> None:
    raw = b"".join(lines)
    for place, piece in damage:
        at = int(place * len(raw))
        raw = raw[:at] + piece + raw[at + replace :]
    try:
        records, ledger = parse_rel(raw, "f.csv")
    except TableError as error:
        assert str(error).startswith("f.csv: line ")
        return
    ledger.check()
    assert ledger.kept == len(records) == len(records.window)
    assert np.isfinite([records.x, records.y, records.page_ms]).all()
    assert ((records.epoch_ms >= 0) & (records.epoch_ms < 10**13)).all()
    assert set(records.camera.tolist()) <= {-1, 0, 1}
    if raw:
        assert (rows(records), ledger) == by_line(raw)
        assert fast(raw) in (None, (rows(records), ledger))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TICKS, min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(DAMAGING_BYTES)), max_size=6),
    st.booleans(),
)
@example([(-1.0, -1.0, None, 0, 0.0, 0, EPOCH)], [(0.0, b"\r")], False)
def test_damaged_viewport_positions_are_kept_or_counted_and_both_ways_agree(
    table: list[Row], damage: list[tuple[float, bytes]], replace: bool
) -> None:
    raw = "".join(f"{number(r[0])},{number(r[1])},{number(r[4])},{r[6]}\n" for r in table).encode()
    for place, piece in damage:
        at = int(place * len(raw))
        raw = raw[:at] + piece + raw[at + replace :]
    ways: list[Any] = []
    for parse in (lambda: parse_abs(raw, "f.csv"), lambda: abs_by_line(raw)):
        try:
            records, ledger = parse()
            ways.append((abs_rows(records), ledger))
        except TableError as error:
            ways.append(str(error))
    assert ways[0] == ways[1]


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_an_error(raw: bytes) -> None:
    for parse in (parse_rel, parse_abs):
        try:
            records, ledger = parse(raw, "f.csv")
        except TableError:
            continue
        ledger.check()
        assert ledger.kept == len(records)
