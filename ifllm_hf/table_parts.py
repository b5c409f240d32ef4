"""A table that is written part by part: one Parquet file, JSON lines, or a folder of shards.

A folder is written for a name without an ending: `train-00000-of-00007.parquet`, a shard for each
part, as `load_dataset` reads them. Whatever is written is whole or not there; what an
interrupted run has done is kept beside it for the next one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ifllm_hf.data.marker import is_prepared
from ifllm_hf.errors import (
    ConfigError,
    IFLLMError,
    Interrupted,
    OutputError,
    TableError,
    UnfinishedError,
)
from ifllm_hf.files import (
    ADVICE,
    PART,
    arrow_writer,
    check_free,
    find_copy,
    held,
    whole_file,
    whole_folder,
)

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, LINES = ".parquet", ".jsonl"
_SHARD = re.compile(r"train-\d{5}-of-(\d{5})\.parquet")
# Parts are gathered to row groups of this size: the footer describes every column of every one.
_ROW_GROUP_BYTES = 16 * 2**20


def check_table_place(
    out: str | os.PathLike[str], *, overwrite: bool, endings: tuple[str, ...] = (PARQUET,)
) -> Path:
    """Return the name of a table to write as a path; call it before long work.

    Raises:
        ConfigError: Its ending is not one of `endings`, nor is it a name without.
        OutputError: Something is there and must not be replaced, or it would be part of a prepared
            folder: its shards look like those of a table.
    """
    out = Path(out)
    for folder in list(Path(os.path.realpath(out)).parents)[:2]:
        if is_prepared(folder):
            raise OutputError(
                f"{out}: lies in the prepared folder {folder}, whose data it could replace. Choose "
                "a name outside of it."
            )
    if out.suffix in endings:
        return check_free(out, overwrite=overwrite)
    if out.suffix:
        raise ConfigError(
            f"{out.name}: cannot write {out.suffix}; expected a name that ends in "
            f"{' or '.join(endings)}, or one without an ending for a folder of shards. Rename it."
        )
    if not os.path.lexists(out):
        return out
    if not out.is_dir():
        raise OutputError(f"{out}: is a file; expected the name of a folder, or a free one.")
    names = sorted(entry.name for entry in out.iterdir())
    foreign = [name for name in names if not _SHARD.fullmatch(name)]
    if foreign:
        raise OutputError(
            f"{out}: holds {', '.join(foreign[:3])}, which would be lost. Choose another name."
        )
    if names and not overwrite:
        raise OutputError(
            f"{out}: exists already; expected a free name. Choose another one or ask to overwrite "
            "(--overwrite)."
        )
    return out


def write_table(
    out: Path,
    parts: Iterable[pa.Table],
    schema: pa.Schema,
    metadata: Mapping[bytes, bytes] | None = None,
) -> None:
    """Write a table that comes in parts; memory holds one row group of it.

    Args:
        out: Checked by `check_table_place`.
        parts: All of `schema`. In a folder each one is a shard; without any there is an empty one.
        schema: Columns and types.
        metadata: Kept in the footer of every Parquet file.

    Raises:
        OutputError: It cannot be written; what was there stays.
    """
    schema = schema.with_metadata(dict(metadata)) if metadata else schema
    if out.suffix == PARQUET:
        with whole_file(out) as aside:
            _write_file(aside, _gathered(parts), schema)
    elif out.suffix == LINES:
        with whole_file(out) as aside:
            _write_lines(aside, parts)
    else:
        with whole_folder(out) as folder:
            _write_shards(folder, parts, schema)


def table_files(path: str | os.PathLike[str]) -> list[str]:
    """Return the Parquet files of a table in order: itself, or the shards of its folder.

    Raises:
        TableError: A shard is missing, or a copy of another.
    """
    path = Path(path)
    if not path.is_dir():
        return [str(path)]
    found = sorted(file for file in path.iterdir() if _SHARD.fullmatch(file.name))
    expected = [f"train-{i:05d}-of-{len(found):05d}.parquet" for i in range(len(found))]
    if not found or [file.name for file in found] != expected:
        raise TableError(
            f"{path}: {len(found)} Parquet files are there, and not all of a whole; expected "
            "train-00000-of-N.parquet and so on. Write or fetch the folder again."
        )
    if copies := find_copy(found):
        raise TableError(
            f"{copies[1]}: is a copy of {copies[0].name}, so its rows are there twice. Write or "
            "fetch the folder again."
        )
    return [str(file) for file in found]


def _write_file(path: Path, parts: Iterable[pa.Table], schema: pa.Schema) -> None:
    with arrow_writer(path, schema) as write:
        for part in parts:
            write(part.replace_schema_metadata(schema.metadata), part.num_rows)


def _write_lines(path: Path, parts: Iterable[pa.Table]) -> None:
    import polars as pl

    with path.open("wb") as file:
        for part in parts:
            frame = pl.from_arrow(part)
            assert isinstance(frame, pl.DataFrame)
            frame.write_ndjson(file)


def _write_shards(folder: Path, parts: Iterable[pa.Table], schema: pa.Schema) -> None:
    paths: list[Path] = []
    for part in parts:
        paths.append(folder / f"{len(paths)}")
        _write_file(paths[-1], [part], schema)
    if not paths:
        paths.append(folder / "0")
        _write_file(paths[0], [], schema)
    for i, path in enumerate(paths):
        path.rename(folder / f"train-{i:05d}-of-{len(paths):05d}.parquet")


def _gathered(parts: Iterable[pa.Table]) -> Iterable[pa.Table]:
    """Join parts up to the size of a row group."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    size = 0
    for part in parts:
        if waiting and size + part.nbytes > _ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
        waiting.append(part)
        size += part.nbytes
    if waiting:
        yield pa.concat_tables(waiting)


@contextmanager
def kept_beside(out: Path, state: str) -> Iterator[Path]:
    """Yield a folder beside `out` for what is done so far; it is gone when the block ends.

    A run that was interrupted, whose disk was full or whose processes died finds there what it had
    done, but for files that a power cut tore. Where the input is wrong nothing is kept. When `out`
    is made, what runs of other states have left beside it goes too.

    Args:
        out: What is being made.
        state: Names what it is made of: of anything else nothing is found.

    Raises:
        OutputError: Another process is at it, or the folder cannot be made.
    """
    aside = out.with_name(f".{out.name}.{state}{PART}")
    with held(aside, f"{out} is being written by another run; wait for it, or name another"):
        try:
            aside.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{aside}: cannot be made ({error}); {ADVICE}") from error
        drop_torn(aside)
        try:
            yield aside
            shutil.rmtree(aside)
            _drop_others(out, aside)
        except IFLLMError as error:
            if not isinstance(error, OutputError | UnfinishedError):
                shutil.rmtree(aside)
            raise
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"what is done is kept ({aside}), and the same command goes on"
            ) from error
        finally:
            if not aside.exists():
                Path(f"{aside}.lock").unlink(missing_ok=True)


def drop_torn(folder: Path) -> None:
    """Delete tables and arrays that do not end as they should; of a folder of shards, all."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in list(folder.rglob("*")):
        try:
            if file.suffix == ".parquet":
                pq.read_metadata(file)
            elif file.suffix == ".npy":
                np.load(file, mmap_mode="r")
        except FileNotFoundError:  # with its folder
            continue
        except (OSError, ValueError, EOFError, pa.ArrowException):
            if file.parent == folder:
                file.unlink()
            else:
                shutil.rmtree(file.parent)


def _drop_others(out: Path, aside: Path) -> None:
    """Delete what earlier runs have kept beside `out`, but not of one that is at work."""
    names = re.compile(re.escape(f".{out.name}.") + "[0-9a-f]{12}" + re.escape(PART))
    for other in list(out.parent.iterdir()):
        if other != aside and names.fullmatch(other.name) and other.is_dir():
            with suppress(OutputError), held(other, "at work"):
                shutil.rmtree(other, ignore_errors=True)
                Path(f"{other}.lock").unlink(missing_ok=True)
