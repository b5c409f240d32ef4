"""Load datasets from this machine, where a path is a path: `datasets` reads every path as a glob.

A folder named `run[1]` would hold nothing, and one named `a*b` what lies in `axb` too.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError

READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}
"""Which loader of `datasets` reads a single file."""


def load_local_file(file: Path) -> Any:
    """Return the `DatasetDict` of one file, all of it under `train`.

    Args:
        file: A file with a suffix of `READERS`.
    """
    from datasets import load_dataset

    return load_dataset(READERS[file.suffix], data_files=glob.escape(str(file)))


def load_local_folder(folder: Path, config: str | None = None) -> Any:
    """Return what `load_dataset(folder, config)` returns, whatever the folder is called.

    Args:
        folder: Files, with their splits by name, or a card that says which file is what.
        config: Config of the card.

    Returns:
        A `DatasetDict` by split.

    Raises:
        ConfigError: The card has no such config.
    """
    from datasets import load_dataset

    place = str(folder.expanduser().resolve())
    if not glob.has_magic(place):
        return load_dataset(str(folder), config)
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns
    from datasets.load import infer_module_for_data_files

    escaped = glob.escape(place)
    configs = configs_of_card(folder)
    if config is not None and config not in configs:
        raise ConfigError(
            f"{folder.name}: no config {config!r}; it has {', '.join(configs) or 'none'}"
        )
    said = (
        configs[config or configs.get_default_config_name() or next(iter(configs))]
        if configs
        else {}
    )
    patterns = (
        sanitize_patterns(said["data_files"])
        if "data_files" in said
        else get_data_patterns(str(Path(escaped, said.get("data_dir", ""))))
    )
    files = DataFilesDict.from_patterns(patterns, base_path=escaped)
    module, options = infer_module_for_data_files(files, path=place)
    names = {split: [glob.escape(file) for file in found] for split, found in files.items()}
    return load_dataset(module, data_files=names, **options)


def unread_files(folder: Path) -> list[str]:
    """Return the files of pairs in a folder without a card that `load_dataset(folder)` leaves out.

    Args:
        folder: Where `load_dataset` found something.
    """
    from datasets.data_files import DataFilesDict, get_data_patterns
    from datasets.load import infer_module_for_data_files

    place = folder.expanduser().resolve()
    escaped = glob.escape(str(place))
    files = DataFilesDict.from_patterns(get_data_patterns(escaped), base_path=escaped)
    module, _ = infer_module_for_data_files(files, path=str(place))
    read = {Path(str(file)) for found in files.values() for file in found}
    there = (file.relative_to(place) for file in sorted(place.rglob("*")) if file.is_file())
    return [
        str(file)
        for file in there
        if file.suffix in READERS
        and not any(part.startswith((".", "__")) for part in file.parts)
        and not (place / file in read and READERS[file.suffix] == module)
    ]


def configs_of_card(folder: Path) -> Any:
    """Return the configs in a folder's card, by name: `datasets`' `MetadataConfigs`."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard, DatasetCardData

    card = folder / "README.md"
    data = DatasetCard.load(card).data if card.is_file() else DatasetCardData()
    return MetadataConfigs.from_dataset_card_data(data)
