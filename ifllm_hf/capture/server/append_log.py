"""The file of one session: JSON lines, appended in one write, repaired after a crash."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from ifllm_hf.capture.server.batch_index import BatchIndex
from ifllm_hf.capture.server.durable import write_durably

QUARANTINE = "quarantine"
_BATCH = b'{"type":"batch"'


def repair(path: Path) -> int:
    """Cut off a last line that a crash left unfinished, and keep it in `quarantine/`.

    A line without its newline was never acknowledged, so nothing that anybody relies on goes.

    Returns:
        How many bytes were cut.

    Raises:
        OSError: It is no file, cannot be opened, or does not begin with a consent.
    """
    if not path.is_file():  # a pipe would let us wait for ever
        raise OSError(errno.EINVAL, "it is no file" if path.exists() else "it is not there")
    with open(path, "rb+") as file:
        first = file.readline()
        size = file.seek(0, os.SEEK_END)
        end = _end_of_last_line(file.fileno(), size)
        if end and not _is_consent(first):
            raise OSError(errno.EILSEQ, "its first line is no consent")
        if end == size:
            return 0
        file.seek(end)
        tail = file.read()
        quarantine = path.parent / QUARANTINE
        quarantine.mkdir(exist_ok=True)
        write_durably(quarantine / f"{path.stem}.{end}.torn", tail)
        file.truncate(end)
        os.fsync(file.fileno())
    return size - end


def _is_consent(line: bytes) -> bool:
    try:
        return bool(orjson.loads(line)["type"] == "session")
    except (ValueError, KeyError, TypeError):
        return False


def _key_of(line: bytes) -> tuple[str, int] | None:
    try:
        batch = orjson.loads(line)
        tab, seq = batch["tab"], batch["seq"]
    except (ValueError, KeyError, TypeError):
        return None
    fits = isinstance(tab, str) and isinstance(seq, (int, float)) and 0 <= seq <= 10**7
    return (tab, int(seq)) if fits else None


def _end_of_last_line(handle: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class AppendLog:
    """An open session file and what is in it. Used by one thread at a time.

    Attributes:
        size: Bytes, all of them whole lines.
        batches: Which batches are in it.
    """

    def __init__(self, path: Path) -> None:
        """Open an existing file, repair its tail and learn which batches it holds.

        A line that is damaged counts as no batch: its browser may send it again.

        Raises:
            OSError: See `repair`.
        """
        repair(path)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.size = 0
        self.batches = BatchIndex()
        with open(path, "rb") as file:
            for line in file:
                self.size += len(line)
                if line.startswith(_BATCH) and (key := _key_of(line)):
                    self.batches.add(*key, self.size)

    def append(self, lines: Sequence[bytes]) -> list[int]:
        """Append lines with a single write; they are durable after `sync`.

        Returns:
            The size of the file after each line.

        Raises:
            OSError: Nothing of it is in the file.
        """
        data = b"".join(lines)
        try:
            written = os.write(self._handle, data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
        except OSError:
            self.cut_to(self.size)
            raise
        ends = []
        for line in lines:
            self.size += len(line)
            ends.append(self.size)
        return ends

    def sync(self) -> None:
        """Return once everything appended is on disk."""
        os.fdatasync(self._handle)

    def cut_to(self, size: int) -> None:
        """Take back what was appended and never acknowledged."""
        os.ftruncate(self._handle, size)
        self.size = size
        self.batches.cut_to(size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
