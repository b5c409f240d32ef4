"""The `datasets` builder behind `load_dataset("ifllm")` after `import ifllm_hf`.

Where the data comes from, first hit wins: `data_dir=` (a release folder or archive, or a prepared
folder), a prepared `./ifllm` here, `$IFLLM_RELEASE`, the pinned download. Anything but a prepared
folder is prepared once into the cache, keyed by what the source is now, and served from there. Of a
folder of collected sessions the cache keeps what it is now alone: a reader may have withdrawn.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.builder import Key
from datasets.load import DatasetModule
from datasets.table import table_cast

from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import CONFIGS, DEFAULT_CONFIG, SCHEMA_VERSION, SCHEMAS, features
from ifllm_hf.data.sessions.collected import is_sessions_folder
from ifllm_hf.errors import ConfigError, OutputError, SourceError
from ifllm_hf.files import digest
from ifllm_hf.version import __version__

logger = logging.getLogger(__name__)

_PINNED = "pinned release"
_SESSIONS = "sessions_folder"
"""Beside what was prepared from collected sessions: the path of their folder."""


@dataclass
class IfllmConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """Settings of a config.

    Attributes:
        columns: Columns to load; default all of them. Leaving the ticks out loads in no time.
    """

    columns: list[str] | None = None


class Ifllm(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Builds the seven configs from a prepared folder, which it makes if there is none."""

    BUILDER_CONFIG_CLASS = IfllmConfig
    BUILDER_CONFIGS = [
        IfllmConfig(name=config, version=f"{SCHEMA_VERSION}.0.0") for config in CONFIGS
    ]
    DEFAULT_CONFIG_NAME = DEFAULT_CONFIG

    def _info(self) -> datasets.DatasetInfo:
        known = features(self.config.name)
        wanted = self.config.columns
        unknown = [column for column in wanted or () if column not in known]
        if unknown:
            raise ConfigError(
                f"config '{self.config.name}' has no column {', '.join(map(repr, unknown))}. "
                f"Expected some of: {', '.join(known)}."
            )
        if wanted is not None:
            known = datasets.Features({c: t for c, t in known.items() if c in wanted})
        return datasets.DatasetInfo(
            description="What people do while they read answers of language models.",
            license="apache-2.0",
            features=known,
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        source = find_source(self.config.data_dir)
        if source is None or not is_prepared(source):
            root = self._cache_dir_root
            if "://" in root:  # the Arrow files may go to a bucket, the prepared folder cannot
                root = str(datasets.config.HF_DATASETS_CACHE)
            source = prepared_in_cache(
                source,
                Path(root),
                built=Path(self._cache_dir_root) / str(self.dataset_name),
                force=bool(dl_manager.download_config.force_download),
                progress=datasets.is_progress_bar_enabled(),
            )
        files = config_files(source, self.config.name)
        return [datasets.SplitGenerator(name="train", gen_kwargs={"files": files})]

    def _as_dataset(self, split: Any = datasets.Split.TRAIN, in_memory: bool = False) -> Any:
        splits = self.info.splits
        if splits is not None and not splits.total_num_examples:
            # `datasets` refuses splits without rows ("corresponds to no data"), unless it streams.
            nothing = self.info.features.arrow_schema.empty_table()
            return datasets.Dataset(nothing, info=self.info.copy(), split=datasets.Split.TRAIN)
        return super()._as_dataset(split, in_memory)

    def _generate_shards(self, files: list[str]) -> Iterator[str]:
        yield from files

    def _generate_tables(self, files: list[str]) -> Iterator[tuple[Key, pa.Table]]:
        schema = self.info.features.arrow_schema
        columns = [name for name in SCHEMAS[self.config.name].names if name in schema.names]
        for shard, file in enumerate(files):
            with pq.ParquetFile(file) as parquet:
                for group in range(parquet.num_row_groups):
                    table = parquet.read_row_group(group, columns=columns)
                    yield Key(shard, group), table_cast(table, schema)


def prepared_in_cache(
    source: str | None, root: Path, *, built: Path, force: bool = False, progress: bool = True
) -> str:
    """Return the folder in the cache that was prepared from `source`; prepare it if missing.

    Args:
        source: A release or a folder of sessions; None: the pinned download.
        root: The cache.
        built: Where `datasets` keeps its Arrow files of this dataset.
        force: Prepare it anew.
        progress: Show progress bars on stderr.
    """
    from filelock import FileLock

    place = root / "ifllm_prepared" / fingerprint(source)
    place.mkdir(parents=True, exist_ok=True)
    folder = place / "ifllm"
    with FileLock(str(place / "lock")):
        if force or not is_prepared(folder):
            from ifllm_hf.data.prepared.prepare import prepare

            left_out = prepare(source, folder, progress=progress).left_out()
            if left_out is not None:
                logger.warning("%s: %s", source, left_out)
    if source is not None and is_sessions_folder(source):
        (place / _SESSIONS).write_text(source, encoding="utf-8")
        _forget_former_sessions(place, source, built)
    return str(folder)


def find_prepared(
    source: str | os.PathLike[str] | None = None,
    *,
    say: Callable[[str], object],
    progress: bool = True,
) -> Path:
    """Return the prepared folder that `load_dataset("ifllm", data_dir=source)` would read.

    What is no prepared folder is prepared once, into the cache that `load_dataset` uses too.

    Args:
        source: See `find_source`; None: what it finds.
        say: Takes one line: what was found, and where.
        progress: Show progress bars on stderr.

    Raises:
        DownloadError: Nothing was found, and the release cannot be downloaded.
        SourceError: A place was named, but there is nothing.
        IFLLMError: What is there cannot be read; see `prepare`.
    """
    found = find_source(None if source is None else os.fspath(source))
    if found is not None and is_prepared(found):
        say(f"data: the prepared folder {found}")
        return Path(found)
    root = Path(datasets.config.HF_DATASETS_CACHE)
    where, how = found, "to be prepared, once for all commands"
    if found is None:
        where, how = "the public release", f"to be downloaded where the cache lacks it; {how}"
    if is_prepared(root / "ifllm_prepared" / fingerprint(found) / "ifllm"):
        how = "prepared before"
    say(f"data: {where}, {how}")
    try:
        return Path(prepared_in_cache(found, root, built=root / "ifllm", progress=progress))
    except OSError as error:
        raise OutputError(
            f"{root}: cannot hold what is prepared ({error}). Point $HF_DATASETS_CACHE elsewhere, "
            "or run `ifllm prepare` where there is room."
        ) from error


def _forget_former_sessions(now: Path, source: str, built: Path) -> None:
    """Delete what the cache holds of a folder of sessions as it was before.

    Args:
        now: What was prepared from the folder as it is.
        source: The folder.
        built: Where `datasets` keeps its Arrow files: `<config>/<version>/<fingerprint>`.
    """
    for note in now.parent.glob(f"*/{_SESSIONS}"):
        former = note.parent
        if former != now and note.read_text(encoding="utf-8") == source:
            for arrow in built.glob(f"*/*/{former.name}"):
                shutil.rmtree(arrow, ignore_errors=True)
            shutil.rmtree(former, ignore_errors=True)


def dataset_module(
    *, data_dir: str | None = None, data_files: Any = None, revision: Any = None
) -> DatasetModule:
    """Return what `datasets` needs to know to build "ifllm".

    Args:
        data_dir: As given to `load_dataset`.
        data_files: Not possible; prepared files are loaded by folder.
        revision: Not possible; the release is pinned by the version of this package.

    Raises:
        ConfigError: `data_files` or `revision` was given.
        SourceError: `data_dir` or `$IFLLM_RELEASE` does not exist.
    """
    if data_files is not None:
        raise ConfigError(
            'load_dataset("ifllm") takes no data_files; expected data_dir= with a release or a '
            'prepared folder. For single files use load_dataset("parquet", data_files=...).'
        )
    if revision is not None:
        raise ConfigError(
            f'load_dataset("ifllm") has no revision {revision!r}: the release is pinned by the '
            'version of ifllm_hf. For a revision of a Hub repository load "ORG/NAME".'
        )
    source = find_source(data_dir)
    kwargs: dict[str, Any] = {"dataset_name": "ifllm", "data_dir": source}
    return DatasetModule("ifllm_hf.data.prepared.ifllm", fingerprint(source), kwargs)


def find_source(data_dir: str | None) -> str | None:
    """Return the absolute path of the data, or None for the pinned download.

    Raises:
        SourceError: A place was named, but there is nothing.
    """
    if data_dir is None and is_prepared("ifllm"):
        data_dir = "ifllm"
    given, said_by = data_dir, f"data_dir={str(data_dir)!r}"
    if given is None:
        given, said_by = os.environ.get("IFLLM_RELEASE") or None, "$IFLLM_RELEASE"
    if given is None:
        return None
    path = os.path.abspath(os.path.expanduser(given))
    if not os.path.exists(path):
        raise SourceError(
            f"{path}: does not exist ({said_by}). Expected a release folder or archive, or a "
            "folder written by `ifllm prepare`. Correct the path, or leave it out to download the "
            "release."
        )
    return path


def fingerprint(source: str | None) -> str:
    """Return a short hash of what `source` is now: its files' names, sizes and times.

    The versions of package and schema are part of it, so a new version prepares anew.
    """
    content = [_PINNED] if source is None else [source, *sorted(_stats(source))]
    return digest([__version__, SCHEMA_VERSION, content], 16)


def _stats(path: str) -> Iterator[tuple[str, int, int]]:
    if not os.path.isdir(path):
        stat = os.stat(path)
        yield path, stat.st_size, stat.st_mtime_ns
        return
    for entry in os.scandir(path):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _stats(entry.path)
        else:
            stat = entry.stat()
            yield entry.path, stat.st_size, stat.st_mtime_ns
