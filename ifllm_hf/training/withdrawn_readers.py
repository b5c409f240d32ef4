"""Models that learned from somebody who has withdrawn since.

A model's card lists the readers it was trained on under `ifllm_readers` in its YAML, and `run.json`
beside local weights lists them under `data`. A tombstone begins with the same digits as a reader's
pseudonym, so the two can be compared and neither leads back to a person.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifllm_hf.data.card_head import card_head, split_card
from ifllm_hf.data.sessions.collected import READER_PREFIX
from ifllm_hf.errors import SourceError
from ifllm_hf.hub_errors import hub_errors
from ifllm_hf.training.run_record import RUN_FILE, read_run

READERS_KEY = "ifllm_readers"
"""In the YAML of a model's card: whose recordings it learned from, so that a reader who withdraws
can be looked up (`ifllm prepare SESSIONS --models`)."""


@dataclass(frozen=True)
class AffectedModel:
    """A model whose card lists readers who have withdrawn.

    Attributes:
        model: Folder or `ORG/NAME`.
        readers: Their pseudonyms.
    """

    model: str
    readers: tuple[str, ...]


def affected_models(
    models: Iterable[str | os.PathLike[str]], tombstones: Iterable[str]
) -> list[AffectedModel]:
    """Return the models that learned from withdrawn readers.

    Args:
        models: Folders of models, folders that hold such folders, or Hub ids.
        tombstones: sha256 of withdrawn session ids, hex.

    Raises:
        SourceError: A model says nothing of what it learned from.
    """
    withdrawn = {READER_PREFIX + stone[:16] for stone in tombstones}
    found = []
    for model in models:
        for name, known in _models(model):
            readers = tuple(sorted(withdrawn & known))
            if readers:
                found.append(AffectedModel(name, readers))
    return found


def _models(model: str | os.PathLike[str]) -> Iterable[tuple[str, set[str]]]:
    """Return every model there with the readers that it names."""
    place = Path(model)
    if place.is_dir():
        folders = [f for f in (place, *sorted(place.iterdir())) if _says_something(f)]
        if not folders:
            raise SourceError(
                f"{place}: no README.md or run.json in it or one level below. Expected a model's "
                "folder, or a folder of such folders."
            )
        return [(str(folder), _of_folder(folder)) for folder in folders]
    if str(model).count("/") != 1:
        raise SourceError(f"{model}: is no folder here and no ORG/NAME on the Hub. Correct it.")
    from huggingface_hub import hf_hub_download

    with hub_errors(str(model)):
        card = hf_hub_download(str(model), "README.md")
    text = Path(card).read_text(encoding="utf-8", errors="replace")
    return [(str(model), _readers(split_card(text, str(model))[0]))]


def _says_something(folder: Path) -> bool:
    return (folder / "README.md").is_file() or (folder / RUN_FILE).is_file()


def _of_folder(folder: Path) -> set[str]:
    """Return the readers in a folder's card, and in the record of its training."""
    run = read_run(folder) or {}
    return _readers(card_head(folder)) | set(run.get("data", {}).get("readers", ()))


def _readers(head: dict[str, Any]) -> set[str]:
    listed = head.get(READERS_KEY)
    return {str(reader) for reader in listed} if isinstance(listed, list) else set()
