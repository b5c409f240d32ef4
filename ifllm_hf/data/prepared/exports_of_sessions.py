"""Which prepared folders were made of a folder of sessions: a withdrawal reaches them all."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

import polars as pl

from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.sessions.sessions_card import is_of_sessions
from ifllm_hf.errors import IFLLMError
from ifllm_hf.remote_path import Place, RemotePath

logger = logging.getLogger(__name__)

EXPORTS = "exports.txt"
"""Beside the session files: one absolute path a line."""


def note_export(sessions: Place, export: Place) -> None:
    """Write down that `export` was made of `sessions`; a warning where that cannot be written."""
    if isinstance(sessions, RemotePath) or isinstance(export, RemotePath):
        logger.warning(
            "%s: withdrawals will not reach this export of %s. Make it again when somebody "
            "withdrew.",
            export,
            sessions,
        )
        return
    place = os.path.realpath(export)
    try:
        if place not in _lines(sessions):
            with open(sessions / EXPORTS, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{place}\n")
    except OSError as error:
        logger.warning(
            "%s: withdrawals will not reach this export, since %s cannot be written (%s). Make it "
            "again when somebody withdrew.",
            export,
            sessions / EXPORTS,
            error.strerror,
        )


def known_exports(sessions: Path) -> list[Path]:
    """Return the exports of `sessions` that are still there and still made of sessions."""
    found = []
    for place in map(Path, dict.fromkeys(_lines(sessions))):
        try:
            if is_prepared(place) and is_of_sessions(place):
                found.append(place)
        except (IFLLMError, OSError):
            continue  # it has become something else, and is not ours to touch
    return found


def holds_withdrawn(export: Path, tombstones: Collection[str]) -> bool:
    """Tell whether a reader who has withdrawn is in an export.

    Raises:
        IFLLMError: It is damaged.
    """
    gone = {tombstone[:16] for tombstone in tombstones}
    files = config_files(export, "workers")
    readers = pl.read_parquet(files, columns=["user_id"])["user_id"].to_list()
    return any(reader.rpartition("_")[2] in gone for reader in readers)


def _lines(sessions: Path) -> list[str]:
    path = sessions / EXPORTS
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
