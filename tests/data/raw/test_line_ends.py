"""Tables whose lines another system or tool ended, against the tables as they were."""

from __future__ import annotations

import csv
import io

import pytest

from ifllm_hf.data.raw.csv_tables import read_csv_table
from ifllm_hf.errors import TableError

NAMES = ("id", "text")
TEXTS = ["one", "two\nlines", 'para\n\ngraph, of "three"\n\n', "", "\n", "last\none"]


def table(texts: list[str], end: str = "\n") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([NAMES, *enumerate(texts)])
    return out.getvalue().encode()


def read(raw: bytes) -> tuple[list[str], list[bool], dict[str, int]]:
    frame, ledger = read_csv_table(raw, "t.csv", NAMES)
    return frame["text"].to_list(), frame["line_ends"].to_list(), dict(ledger.repaired)


def test_a_converted_table_has_its_texts_back_and_says_so() -> None:
    broken = ["\n" in text for text in TEXTS]
    found = read(table(TEXTS).replace(b"\n", b"\r\n"))
    assert found == (TEXTS, broken, {"line_ends": sum(broken)})
    without_last = table(TEXTS).replace(b"\n", b"\r\n")[:-2]
    assert read(without_last) == found


def test_a_table_converted_in_part_has_its_texts_back() -> None:
    whole = table(TEXTS)
    at = whole.index(b'"3",')
    head, tail = whole[:at], whole[at:]
    for raw in (head.replace(b"\n", b"\r\n") + tail, head + tail.replace(b"\n", b"\r\n")):
        texts, mended, _ = read(raw)
        assert texts == TEXTS
        assert 0 < sum(mended) < sum("\n" in text for text in TEXTS)


def test_a_conversion_that_broke_off_inside_a_text_is_mended_or_refused() -> None:
    whole = table(TEXTS)
    at = whole.index(b"graph")
    assert read(whole[:at].replace(b"\n", b"\r\n") + whole[at:])[0] == TEXTS
    with pytest.raises(TableError, match=r"t\.csv"):
        read(whole[:at] + whole[at:].replace(b"\n", b"\r\n"))


def test_a_table_converted_twice_has_the_returns_back_that_it_had() -> None:
    own = ["a\r\nb", *TEXTS]
    texts, _, _ = read(table(own).replace(b"\n", b"\r\n"))
    assert texts == own


def test_a_csv_writer_that_ends_records_with_crlf_changes_no_text() -> None:
    assert read(table(TEXTS, "\r\n")) == (TEXTS, [False] * len(TEXTS), {})
    many = ["a\nb"] * 40 + ["own\r\none"]  # the release has such a one in a thousand
    assert read(table(many, "\r\n"))[0] == many


def test_returns_of_the_texts_stay_where_records_end_with_lf() -> None:
    texts = ["a\r\nb", "c\nd\r\n"]
    assert read(table(texts)) == (texts, [False, False], {})


def test_a_return_alone_inside_a_text_is_a_line_break() -> None:
    broken = "two\nlines\n\nmore"
    assert read(table(["one", broken.replace("\n", "\r")])) == (
        ["one", broken],
        [False, True],
        {"line_ends": 1},
    )


def test_a_table_that_cannot_be_told_is_refused() -> None:
    texts = ["a\nb\nc"] * 8
    lines = table(texts).splitlines()
    mixed = b"".join(x + (b"\r\n" if i % 4 else b"\n") for i, x in enumerate(lines))
    with pytest.raises(TableError, match=r"t\.csv.* LF alone"):
        read(mixed)
    with pytest.raises(TableError, match="return"):
        read(table(texts).replace(b"\n", b"\r"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_an_error_that_names_the_file(encoding: str) -> None:
    with pytest.raises(TableError, match=r"^t\.csv, line"):
        read(table(TEXTS).decode().encode(encoding))
