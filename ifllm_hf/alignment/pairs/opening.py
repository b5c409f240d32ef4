"""Open a preference dataset wherever it is, as it is stored: its rows are read by `source`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from yaml import YAMLError

from ifllm_hf.errors import ConfigError, SourceError
from ifllm_hf.files import find_copy
from ifllm_hf.training.local_dataset import (
    READERS,
    configs_of_card,
    load_local_file,
    load_local_folder,
    unread_files,
)

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

MADE_UP = "made-up"
_PREFERENCES = "preferences"
_MOST_SAID = 400  # characters of what another library says

_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.parquet|\.jsonl?)", re.ASCII)


def open_dataset(dataset: str, config: str | None, split: str) -> Dataset:
    """Open one split of a dataset.

    Args:
        dataset: `ifllm`; a `.parquet`, `.jsonl` or `.json` file; a folder (prepared by `ifllm`,
            saved by `save_to_disk`, or holding such files); `made-up`; or the name of a dataset on
            the Hub.
        config: Config of the dataset; for `ifllm`, and where there is one, `preferences`.
        split: Split to read.

    Returns:
        The dataset as it is stored.

    Raises:
        SourceError: Nothing can be read there.
        ConfigError: There is no such split or config.
    """
    from datasets import load_dataset, load_from_disk

    path = Path(dataset).expanduser()
    if dataset == MADE_UP:
        from ifllm_hf.training.tiny_models import made_up_pairs

        return made_up_pairs()
    if path.is_file():
        if path.suffix not in READERS:
            raise SourceError(
                f"{dataset}: cannot read {path.suffix or 'a file without a suffix'}; expected one "
                f"of {', '.join(READERS)}"
            )
        return _read(lambda: load_local_file(path), dataset, split)
    if path.is_dir() and dataset != "ifllm":
        if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
            return _read(lambda: load_from_disk(str(path)), dataset, split)
        return _read(lambda: _load_folder(path, config), dataset, split)
    if path.suffix in READERS or dataset.startswith((".", "/", "~")):
        raise SourceError(
            f"{dataset}: no such file or folder; name a file that exists (`ifllm label` writes one)"
            ", or use --dataset ifllm"
        )
    if dataset == "ifllm":
        config = config or _PREFERENCES
    return _read(lambda: load_dataset(dataset, config), dataset, split)


def _refuse_wrong_shards(folder: Path) -> None:
    """Refuse a folder with a shard too few or one twice, of which `load_dataset` says nothing."""
    found: dict[tuple[Path, str, int, str], list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if named := _SHARD.fullmatch(file.name):
            key = file.parent, named[1], int(named[2]), named[3]
            found.setdefault(key, []).append(file)
    for (parent, name, total, ending), files in found.items():
        if len(files) != total:
            raise SourceError(
                f"{parent}: {len(files)} of {total} files {name}-NNNNN-of-{total:05d}{ending} are "
                "there; write or fetch the folder again"
            )
        if copies := find_copy(files):
            raise SourceError(
                f"{copies[1]}: is a copy of {copies[0].name}, so its rows are there twice; write "
                "or fetch the folder again"
            )


def _load_folder(folder: Path, config: str | None) -> Any:
    _refuse_wrong_shards(folder)
    configs = configs_of_card(folder)
    if config is None and _PREFERENCES in configs:
        config = _PREFERENCES
    if config is None and len(configs) > 1 and configs.get_default_config_name() is None:
        raise ConfigError(
            f"{folder.name}: the card has configs {', '.join(configs)}; set dataset_config "
            "(of a judge: prompts.configs) to one"
        )
    loaded = load_local_folder(folder, config)
    if not configs and (unread := unread_files(folder)):
        logger.warning(
            "%s: not read: %s; a folder is read as load_dataset reads it: files of one kind, and "
            "where some are called train or test, only such",
            folder.name,
            ", ".join(unread),
        )
    return loaded


def _read(load: Callable[[], Any], name: str, split: str) -> Dataset:
    """Call a loader, and turn what it may raise into one message."""
    from datasets import Dataset, DatasetDict
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        loaded = load()
    except StopIteration:  # what `datasets` raises for files without a byte
        return Dataset.from_dict({})
    except (DatasetNotFoundError, DatasetGenerationError, OSError, ValueError, YAMLError) as error:
        if "corresponds to no data" in str(error):
            return Dataset.from_dict({})
        why = error.__cause__ or error  # "an error occurred" is caused by what is wrong
        said = shorten(
            str(why), _MOST_SAID, placeholder=" …"
        )  # tables are printed column by column
        raise SourceError(
            f"{name}: cannot be read as a dataset ({said}); expected "
            f"{', '.join(READERS)} files or a name on the Hub; check the name, the config and the "
            "network"
        ) from error
    there = loaded
    if not isinstance(loaded, DatasetDict):  # one dataset, saved on its own
        there = {"train": loaded, **({str(loaded.split): loaded} if loaded.split else {})}
    if split not in there:
        raise ConfigError(
            f"{name}: no split {split!r}; it has {', '.join(there)}; set dataset_split "
            "(of a judge: prompts.split)"
        )
    found = there[split]
    assert isinstance(found, Dataset)
    return found
