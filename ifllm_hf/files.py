"""Files that are whole or not there, digests, locks, and the folders that we keep things in."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from ifllm_hf.errors import ConfigError, OutputError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

PART = ".part"
"""How the name of a file ends that is still being written; it begins with a dot."""


ADVICE = "free some space or choose another place"

# Of values, before compression. A shard of ticks has 60 columns of 1 to 2 MB, which shrink to a
# tenth; pages of pyarrow's default size (256 kB to 1 MB) share less: docs/push.md has the figures.
_PAGE_BYTES = {"min_chunk_size": 64 * 2**10, "max_chunk_size": 256 * 2**10}


@contextmanager
def whole_file(path: Path, *, advice: str = ADVICE) -> Iterator[Path]:
    """Yield a name beside `path` to write to; what is there when the block ends becomes `path`.

    Where the block or the disk fails, an earlier `path` stays as it was and nothing is left beside
    it. Processes and threads that write the same path do not meet; the last one counts.

    Args:
        path: The file; folders on the way to it are made.
        advice: What to do when it cannot be written.

    Raises:
        OutputError: It cannot be written: full disk, no permission.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); {advice}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


@contextmanager
def whole_folder(out: Path, *, advice: str = ADVICE) -> Iterator[Path]:
    """Yield an empty folder beside `out`; what is in it when the block ends becomes `out`.

    Where the block or the disk fails, an earlier `out` stays as it was and nothing is left beside
    it; else it is replaced with all that is in it: check before whether it may be.

    Args:
        out: The folder; folders on the way to it are made.
        advice: What to do when it cannot be written.

    Raises:
        OutputError: It cannot be written: full disk, no permission.
    """
    folder = out.with_name(f".{out.name}.{uuid4().hex[:8]}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
        _swap(folder, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error}); {advice}") from error
    finally:
        # Also on Ctrl-C; after success there is nothing under this name.
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`; an old `out` is put back if that fails."""
    if not out.exists():
        folder.rename(out)
        return
    old = out.with_name(f".{out.name}.{uuid4().hex[:8]}.old")
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        old.rename(out)
        raise
    if old.is_symlink():  # to the folder that was named: that one stays
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; text as UTF-8. Raises OutputError as `whole_file` does."""
    with whole_file(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write JSON with sorted keys, whole or not at all; what JSON does not know is its `str`."""
    write_whole(path, json.dumps(content, indent=indent, sort_keys=True, default=str) + "\n")


def read_json_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ConfigError: It cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON ({error}); copy it anew") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{file}: holds {type(content).__name__} and no JSON object; copy it anew"
        )
    return content


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all. Raises OutputError as `whole_file` does."""
    with whole_file(path) as aside:
        to_parquet(table, aside)


def to_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet; see `write_arrow`, whose options polars' own writer lacks."""
    import polars as pl

    # `oldest`: Arrow's plain types, which every reader of Parquet knows.
    write_arrow(table.to_arrow(compat_level=pl.CompatLevel.oldest()), path)


def write_arrow(table: pa.Table, path: Path, **options: Any) -> None:
    """Write a table as all Parquet files of this package are written; raises OSError.

    Args:
        table: What is written.
        path: The file; an older one is replaced.
        options: See `arrow_writer`; `row_group_size`: rows.
    """
    size = options.pop("row_group_size", None)
    with arrow_writer(path, table.schema, **options) as write:
        write(table, size)


@contextmanager
def arrow_writer(
    path: Path, schema: pa.Schema, **options: Any
) -> Iterator[Callable[[pa.Table, int | None], None]]:
    """Yield what writes a table, and the rows of its row groups, to a Parquet file; raises OSError.

    zstd. Pages end where the values say so, not after so many: what grew shares its pages with what
    it was, and the Hub stores and takes the new ones alone. An index of the pages, so that its
    viewer and streaming read single ones.

    Args:
        path: The file; an older one is replaced.
        schema: Of the tables.
        options: More of `pyarrow.parquet.ParquetWriter`.
    """
    import pyarrow.parquet as pq

    made = _Collected()
    with path.open("wb") as file:
        writer = pq.ParquetWriter(
            made,
            schema,
            compression="zstd",
            use_content_defined_chunking=_PAGE_BYTES,
            write_page_index=True,
            **options,
        )

        def write(table: pa.Table, row_group_size: int | None = None) -> None:
            if not table.num_rows:  # `datasets` cannot read a row group without rows
                return
            writer.write_table(table, row_group_size=row_group_size)
            made.drain(file)

        try:
            yield write
        finally:
            writer.close()
        made.drain(file)


class _Collected(io.RawIOBase):
    """Takes what pyarrow writes, for us to write.

    Where pages end by content and the disk is full, pyarrow 26 ends the process ("Check failed" in
    column_writer.cc) and raises nothing.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._at += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._at

    def drain(self, file: BinaryIO) -> None:
        """Write what came since."""
        parts, self._parts = self._parts, []
        file.writelines(parts)


def scan_parquet(files: Sequence[str | os.PathLike[str]], **options: Any) -> pl.LazyFrame:
    """Scan Parquet files by their very names.

    By itself polars takes `*`, `?` and `[1]` in a path for patterns, and a folder `a=1` for a
    column.

    Args:
        files: Their paths.
        options: Of `polars.scan_parquet`.
    """
    import polars as pl

    names = [os.fspath(file) for file in files]
    return pl.scan_parquet(names, glob=False, hive_partitioning=False, **options)


def read_parquet(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Read one Parquet file, or several as one table, by their very names; see `scan_parquet`."""
    scanned = scan_parquet([files] if isinstance(files, str | os.PathLike) else files)
    return (scanned if columns is None else scanned.select(columns)).collect()


@contextmanager
def polars_disk_errors() -> Iterator[None]:
    """Turn what polars raises when a disk is full, an error of its own, into an `OSError`."""
    from polars.exceptions import ComputeError

    try:
        yield
    except ComputeError as error:
        raise OSError(f"polars: {error}") from error


def find_copy(files: Iterable[Path]) -> tuple[Path, Path] | None:
    """Return two files of which one is a byte copy of the other; None: there are none.

    Files without rows are alike and no copies.

    Args:
        files: Shards of one table: Parquet, or lines.
    """
    of_size: dict[int, list[Path]] = {}
    for file in files:
        of_size.setdefault(file.stat().st_size, []).append(file)
    for alike in of_size.values():
        first: dict[str, Path] = {}
        for file in alike if len(alike) > 1 else ():
            former = first.setdefault(file_digest(file), file)
            if former != file and not _is_empty(file):
                return former, file
    return None


def _is_empty(file: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix != ".parquet":
        return not file.stat().st_size
    try:
        return bool(pq.read_metadata(file).num_rows == 0)
    except pa.ArrowException:  # whoever reads it says what is wrong
        return False


def check_free(out: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return `out`, the name of a file to write, as a path.

    Raises:
        OutputError: Something is there and must not be replaced.
    """
    out = Path(out)
    if out.is_dir():
        raise OutputError(f"{out}: is a folder; expected the name of a file.")
    if out.exists() and not overwrite:
        raise OutputError(
            f"{out}: exists already; expected a free name. Choose another one or ask to overwrite "
            "(--overwrite)."
        )
    return out


def digest(content: Any, length: int = 64) -> str:
    """Return the first hex digits of a sha256.

    Args:
        content: Bytes; text, as UTF-8; or anything else as JSON with sorted keys.
        length: How many digits, at most 64.

    >>> digest("worker_1", 8) == digest(b"worker_1", 8)
    True
    """
    if not isinstance(content, bytes):
        if not isinstance(content, str):
            content = json.dumps(content, sort_keys=True, default=str)
        content = content.encode()
    return hashlib.sha256(content).hexdigest()[:length]


def file_digest(file: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock beside `path` (`path.lock`) while the block runs; never wait for it.

    Args:
        path: What is locked; its folder is made.
        busy: What is said when another process holds it.

    Raises:
        OutputError: Another process holds it, or the lock cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(busy) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error
    try:
        yield
    finally:
        lock.release()


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return `cache_dir`, else `$IFLLM_CACHE`, `$XDG_CACHE_HOME/ifllm` or `~/.cache/ifllm`."""
    given = cache_dir or os.environ.get("IFLLM_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "ifllm"


def package_folder() -> Path:
    """Return the folder of this package."""
    return Path(str(resources.files("ifllm_hf")))


def shipped_folder(name: str) -> Path:
    """Return `recipes` or `spaces`: in a wheel inside the package, in a checkout beside it.

    Raises:
        ConfigError: It is in neither place.
    """
    package = package_folder()
    for place in (package / name, package.parent / name):
        if place.is_dir():
            return place
    raise ConfigError(f"no {name}/ inside {package} or beside it; install the package again")
