from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import (
    TABLE_COLUMNS,
    decimal_numbers,
    instants,
    keep_all,
    read_csv_table,
    require,
    whole_numbers,
)
from ifllm_hf.errors import TableError

NAMES = ("id", "text")
MORE = {"line": pl.Int64, "line_ends": pl.Boolean}


def read(raw: bytes, columns: tuple[str, ...] = NAMES) -> pl.DataFrame:
    return read_csv_table(raw, "t.csv", columns)[0]


def column(*cells: str) -> pl.DataFrame:
    return pl.DataFrame({"c": list(cells), "line": range(2, 2 + len(cells))})


def test_line_breaks_quotes_and_commas_stay_inside_a_field() -> None:
    frame, ledger = read_csv_table(b'id,text\n1,"a, ""b""\r\nc\n"\n2,d\r\n', "t.csv", NAMES)
    assert frame.select(NAMES).rows() == [("1", 'a, "b"\r\nc\n'), ("2", "d")]
    assert frame["line"].to_list() == [2, 5]
    assert ledger.to_dict() == {
        "seen": 2,
        "kept": 2,
        "repaired": 0,
        "repaired_by": {},
        "dropped": {},
    }


def test_empty_lines_are_counted_not_kept() -> None:
    frame, ledger = read_csv_table(b"id,text\n\n1,a\n\r\n2,b\n\n", "t.csv", NAMES)
    assert frame["line"].to_list() == [3, 5]
    assert (ledger.seen, ledger.kept, ledger.dropped) == (5, 2, {"empty_line": 3})


def test_last_field_may_be_empty_or_lack_a_line_break() -> None:
    assert read(b"id,text\n1,")["text"].to_list() == [""]
    assert read(b'id,text\n1,""')["text"].to_list() == [""]
    assert read(b"id,text\n1,x")["text"].to_list() == ["x"]


def test_byte_order_mark_other_columns_and_order_do_not_matter() -> None:
    assert read(b"\xef\xbb\xbftext,more,id\nx,y,1\n").rows() == [("1", "x", 2, False)]


def test_a_table_without_records_keeps_its_columns() -> None:
    frame = read(b"id,text\n")
    assert frame.schema == {"id": pl.String, "text": pl.String, **MORE}
    assert frame.height == 0


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "t.csv: the file is empty"),
        (b"id\n1\n", "t.csv, line 1: no column 'text'; found: 'id'"),
        (b"id,text,id\n", "t.csv, line 1: column 'id' is there more than once"),
        (
            b'id,text\n1,"a\nb"\n2,b,c\n',
            "t.csv, line 4: a record of 3 fields, but the header has 2",
        ),
        (b"id,text\n1,a\n2\n", "t.csv, line 3: a record of 1 fields"),
        (b'id,text\n1,a\n2,"b\nc\n', "t.csv, line 3: field 2 .* not closed"),
        (b'id,text\n1,"a"b\n', "t.csv, line 2: field 2"),
        (b'id,text\n1,a"b\n', "t.csv, line 2: field 2"),
        (b'id,text\n1,"a\n\xff"\n', "t.csv, line 3: byte 0xff is not UTF-8"),
        (b"id,text\n1,a\n2,\xe4\n", "t.csv, line 3: byte 0xe4 is not UTF-8"),
        (b"\x00\x01\x02", "t.csv, line 1: no column"),
    ],
)
def test_damage_is_named_by_file_and_line(raw: bytes, says: str) -> None:
    with pytest.raises(TableError, match=says):
        read(raw)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_never_a_crash(raw: bytes) -> None:
    with pytest.raises(TableError):
        read_csv_table(raw, "t.csv", ("query_ID", "user_id"))


# Of returns, those that a text can keep: behind a record that ends with LF, and before a LF.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r")
cells = st.lists(st.one_of(characters, st.just("\r\n")), max_size=12).map("".join)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(cells, cells), max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_any_table_of_texts_is_read_back_the_same(
    rows: list[tuple[str, str]], end: str, quoting: int
) -> None:
    if end == "\r\n":
        rows = [(a.replace("\r\n", "\n"), b.replace("\r\n", "\n")) for a, b in rows]
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(NAMES)
    writer.writerows(rows)
    frame, ledger = read_csv_table(out.getvalue().encode(), "t.csv", NAMES)
    assert frame.select(NAMES).rows() == rows
    assert (ledger.seen, ledger.kept, ledger.repaired) == (len(rows), len(rows), {})
    expected = 2
    for line, row in zip(frame["line"], rows, strict=True):
        assert line == expected
        expected += 1 + "".join(row).count("\n")


@settings(deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=6), st.integers(0, 400))
def test_a_cut_file_never_gives_a_text_that_was_not_there(
    rows: list[tuple[str, str]], at: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(rows)
    try:
        frame = read(out.getvalue().encode()[:at])
    except TableError:
        return
    read_back = frame.select(NAMES).rows()
    assert read_back[:-1] == rows[: max(frame.height - 1, 0)]
    # Cut between the two quotes of a doubled one, the last text is a shorter one, and no error.
    for cell, whole in zip(*read_back[-1:], *rows[frame.height - 1 : frame.height], strict=False):
        assert whole.startswith(cell)


def test_whole_numbers() -> None:
    frame = column("4", "4.0", "", "-2")
    assert whole_numbers(frame, "c", "f.csv").to_list() == [4, 4, None, -2]


@pytest.mark.parametrize("cell", ["x", "4.5", " 4", "nan", "1e3", "4.", "9" * 30])
def test_whole_numbers_take_nothing_else(cell: str) -> None:
    with pytest.raises(TableError, match=r"f\.csv, line 3: 'c' is .*, expected a whole number\. "):
        whole_numbers(column("1", cell), "c", "f.csv")


def test_whole_numbers_stay_in_their_bounds() -> None:
    with pytest.raises(TableError, match=r"line 3: 'c' is '6' \(and 1 more\).* from 1 to 5"):
        whole_numbers(column("5", "6", "0"), "c", "f.csv", low=1, high=5)
    with pytest.raises(TableError, match="line 2: 'c' is ''"):
        whole_numbers(column(""), "c", "f.csv", required=True)


def test_decimal_numbers() -> None:
    assert decimal_numbers(column("71.5", "", "80"), "c", "f.csv").to_list() == [71.5, None, 80.0]
    with pytest.raises(TableError, match="line 2: 'c' is 'inf'"):
        decimal_numbers(column("inf"), "c", "f.csv")


def test_instants_tell_zero_dates_from_missing_ones() -> None:
    frame = column("2025-11-18 03:24:10", "", "0000-00-00 00:00:00")
    times, zero = instants(frame, "c", "f.csv")
    assert times.dtype == pl.Datetime("us", "UTC")
    assert times.dt.to_string("iso:strict").to_list()[0].startswith("2025-11-18T03:24:10")
    assert times.to_list()[1:] == [None, None]
    assert zero.to_list() == [False, False, True]
    with pytest.raises(TableError, match="line 2: 'c' is '18.11.2025'"):
        instants(column("18.11.2025"), "c", "f.csv")


def test_require() -> None:
    require(column("a"), "c", "f.csv")
    with pytest.raises(TableError, match="line 3: 'c' is ''"):
        require(column("a", ""), "c", "f.csv")


def test_a_row_with_two_repairs_counts_once() -> None:
    ledger = Ledger("t")
    masks = {"x": pl.Series([True, True, False]), "y": pl.Series([True, False, False])}
    keep_all(ledger, 3, {"y": masks["y"], "x": masks["x"]})
    ledger.check()
    assert (ledger.kept, ledger.repaired) == (3, {"y": 1, "x": 1})


def test_release_tables_are_read_as_the_csv_module_reads_them(
    release_bytes: dict[str, bytes],
) -> None:
    rows = {}
    for name, columns in TABLE_COLUMNS.items():
        frame, ledger = read_csv_table(release_bytes[name], name, columns)
        reference = csv.reader(io.StringIO(release_bytes[name].decode(), newline=""), strict=True)
        assert [list(columns), *map(list, frame.select(columns).rows())] == list(reference)
        assert ledger.seen == ledger.kept == frame.height
        rows[name] = frame.height
    assert list(rows.values()) == [1691, 1336, 258]
