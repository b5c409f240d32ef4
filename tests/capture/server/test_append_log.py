"""The file of a session by itself: what is cut off it, and what an open one knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.capture.server.append_log import AppendLog, repair

FIRST = b'{"type":"session"}\n'


def batch(seq: str, tab: str = '"t"') -> bytes:
    return f'{{"type":"batch","tab":{tab},"seq":{seq}}}\n'.encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s_1.jsonl"


# A line is looked for from the end, 65,536 bytes at a time.
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("whole", [b"", FIRST, FIRST + batch("0")])
def test_repair_cuts_off_what_has_no_end_keeps_it_and_says_how_much(
    path: Path, whole: bytes, size: int
) -> None:
    tail = b"x" * size
    path.write_bytes(whole + tail)
    assert repair(path) == size
    assert path.read_bytes() == whole
    kept = {file.name: file.read_bytes() for file in path.parent.glob("quarantine/*")}
    assert kept == ({f"s_1.{len(whole)}.torn": tail} if size else {})
    assert repair(path) == 0


@pytest.mark.parametrize("first", [b"\n", b"7\n", b"[]\n", b"{}\n", batch("0"), b"\xff\n"])
def test_what_begins_with_no_consent_is_left_as_it_is(path: Path, first: bytes) -> None:
    path.write_bytes(first + FIRST + b"torn")
    with pytest.raises(OSError, match="its first line is no consent"):
        repair(path)
    assert path.read_bytes() == first + FIRST + b"torn"


def test_what_is_no_file_is_told_from_what_is_not_there(path: Path) -> None:
    with pytest.raises(OSError, match="it is not there"):
        repair(path)
    path.mkdir()
    with pytest.raises(OSError, match="it is no file"):
        repair(path)


def test_an_open_file_knows_where_each_batch_ends(path: Path) -> None:
    lines = [FIRST, batch("0"), b'{"type":"end"}\n', batch("2.0"), batch("10000000"), batch("1")]
    path.write_bytes(b"".join(lines))
    log = AppendLog(path)
    ends = {0: 1, 2: 3, 10_000_000: 4, 1: 5}  # sequence number: its line
    for seq, line in ends.items():
        assert log.batches.end_of("t", seq) == len(b"".join(lines[: line + 1]))
    assert log.size == path.stat().st_size
    assert log.append([batch("3"), batch("4")]) == [log.size - len(batch("4")), log.size]
    log.close()
    assert path.read_bytes() == b"".join([*lines, batch("3"), batch("4")])


@pytest.mark.parametrize("seq", ["-1", "10000001", '"1"', "null", "[1]"])
def test_a_batch_without_a_number_of_its_own_may_come_again(path: Path, seq: str) -> None:
    path.write_bytes(FIRST + batch(seq) + batch("1", tab="1"))
    log = AppendLog(path)
    log.close()
    numbers = (-1, 0, 1, 10_000_001)
    assert [log.batches.end_of("t", number) for number in numbers] == [None] * 4


def test_what_is_taken_back_is_neither_there_nor_known(path: Path) -> None:
    path.write_bytes(FIRST)
    log = AppendLog(path)
    for seq in (0, 1):
        (end,) = log.append([batch(str(seq))])
        log.batches.add("t", seq, end)
    log.cut_to(len(FIRST + batch("0")))
    assert path.read_bytes() == FIRST + batch("0")
    assert log.size == log.batches.end_of("t", 0) == len(FIRST + batch("0"))
    assert log.batches.end_of("t", 1) is None
    assert log.append([batch("1")]) == [path.stat().st_size]
    log.close()
