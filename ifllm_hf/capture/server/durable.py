"""Files that outlive a crash of the machine once they are written."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stored:
    """The answer to a line that is on disk.

    Attributes:
        duplicate: It was there before; nothing was written.
        durable: It will outlive this machine: pushed to the Hub, or no Hub is configured.
    """

    duplicate: bool
    durable: bool


def write_durably(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a new file, so that it is there, whole, once this returns.

    Raises:
        OSError: It cannot be written; an earlier file stays as it was, and nothing beside it.
    """
    part = path.with_name(path.name + ".part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
