"""The file of results: a line for every cell that is done, added by any number of processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifllm_hf.append_file import AppendFile
from ifllm_hf.errors import DataError, OutputError

Record = dict[str, Any]
_PATIENCE_S = 60


def read_results(file: Path) -> dict[str, Record]:
    """Return the records of a file by their key; none where there is no file.

    A line that a kill cut off is left out.

    Raises:
        DataError: A whole line is no record.
    """
    if not file.exists():
        return {}
    found = {}
    lines = file.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                record = json.loads(line)
                found[record["key"]] = record
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise DataError(
                f"{file}: line {number} is no result of a cell ({error}); remove the line, and the "
                "cell runs again"
            ) from error
    return found


def add_result(file: Path, record: Mapping[str, Any], out: Path) -> None:
    """Append a record; another process that is writing is waited for.

    Args:
        file: The file of results.
        record: With its `key`.
        out: The output folder, which holds the lock.

    Raises:
        OutputError: It cannot be written, or is held for a minute.
    """
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / "results.lock", timeout=_PATIENCE_S), AppendFile(file) as lines:
            lines.add(dict(record))
    except Timeout as error:
        raise OutputError(
            f"{file}: another process has held it for {_PATIENCE_S} s; run the same command again"
        ) from error
