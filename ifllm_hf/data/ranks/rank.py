"""One rank: a part of the sessions becomes shards, and a record that says that they are whole.

The shards of a rank lie in a folder of their own, which its record names. The record is written
last: a rank that was killed has none, and what it left is seen by nobody.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ifllm_hf.data.prepared.folder import write_tables
from ifllm_hf.data.ranks.listing import Listing, read_listing
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import CHAT_SCHEMAS
from ifllm_hf.data.sessions.collected import CollectedSessions
from ifllm_hf.data.sessions.origin import (
    WITHDRAWN,
    KnownSession,
    SessionsOrigin,
    read_tombstones,
)
from ifllm_hf.data.sessions.review import Key, read_decisions
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import ConfigError, OutputError, WithdrawnMeanwhileError
from ifllm_hf.files import digest, file_digest, read_json_object, write_json

RANKS = "ranks"
CONFIGS_OF_RANK = ("pairwise", "pointwise", "ticks", "preferences", "tasks", *CHAT_SCHEMAS)
"""What a rank writes, the last ones where it read chat pages; `workers` takes all readers."""
NOT_DONE = "is not done"
_PARTS_OF_RECORD = {"listing", "sessions", "folder", "files", "rows", "decisions", "ends", "counts"}
_ATTEMPTS = 3  # to read sessions of which none is withdrawn meanwhile

Record = dict[str, Any]
Decisions = Mapping[str, Sequence[tuple[int, str]]]
"""Of the reviewers, by reader: turn and decision."""


def run_rank(work: Path, rank: int) -> None:
    """Write the shards of a rank, and its record when they are whole.

    Two processes may do the same rank, as where a cluster gives up a node that is only cut off: the
    first record counts. Before a rank is done anew, `forget` takes the old one away.

    Args:
        work: The working folder, with its listing.
        rank: Which part.

    Raises:
        ConfigError: Another version of the package made the listing.
        SourceError: A session cannot be read.
        WithdrawnMeanwhileError: Sessions were withdrawn again and again while they were read.
        OutputError: The disk is full.
    """
    listing = read_listing(work)
    part = listing.part(rank)
    for _ in range(_ATTEMPTS - 1):
        with suppress(WithdrawnMeanwhileError):
            return _write(listing, rank, part)
    return _write(listing, rank, part)


def _write(listing: Listing, rank: int, part: list[KnownSession]) -> None:
    sessions = open_part(listing, part)
    done = record_path(listing.work, rank)
    folder = listing.work / RANKS / f"{rank:05d}-{uuid4().hex[:8]}"
    ends: Counter[str] = Counter()
    try:
        folder.mkdir(parents=True)
        rows = write_tables(
            folder,
            turns=None,
            conversations=_counted(sessions.conversations(), ends),
            preferences=sessions.tables_to_write().preferences,
            tasks=None,
            workers=None,
        )
        shutil.rmtree(folder / "workers")  # empty: it takes all readers
        sessions.check_at_the_end()
        record = {
            "listing": listing.key,
            "sessions": listed(part),
            "folder": folder.name,
            "files": {str(file.relative_to(folder)): file_digest(file) for file in _shards(folder)},
            "rows": {config: rows[config] for config in CONFIGS_OF_RANK if config in rows},
            "decisions": _decided(by_reader(sessions.decisions), part),
            "ends": ends,
            "counts": sessions.counts(),
        }
        if done.exists():  # another process was faster: it was started when this one seemed lost
            shutil.rmtree(folder, ignore_errors=True)
            return
        write_json(done, record, indent=None)
        for former in folder.parent.glob(f"{rank:05d}-*"):  # of a kill, or of who withdrew since
            if former != folder:
                shutil.rmtree(former, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            if done.exists():  # the faster one deletes what others have begun
                return
            raise OutputError(
                f"{folder}: cannot be written ({error}); free some space and run the same command "
                "again"
            ) from error
        raise


def open_part(listing: Listing, part: list[KnownSession]) -> CollectedSessions:
    """Open sessions that were listed; who has withdrawn since is left out and counted."""
    folder = listing.source
    withdrawn = read_tombstones(folder)
    origin = SessionsOrigin(folder, name=str(folder))
    origin.ledger.keep(len(part))
    origin.contents = {known.session_id: None for known in part}
    gone = [known for known in part if tombstone(known.session_id) in withdrawn]
    sessions = CollectedSessions(
        origin,
        part,
        read_decisions(folder),
        withdrawn=withdrawn,
        public=listing.settings["public"],
    )
    for known in gone:
        sessions.leave_out(known, WITHDRAWN)
    return sessions


def forget(work: Path, rank: int) -> None:
    """Delete the record of a rank that is to be done anew."""
    record_path(work, rank).unlink(missing_ok=True)


def record_path(work: Path, rank: int) -> Path:
    """Return the file with the record of a rank."""
    return work / RANKS / f"{rank:05d}.json"


def read_record(
    listing: Listing,
    rank: int,
    part: Sequence[KnownSession],
    withdrawn: frozenset[str],
    decisions: Decisions,
) -> Record | str:
    """Return the record of a rank, but its counts, if it can be used as it is; else why not.

    Args:
        listing: The sessions.
        rank: Which part.
        part: Its sessions.
        withdrawn: The tombstones by now.
        decisions: Of the reviewers, by now.
    """
    path = record_path(listing.work, rank)
    if not path.exists():
        return NOT_DONE
    try:
        record = read_json_object(path)
    except ConfigError as error:
        return str(error)
    if not record.keys() >= _PARTS_OF_RECORD:
        return f"was damaged: {path} is no record"
    if record["listing"] != listing.key:
        return "belongs to another listing"
    if record["sessions"] != listed(part):
        return NOT_DONE  # of a listing that has grown since
    if any(tombstone(known) in withdrawn for known in record["counts"]["contents"]):
        return "holds somebody who has withdrawn"
    if record["decisions"] != _decided(decisions, part):
        return "was made before a review"
    folder = listing.work / RANKS / record["folder"]
    for name, was in record["files"].items():
        file = folder / name
        if not file.exists() or file_digest(file) != was:
            return f"was damaged: {file} is not as it was written"
    del record["counts"]  # of all ranks they are much
    return record


def read_counts(work: Path, rank: int) -> dict[str, Any]:
    """Return what a rank counted; see `CollectedSessions.counts`."""
    counts: dict[str, Any] = read_json_object(record_path(work, rank))["counts"]
    return counts


def by_reader(decisions: Mapping[Key, str]) -> Decisions:
    """Return the decisions of the reviewers by reader."""
    grouped: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (user_id, turn), decision in sorted(decisions.items()):
        grouped[user_id].append((turn, decision))
    return grouped


def listed(part: Iterable[KnownSession]) -> str:
    """Return what names the sessions of a rank, as long as each was when it was listed."""
    return digest([[known.session_id, known.n_bytes] for known in part])


def _decided(decisions: Decisions, part: Iterable[KnownSession]) -> str:
    return digest([[k.user_id, decisions[k.user_id]] for k in part if k.user_id in decisions])


def _counted(
    conversations: Iterable[ConversationRows], ends: Counter[str]
) -> Iterator[ConversationRows]:
    for rows in conversations:
        ends.update(rows.reading_end_source.values())
        yield rows


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.parquet"))
