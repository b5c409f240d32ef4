"""The prepared folder `./ifllm`: how it looks and how it is written.

    ifllm/README.md                               card; its YAML has `configs:` and the marker
    ifllm/<config>/train-00000-of-00002.parquet   zstd, one row group per file

It is laid out like a dataset repository, so that plain `load_dataset("ifllm")` works beside it
without any import, and so that it can be pushed to the Hub as it is. It is written aside and then
renamed: a good old folder stays until the new one is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ifllm_hf.data.card_head import split_card
from ifllm_hf.data.marker import MARKER, is_prepared, prepared_version
from ifllm_hf.data.prepared.shards import (
    SHARD_BYTES,
    RowWriter,
    ShardWriter,
    TickRows,
    conform,
    write_parts,
)
from ifllm_hf.data.schema import (
    CHAT_SCHEMAS,
    CONFIGS,
    DEFAULT_CONFIG,
    SCHEMA_VERSION,
    SCHEMAS,
    TABLE_SCHEMAS,
)
from ifllm_hf.errors import OutputError, TableError
from ifllm_hf.files import find_copy, whole_folder
from ifllm_hf.remote_path import Place

if TYPE_CHECKING:
    import polars as pl

    from ifllm_hf.data.recordings import ConversationRows, Table

_BESIDE_TICKS = ("preferences", "tasks", "workers")
_WITH_TICKS = ("pairwise", "pointwise")

ADVICE = "free some space or choose another place with --out"
"""What to do when a prepared folder cannot be written."""

# What may lie in a folder that a new one replaces; anything else is somebody's own work.
OWN_NAMES = frozenset((*TABLE_SCHEMAS, "README.md", "figures"))


@dataclass(frozen=True)
class PreparedFolder:
    """A prepared folder that was written.

    Attributes:
        path: Where it lies.
        rows: Number of rows per config.
        n_bytes: Size of all its files.
    """

    path: Place
    rows: dict[str, int]
    n_bytes: int


def config_files(folder: str | os.PathLike[str], config: str) -> list[str]:
    """Return the shards of one config in order.

    Raises:
        TableError: The folder is not a prepared one of this version, or a shard is missing, a copy
            of another, cannot be read or lacks a column.
    """
    folder = Path(folder)
    version = prepared_version(folder)
    if version is None:
        raise TableError(
            f"{folder}: not a prepared folder: README.md is missing or its YAML has no "
            f"`{MARKER}:`. Write one with `ifllm prepare`."
        )
    if version != SCHEMA_VERSION:
        raise TableError(
            f"{folder}: prepared with schema version {version}, this package has "
            f"{SCHEMA_VERSION}. Run `ifllm prepare` again."
        )
    files = sorted((folder / config).glob("train-*-of-*.parquet"))
    expected = int(files[0].stem.rpartition("-")[2]) if files else 1
    if len(files) != expected:
        raise TableError(
            f"{folder / config}: {len(files)} of {expected} Parquet files are there. "
            "Run `ifllm prepare` again, or fetch the folder again."
        )
    if copies := find_copy(files):
        raise TableError(
            f"{copies[1]}: is a copy of {copies[0].name}, so its rows are there twice. Run `ifllm "
            "prepare` again, or fetch the folder again."
        )
    for file in files:
        _check_shard(file, config)
    return [str(file) for file in files]


def _check_shard(file: Path, config: str) -> None:
    """Read the footer alone: half a file and a missing column show there."""
    import pyarrow.parquet as pq

    again = "Run `ifllm prepare` again, or fetch the folder again."
    try:
        found = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())
        raise TableError(f"{file}: cannot be read as Parquet ({said}). {again}") from error
    missing = [name for name in TABLE_SCHEMAS[config].names if name not in found.names]
    if missing:
        raise TableError(
            f"{file}: no column {', '.join(missing[:5])}; expected those of `{config}` (schema "
            f"version {SCHEMA_VERSION}). {again}"
        )


def card_metadata(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the part of the card's YAML that a prepared folder must have.

    `datasets` keys its cache by the folder's name and this YAML, not by the Parquet files: without
    the digest of their content, a folder that was prepared anew would be loaded as the old one.
    """
    configs: list[dict[str, Any]] = []
    chat = (config for config in CHAT_SCHEMAS if (Path(folder) / config).is_dir())
    for config in (*CONFIGS, *chat):
        entry: dict[str, Any] = {"config_name": config}
        if config == DEFAULT_CONFIG:
            entry["default"] = True
        entry["data_files"] = [{"split": "train", "path": f"{config}/train-*.parquet"}]
        entry["description"] = f"content {_digest(Path(folder) / config)}"
        configs.append(entry)
    return {"configs": configs, MARKER: SCHEMA_VERSION}


def _digest(folder: Path) -> str:
    """Return 16 hex digits of what the Parquet files of a config hold."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("train-*.parquet")):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def with_card_metadata(card: str, folder: str | os.PathLike[str]) -> str:
    """Return `card` with `card_metadata(folder)` in its YAML; other keys and the text stay."""
    import yaml

    metadata, body = split_card(card, folder)
    head = yaml.safe_dump(
        {**metadata, **card_metadata(folder)}, sort_keys=False, allow_unicode=True
    )
    return f"---\n{head}---\n\n{body}"


def check_target(out: str | os.PathLike[str]) -> None:
    """Refuse a place that a prepared folder must not take; call it before long work.

    Raises:
        OutputError: `out` is a file, or a folder with something else in it.
    """
    out = Path(out)
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a free name or a prepared folder.")
    names = {entry.name for entry in out.iterdir()}
    if not names:
        return
    if not is_prepared(out):
        raise OutputError(
            f"{out}: exists and is not a prepared folder, so it is not overwritten. "
            "Choose another place or move it away."
        )
    foreign = sorted(names - OWN_NAMES)
    if foreign:
        raise OutputError(
            f"{out}: besides prepared data it holds {', '.join(foreign[:5])}, which would be lost. "
            "Move that away or choose another place."
        )


def working_folder(out: str | os.PathLike[str]) -> Path:
    """Return where the ranks of an output lie until they are joined: beside it."""
    place = Path(os.path.realpath(out))
    return place.with_name(f".{place.name}.ranks")


Card = str | Callable[[Path], str]
"""The text of README.md, or a function that gets the folder with all tables written (it may add
`figures/`) and returns the text. `configs:` and the marker are added."""


def write_prepared(
    out: str | os.PathLike[str],
    *,
    turns: pl.DataFrame | None,
    conversations: Iterable[ConversationRows],
    preferences: Table,
    tasks: Table,
    workers: Table,
    card: Card,
    shard_bytes: int = SHARD_BYTES,
) -> PreparedFolder:
    """Write a prepared folder; memory holds the small tables and one shard of ticks.

    Args:
        out: The folder to write or to replace.
        turns: See `write_tables`, as for those that follow.
        conversations: The ticks.
        preferences: The `preferences` config.
        tasks: The `tasks` config.
        workers: The `workers` config.
        card: See `Card`.
        shard_bytes: Ticks of one shard, uncompressed.

    Returns:
        The path, the rows per config, and the size.

    Raises:
        OutputError: The place is taken, or writing failed (disk full). Nothing is left behind.
        TableError: A table does not have the columns of its schema.
    """

    def tables(folder: Path) -> dict[str, int]:
        return write_tables(
            folder,
            turns=turns,
            conversations=conversations,
            preferences=preferences,
            tasks=tasks,
            workers=workers,
            shard_bytes=shard_bytes,
        )

    return write_folder(out, tables, card)


def write_folder(
    out: str | os.PathLike[str], tables: Callable[[Path], dict[str, int]], card: Card
) -> PreparedFolder:
    """Write a prepared folder whose tables a function writes; see `write_prepared`.

    Args:
        out: The folder to write or to replace.
        tables: Writes the shards of every config but `turns` into a folder; returns the rows per
            config.
        card: See `Card`.
    """
    out = Path(os.path.realpath(out))
    check_target(out)
    with whole_folder(out, advice=ADVICE) as folder:
        counts = tables(folder)
        light = ShardWriter(folder, "turns")
        write_parts(light, turns_without_ticks(folder))
        counts["turns"] = light.close()
        text = card(folder) if callable(card) else card
        (folder / "README.md").write_text(with_card_metadata(text, folder), encoding="utf-8")
        check_target(out)  # hours may have passed
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    rows = {config: counts[config] for config in TABLE_SCHEMAS if config in counts}
    return PreparedFolder(out, rows, size)


def write_tables(
    folder: Path,
    *,
    turns: pl.DataFrame | None,
    conversations: Iterable[ConversationRows],
    preferences: Table,
    tasks: Table,
    workers: Table,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, int]:
    """Write the shards of every config but `turns`; without a card it is no prepared folder yet.

    Args:
        folder: An empty folder.
        turns: The columns of `schema.TURNS`, in their final order; None: they come with the
            conversations.
        conversations: The ticks, one conversation after the other; taken one at a time.
        preferences: The `preferences` config; see `recordings.Table`.
        tasks: The `tasks` config; None: its rows come with the conversations.
        workers: The `workers` config.
        shard_bytes: Ticks of one shard, uncompressed.

    Returns:
        The rows per config.
    """
    rows = TickRows(folder, None if turns is None else _arrow(turns), shard_bytes)
    writers = {config: ShardWriter(folder, config) for config in _BESIDE_TICKS}
    of_tasks = RowWriter(writers["tasks"], SCHEMAS["tasks"], shard_bytes)
    of_chats: dict[str, tuple[ShardWriter, RowWriter]] = {}
    for conversation in conversations:
        rows.add(conversation)
        of_tasks.add(conversation.tasks)
        chat = (conversation.messages, conversation.actions)
        for config, schema in CHAT_SCHEMAS.items() if any(chat) or of_chats else ():
            if config not in of_chats:
                writer = ShardWriter(folder, config)
                of_chats[config] = writer, RowWriter(writer, schema, shard_bytes)
            of_chats[config][1].add(chat[config == "actions"])
    counts = rows.close()
    of_tasks.flush()
    for config, (writer, waiting) in of_chats.items():
        waiting.flush()
        counts[config] = writer.close()
    for config, table in zip(_BESIDE_TICKS, (preferences, tasks, workers), strict=True):
        write_parts(writers[config], _parts(table, config, folder), shard_bytes)
        counts[config] = writers[config].close()
    return counts


def write_config(folder: Path, config: str, table: pl.DataFrame) -> int:
    """Write the shards of one config into `folder`; return the number of rows."""
    writer = ShardWriter(folder, config)
    write_parts(writer, _parts(table, config, folder))
    return writer.close()


def turns_without_ticks(folder: Path) -> Iterator[pa.Table]:
    """Yield the rows of `turns`: those of the finished `pairwise` and `pointwise`, in their order.

    The Hub's viewer cannot show rows with thousands of ticks; these are light. Memory holds what
    one shard has beside its ticks.

    Args:
        folder: Where both configs lie.
    """
    import pyarrow.parquet as pq

    schema = SCHEMAS["turns"]
    for config in _WITH_TICKS:
        for file in sorted((folder / config).glob("train-*.parquet")):
            with pq.ParquetFile(file) as parquet:
                yield conform(parquet.read(columns=schema.names), schema, "turns")


def _parts(table: Table, config: str, folder: Path) -> Iterator[pa.Table]:
    frames = () if table is None else table(folder) if callable(table) else (table,)
    for frame in frames:
        yield conform(_arrow(frame), TABLE_SCHEMAS[config], config)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    import polars as pl

    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
