"""The records and shards of all ranks become one prepared folder."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.prepared.folder import PreparedFolder, write_config, write_folder
from ifllm_hf.data.prepared.prepare import PrepareReport, write_and_report
from ifllm_hf.data.ranks.listing import Listing
from ifllm_hf.data.ranks.rank import CONFIGS_OF_RANK, RANKS, Record, read_counts
from ifllm_hf.data.sessions.collected import CollectedSessions
from ifllm_hf.data.sessions.origin import KnownSession, SessionsOrigin


def join_ranks(
    listing: Listing,
    parts: Sequence[Sequence[KnownSession]],
    records: Sequence[Record],
    out: Path,
    withdrawn: frozenset[str],
) -> PrepareReport:
    """Write the prepared folder that all ranks together make.

    Args:
        listing: The sessions.
        parts: Those of each rank.
        records: Of each rank, checked.
        out: The folder to write or to replace.
        withdrawn: The tombstones that the records were checked against.

    Raises:
        WithdrawnMeanwhileError: Somebody withdrew since; nothing was written.
        OutputError: It cannot be written.
    """
    sessions = [known for part in parts for known in part]
    ledger = listing.ledger + Ledger("of ranks")  # a copy: what was left out is counted in it
    origin = SessionsOrigin(listing.source, ledger, name=str(listing.source))
    origin.contents = {known.session_id: None for known in sessions}
    whole = CollectedSessions(
        origin, sessions, {}, withdrawn=withdrawn, public=listing.settings["public"]
    )
    ends: Counter[str] = Counter()
    for rank, record in enumerate(records):
        whole.add_counts(read_counts(listing.work, rank))
        ends.update(record["ends"])
    tables = partial(_tables, listing.work / RANKS, records, whole)

    def write(card: Callable[[Path], str]) -> PreparedFolder:
        return write_folder(out, tables, card)

    return write_and_report(whole, ends, write)


def _tables(
    ranks: Path, records: Sequence[Record], whole: CollectedSessions, folder: Path
) -> dict[str, int]:
    """Put the shards of all ranks into one folder, with the readers of all."""
    counts = {}
    for config in CONFIGS_OF_RANK:
        having = [record for record in records if config in record["rows"]]
        if not having:  # nobody read a chat page
            continue
        counts[config] = sum(record["rows"][config] for record in having)
        # A rank without rows has an empty shard; of all ranks together one is enough.
        filled = [record for record in having if record["rows"][config]] or having[:1]
        shards = [
            ranks / record["folder"] / name
            for record in filled
            for name in record["files"]
            if name.startswith(f"{config}/")
        ]
        (folder / config).mkdir()
        for i, shard in enumerate(shards):
            _link(shard, folder / config / f"train-{i:05d}-of-{len(shards):05d}.parquet")
    counts["workers"] = write_config(folder, "workers", whole.workers)
    return counts


def _link(shard: Path, name: Path) -> None:
    """Give a file a second name: the rank keeps it until the folder stands."""
    try:
        os.link(shard, name)
    except OSError:  # a file system without
        shutil.copyfile(shard, name)
