"""A shard: many closed sessions in one Parquet file, a row each.

`content` is a session's file, byte for byte, whatever its schema version; `first_line` is repeated
beside it, so that a listing reads no more, and the footer says which sessions there are. A shard is
named by its content and never changes: what is to be another is written anew under another name.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ifllm_hf.errors import OutputError, SourceError
from ifllm_hf.files import PART, digest, file_digest
from ifllm_hf.remote_path import Place, RemotePath

SHARD_NAME = re.compile(r"packed-[0-9a-f]{16}\.parquet", re.ASCII)
_INDEX = b"ifllm.sessions"
_GROUP_BYTES = 8 * 2**20  # of sessions: to read one, so much is unpacked
_KEPT_BYTES = 32 * 2**20  # of what was unpacked last: neighbours are read one after the other
_SCHEMA = pa.schema(
    [
        ("session_id", pa.string()),
        ("n_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("first_line", pa.binary()),
        ("content", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class PackedSession:
    """Where a session lies in a shard; it is read as a file of its own is.

    Attributes:
        shard: The shard.
        session_id: The session.
        row: Its row.
        n_bytes: Of its file.
    """

    shard: Shard
    session_id: str
    row: int
    n_bytes: int

    def __str__(self) -> str:
        """Name shard and session."""
        return f"{self.shard.path}, session {self.session_id}"

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.session_id}.jsonl"

    @property
    def stem(self) -> str:
        """Its id."""
        return self.session_id

    def read_bytes(self) -> bytes:
        """Return its file; raise FileNotFoundError if the shard is gone."""
        return self.shard.read(self)

    def read_line(self) -> bytes:
        """Return the first line of its file."""
        return self.read_bytes().partition(b"\n")[0] + b"\n"

    def exists(self) -> bool:
        """Tell whether the shard is there."""
        return self.shard.path.exists()


class Unpacked:
    """What was unpacked last of any shards, up to some megabytes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()

    def get(self, shard: Shard, group: int) -> pa.Table:
        """Return a row group of a shard."""
        key = str(shard.path), group
        if key not in self._groups:
            self._groups[key] = shard.read_group(group)
            while len(self._groups) > 1 and self._n_bytes() > _KEPT_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def _n_bytes(self) -> int:
        return sum(table.nbytes for table in self._groups.values())


class Shard:
    """An open shard; its footer was read, and nothing is kept open.

    Attributes:
        path: The file.
        sessions: Those in it, in the order of the rows.
    """

    def __init__(self, path: Place, unpacked: Unpacked | None = None) -> None:
        """Read the footer.

        Raises:
            FileNotFoundError: It is gone.
            SourceError: It is no whole shard, or cannot be read.
        """
        self.path = path
        self._unpacked = unpacked or Unpacked()
        with self._opened() as parquet:
            metadata = parquet.metadata
            try:
                listed = json.loads((metadata.metadata or {})[_INDEX])
                self.sessions = [
                    PackedSession(self, session_id, row, n_bytes)
                    for row, (session_id, n_bytes) in enumerate(listed)
                ]
            except (KeyError, ValueError, TypeError) as error:
                raise SourceError(
                    f"{path}: is no shard of sessions ({error!r}). Expected what `ifllm pack` "
                    "writes: move it elsewhere."
                ) from error
            self._starts = [0]
            for group in range(metadata.num_row_groups):
                self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
            if self._starts[-1] != len(self.sessions):
                raise self._damaged(f"{self._starts[-1]} rows, {len(self.sessions)} sessions")

    def read(self, session: PackedSession) -> bytes:
        """Return the file of a session.

        Raises:
            FileNotFoundError: The shard is gone.
            SourceError: It is damaged.
        """
        group = bisect_right(self._starts, session.row) - 1
        table = self._unpacked.get(self, group)
        row = session.row - self._starts[group]
        content: bytes = table["content"][row].as_py()
        if table["session_id"][row].as_py() != session.session_id or table["sha256"][
            row
        ].as_py() != digest(content):
            raise self._damaged(f"session {session.session_id} is not as it was packed")
        return content

    def read_group(self, group: int) -> pa.Table:
        """Return the sessions of a row group; errors as `read`."""
        with self._opened() as parquet:
            return parquet.read_row_group(group, columns=["session_id", "sha256", "content"])

    def first_lines(self) -> Iterator[tuple[PackedSession, bytes]]:
        """Yield every session with its first line; errors as `read`."""
        with self._opened() as parquet:
            lines = parquet.read(columns=["first_line"])["first_line"]
        yield from zip(self.sessions, (line.as_py() for line in lines), strict=True)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with _open(self.path) as file:
                yield pq.ParquetFile(file, page_checksum_verification=True)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(" ".join(str(error).split())[:200]) from error

    def _damaged(self, why: str) -> SourceError:
        return SourceError(
            f"{self.path}: cannot be read as a whole shard ({why}). Bring it back from the Hub or "
            "a copy; to go on without its sessions, move it elsewhere."
        )


def _open(path: Place) -> Any:
    return path.open_file() if isinstance(path, RemotePath) else path.open("rb")


def shard_names(folder: Place) -> list[str]:
    """Return the names of the shards of a folder."""
    return sorted(p.name for p in folder.glob("packed-*.parquet") if SHARD_NAME.fullmatch(p.name))


def write_shard(
    folder: Path, sessions: Iterator[tuple[str, bytes]], shard_bytes: float
) -> tuple[Path, dict[str, int]] | None:
    """Write one shard, whole and on disk, and read it again to see that it is.

    Args:
        folder: Where to.
        sessions: Ids and files; as many are taken as the shard has room for.
        shard_bytes: When the file has them, it takes no more.

    Returns:
        Its path, and the bytes of each session in it; None: there are no sessions.

    Raises:
        OutputError: It cannot be written; nothing of it is left.
    """
    aside = folder / f".packed-{os.getpid()}{PART}"
    try:
        with aside.open("wb") as file:
            written = _write(file, sessions, shard_bytes)
            file.flush()
            os.fsync(file.fileno())
        if not written:
            return None
        path = folder / f"packed-{_verify(aside, written)[:16]}.parquet"
        os.replace(aside, path)
        sync_folder(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: a shard cannot be written ({error}). Every session is still there: free "
            "some space and run the same command again."
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return path, {session_id: n_bytes for session_id, (n_bytes, _) in written.items()}


def _write(
    file: BinaryIO, sessions: Iterator[tuple[str, bytes]], shard_bytes: float
) -> dict[str, tuple[int, str]]:
    """Return the bytes and the sha256 of each session that was written."""
    written: dict[str, tuple[int, str]] = {}
    rows: list[tuple[Any, ...]] = []
    waiting = 0
    settings = {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": False,
        "write_statistics": ["session_id", "n_bytes"],  # else sessions stand in the footer too
        "write_page_index": True,
        "write_page_checksum": True,
        "use_content_defined_chunking": True,
    }
    with pq.ParquetWriter(file, _SCHEMA, **settings) as writer:

        def flush() -> None:
            columns = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=_SCHEMA), row_group_size=len(rows))
            rows.clear()

        while file.tell() < shard_bytes and (taken := next(sessions, None)) is not None:
            session_id, content = taken
            written[session_id] = len(content), digest(content)
            first_line = content.partition(b"\n")[0] + b"\n"
            rows.append((session_id, *written[session_id], first_line, content))
            waiting += len(content)
            if waiting >= _GROUP_BYTES:
                flush()
                waiting = 0
        if rows:
            flush()
        listed = [(session_id, n_bytes) for session_id, (n_bytes, _) in written.items()]
        writer.add_key_value_metadata({_INDEX: json.dumps(listed, separators=(",", ":"))})
    return written


def _verify(file: Path, written: dict[str, tuple[int, str]]) -> str:
    """Read a new shard as readers will; return the sha256 of the file."""
    try:
        shard = Shard(file)
        found = {session.session_id: digest(shard.read(session)) for session in shard.sessions}
    except SourceError as error:
        raise OSError(f"it cannot be read again: {error}") from error
    if found != {session_id: content for session_id, (_, content) in written.items()}:
        raise OSError("what was written is not what is read again")
    return file_digest(file)


def remove_parts(folder: Path) -> None:
    """Delete what a kill left of shards that were being written."""
    for part in folder.glob(f".packed-*{PART}"):
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
