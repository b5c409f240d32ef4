"""A file of results that survives a kill: one JSON object a line, added as soon as it is known."""

from __future__ import annotations

import errno
import json
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from ifllm_hf.errors import DataError, OutputError
from ifllm_hf.files import held


class AppendFile:
    """Records by their `key`, on disk; what is there is not done again.

    A line that was cut off by a kill is dropped when the file is opened. Of two records with one
    key the later counts. One process at a time (a lock file beside it); its threads may share it.

    Attributes:
        path: The `.jsonl` file.
        records: What it holds, by key.
    """

    def __init__(self, path: Path | str) -> None:
        """Name the file; `with` opens it."""
        self.path = Path(path)
        self.records: dict[str, dict[str, Any]] = {}
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        """Lock, read and open for appending.

        Raises:
            OutputError: Another process has it, or it cannot be written.
            DataError: A whole line is not one of our records.
        """
        busy = f"{self.path} is in use by another run; wait for it, or choose another folder"
        with ExitStack() as stack:
            stack.enter_context(held(self.path, busy))
            self._read()
            # Unbuffered: what a full disk did not take is not tried again on closing.
            self._file = self.path.open("ab", buffering=0)
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close and unlock."""
        self._file.close()
        self._lock.close()

    def add(self, record: dict[str, Any]) -> None:
        """Append a record that has a `key`; it is on its way to the disk on return.

        Raises:
            OutputError: The disk is full; what was added before is whole.
        """
        # Half an emoji has no UTF-8: it is written as its JSON escape, and read back as it was.
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._writing:
            try:
                if self._file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise OutputError(
                    f"{self.path}: cannot be written ({error}); what was added before is whole: "
                    "free some space and run the same command again"
                ) from error
            self.records[record["key"]] = record

    def _read(self) -> None:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            # What a crashed machine left in place of a block, and what editors add.
            line = line.strip(b"\0 \t").removeprefix(b"\xef\xbb\xbf")
            if not line:
                continue
            try:
                record = json.loads(line)
                self.records[record["key"]] = record
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}: line {number} is not a record with a 'key' ({error}); remove "
                    "the line, or choose another folder"
                ) from error
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
