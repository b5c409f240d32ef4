"""Prepared folders that a URL names: made here, then put there, the card last.

A store has no way to put a folder in place as a whole. What is there is a prepared folder as soon
as its card is there: the card of an older one goes first, the new one comes last. A dataset
repository of the Hub gets one commit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ifllm_hf.data.marker import version_in
from ifllm_hf.data.prepared.folder import OWN_NAMES
from ifllm_hf.data.schema import TABLE_SCHEMAS
from ifllm_hf.data.sessions.sessions_card import waiting_questions
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.files import cache_folder, digest, held
from ifllm_hf.hub_errors import check_repo_id, hub_errors
from ifllm_hf.remote_path import RemotePath, is_remote, local_path

UNFINISHED = ".ifllm-unfinished"
"""Lies in a place from the first file to the last: an upload that broke off may begin again."""
_CARD = "README.md"
_DATASETS = "hf://datasets/"


@contextmanager
def place_to_write(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the folder to prepare: `out`, or one that is put there when the block ends.

    For a URL the folder lies in the cache. What a run leaves beside it stays until it has been put
    there, so that the same command goes on.

    Args:
        out: A folder; or `hf://datasets/ORG/NAME`, or any other that fsspec writes to.

    Raises:
        OutputError: The place is taken, or another run here writes it.
        RemoteError: It cannot be written.
        ConfigError: Unreviewed questions would become public.
    """
    if not is_remote(out):
        yield local_path(out)
        return
    place = RemotePath(str(out))
    if place.url.startswith(_DATASETS):
        check_repo_id(place.url.removeprefix(_DATASETS))
    check_remote_target(place)
    work = cache_folder() / "outputs" / digest(place.url, 16)
    here = work / place.name
    with held(work / "run", f"{out}: another run is writing it; wait for it."):
        try:
            yield here
            check_remote_target(place)  # hours may have passed
            upload(here, place)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            shutil.rmtree(here, ignore_errors=True)
            if work.exists() and {entry.name for entry in work.iterdir()} <= {"run.lock"}:
                shutil.rmtree(work, ignore_errors=True)


def check_remote_target(place: RemotePath) -> None:
    """Refuse a place that a prepared folder must not take.

    Raises:
        OutputError: Something else lies in it.
        RemoteError: It cannot be read.
    """
    names = set(place.names()) - {".gitattributes"}
    if not names:
        return
    if UNFINISHED not in names and not (_CARD in names and _is_prepared(place / _CARD)):
        raise OutputError(
            f"{place}: exists and is not a prepared folder, so it is not overwritten. Choose "
            "another place."
        )
    foreign = sorted(names - OWN_NAMES - {UNFINISHED})
    if foreign:
        raise OutputError(
            f"{place}: besides prepared data it holds {', '.join(foreign[:5])}, which would be "
            "lost. Choose another place."
        )


def _is_prepared(card: RemotePath) -> bool:
    return version_in(card.read_bytes().decode("utf-8", "replace")) is not None


def upload(folder: Path, place: RemotePath) -> None:
    """Put a prepared folder where a URL names a place; what was there is replaced.

    Raises:
        RemoteError: It cannot be written; the place then is no prepared folder, until the same
            command has ended.
        ConfigError: Unreviewed questions would become public.
    """
    if place.url.startswith(_DATASETS):
        repo_id = place.url.removeprefix(_DATASETS)
        commit_prepared(folder, repo_id, private=True, message="Prepare sessions")
        return
    (place / UNFINISHED).write_bytes(b"")
    for name in (_CARD, *TABLE_SCHEMAS, "figures"):
        (place / name).remove()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        if name != _CARD:
            (place / name).put(file)
    (place / _CARD).put(folder / _CARD)
    (place / UNFINISHED).remove()


def commit_prepared(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool | None, message: str
) -> str:
    """Upload a prepared folder to a dataset repository of the Hub, in one commit.

    Args:
        folder: The folder, complete.
        repo_id: `ORG/NAME`; it is made if it is missing.
        private: For a new repository: hide it. None: what the account or organisation says.
        message: Of the commit.

    Returns:
        The web address of the repository.

    Raises:
        ConfigError: Unreviewed questions would become public.
        OutputError: No token, no permission, or no network.
    """
    refuse_unreviewed(folder, repo_id, private=private)
    with hub_errors(repo_id):
        from huggingface_hub import HfApi

        api = HfApi(library_name="ifllm_hf")
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        found = api.repo_info(repo_id, repo_type="dataset")
        refuse_unreviewed(folder, repo_id, private=found.private, state="is public already")
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=Path(folder),
            commit_message=message,
            delete_patterns=[f"{config}/train-*.parquet" for config in TABLE_SCHEMAS],
        )
    return str(url)


def refuse_unreviewed(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None,
    state: str = "would be public",
) -> None:
    """Raise ConfigError if a prepared folder holds unreviewed questions and the place is public.

    Args:
        folder: The prepared folder.
        repo_id: Where it is going.
        private: Whether only its owners can see that place; None counts as no.
        state: Of the place, for the message.
    """
    waiting = waiting_questions(folder)
    if waiting and private is not True:
        raise ConfigError(
            f"{repo_id}: {state}, and {waiting} questions in {folder} were not reviewed for "
            "personal data. Push to a private repository (--private), or review them (`ifllm "
            "review`) and prepare with --public."
        )
