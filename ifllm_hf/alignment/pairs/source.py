"""Open preference pairs from IFLLM, a file, a folder or the Hub; refuse the untrainable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError, DataError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset

MADE_UP = "made-up"
_TEXTS = ("prompt", "chosen", "rejected")
_READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}


def open_pairs(dataset: str, config: str | None = None, split: str = "train") -> Dataset:
    """Open a preference dataset.

    Args:
        dataset: `ifllm`; a `.parquet`, `.jsonl` or `.json` file; a folder (prepared by `ifllm`,
            saved by `save_to_disk`, or holding such files); `made-up`; or the name of a dataset on
            the Hub.
        config: Config of the dataset; for `ifllm` the default is `preferences`.
        split: Split to read.

    Returns:
        The dataset as it is stored, with an explicit `prompt` column.

    Raises:
        SourceError: Nothing can be read there.
    """
    pairs = _open(dataset, config, split)
    if len(pairs) and "prompt" not in pairs.column_names and "chosen" in pairs.column_names:
        from trl.data_utils import extract_prompt

        # TRL's implicit form: both answers begin with the whole prompt.
        pairs = pairs.map(extract_prompt)
    return pairs


def _open(dataset: str, config: str | None, split: str) -> Dataset:
    from datasets import get_dataset_config_names, load_dataset, load_from_disk

    path = Path(dataset)
    if dataset == MADE_UP:
        from ifllm_hf.training.tiny_models import made_up_pairs

        return made_up_pairs()
    if path.is_file():
        if path.suffix not in _READERS:
            raise SourceError(
                f"{dataset}: cannot read {path.suffix or 'a file without a suffix'}; expected one "
                f"of {', '.join(_READERS)}"
            )
        return _read(
            lambda: load_dataset(_READERS[path.suffix], data_files=str(path)), dataset, "train"
        )
    if path.is_dir() and dataset != "ifllm":
        if (path / "state.json").exists():
            return _read(lambda: load_from_disk(str(path)), dataset, split)
        if (path / "README.md").exists():
            if config is None and "preferences" in get_dataset_config_names(str(path)):
                config = "preferences"
            return _read(lambda: load_dataset(str(path), config), dataset, split)
        for suffix, reader in _READERS.items():
            files = sorted(str(file) for file in path.rglob(f"*{suffix}"))
            if files:
                return _read(partial(load_dataset, reader, data_files=files), dataset, "train")
        raise SourceError(f"{dataset}: no {', '.join(_READERS)} file in this folder; name another")
    if path.suffix in _READERS or dataset.startswith((".", "/", "~")):
        raise SourceError(
            f"{dataset}: no such file or folder; name a file that exists (`ifllm label` writes one)"
            ", or use --dataset ifllm"
        )
    if dataset == "ifllm":
        config = config or "preferences"
    return _read(lambda: load_dataset(dataset, config), dataset, split)


def _read(load: Callable[[], Any], name: str, split: str) -> Dataset:
    """Call a loader, and turn what it may raise into one message."""
    from datasets import Dataset, DatasetDict
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        loaded = load()
    except (DatasetNotFoundError, DatasetGenerationError, OSError, ValueError) as error:
        if "corresponds to no data" in str(error):
            return Dataset.from_dict({})
        why = error.__cause__ or error  # "an error occurred" is caused by what is wrong
        raise SourceError(
            f"{name}: cannot be read as a dataset ({why}); check the name, the config and the "
            "network, or name a local .parquet file"
        ) from error
    if isinstance(loaded, DatasetDict):
        if split not in loaded:
            raise ConfigError(
                f"{name}: no split {split!r}; it has {', '.join(loaded)}; set dataset_split"
            )
        loaded = loaded[split]
    assert isinstance(loaded, Dataset)
    return loaded


def text_of(value: Any) -> str:
    """Return the text of a prompt or answer: a string, or messages with their contents joined."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "\n".join(str(message["content"]) for message in value)


def _is_text(value: Any) -> bool:
    """Whether `text_of` can read it; None is an empty text."""
    if isinstance(value, list):
        return all(isinstance(message, dict) and "content" in message for message in value)
    return value is None or isinstance(value, str)


def require_columns(pairs: Dataset, name: str, needed: Mapping[str, str | bool]) -> None:
    """Refuse a dataset without a column that a setting needs.

    Args:
        pairs: The dataset.
        name: What to call it in messages.
        needed: By column, the setting that needs it; False where it is not set.

    Raises:
        ConfigError: A column is not there.
    """
    for column, setting in needed.items():
        if setting and column not in pairs.column_names:
            raise ConfigError(
                f"{name}: no column '{column}', which {setting} needs; it has "
                f"{', '.join(pairs.column_names)}"
            )


def check_pairs(pairs: Dataset, name: str) -> list[float]:
    """Refuse pairs that no loss can learn from.

    Args:
        pairs: A dataset with `prompt`, `chosen`, `rejected` and maybe `confidence`.
        name: What to call it in messages.

    Returns:
        The confidence of each pair; 1.0 everywhere when there is no such column.

    Raises:
        DataError: No rows, a missing column, an empty side, both sides equal, or a confidence that
            is not a probability of at least one half. The message names the first row.
    """
    if not len(pairs):
        raise DataError(f"{name}: 0 pairs; expected at least one; check how the file was written")
    missing = [column for column in _TEXTS if column not in pairs.column_names]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(missing)}; it has {', '.join(pairs.column_names)}; "
            "expected TRL's preference format: prompt, chosen, rejected and maybe confidence"
        )
    for side in _TEXTS:
        _refuse(
            name,
            f"'{side}' is neither a text nor messages",
            [i for i, value in enumerate(pairs[side]) if not _is_text(value)],
            pairs[side],
            "expected a string, or a list of {'role': ..., 'content': ...}",
        )
    sides = {side: [text_of(value) for value in pairs[side]] for side in _TEXTS}
    for side, texts in sides.items():
        _refuse(
            name,
            f"'{side}' is empty",
            [i for i, text in enumerate(texts) if not text.strip()],
            texts,
            "each pair needs a prompt and two answers; remove those rows",
        )
    _refuse(
        name,
        "'chosen' equals 'rejected'",
        [i for i, text in enumerate(sides["chosen"]) if text == sides["rejected"][i]],
        sides["chosen"],
        "a tie teaches nothing; remove those rows",
    )
    if "confidence" not in pairs.column_names:
        return [1.0] * len(pairs)
    # What is no number is refused below, as it was written.
    given = list(pairs["confidence"])
    confidence = [float(c) if isinstance(c, int | float) else math.nan for c in given]
    _refuse(
        name,
        "'confidence' is missing or outside [0.5, 1]",
        [i for i, c in enumerate(confidence) if not 0.5 <= c <= 1],
        given,
        "it is the probability that 'chosen' is better: swap the answers where it is below one "
        "half, rescale it, or drop the column",
    )
    return confidence


def _refuse(name: str, what: str, rows: list[int], values: Sequence[Any], todo: str) -> None:
    if rows:
        seen = str(values[rows[0]])
        seen = seen if len(seen) <= 60 else f"{seen[:57]}..."
        raise DataError(
            f"{name}: {what} in {len(rows)} of {len(values)} rows; first at row {rows[0]}, counted "
            f"from 0 ({seen!r}); {todo}"
        )
