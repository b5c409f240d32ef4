"""Ranks of machines that share no disk: they meet where a URL names a folder.

The listing is put there, a rank puts its shards there and its record last, and what is whole is
fetched into the working folder and deleted there.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from ifllm_hf.data.ranks.engines import Engine
from ifllm_hf.data.ranks.listing import LISTING, SESSIONS, read_listing
from ifllm_hf.data.ranks.rank import RANKS, record_path, run_rank
from ifllm_hf.files import read_json_object, write_whole
from ifllm_hf.remote_path import Place, RemotePath

_SHARD = re.compile(r"\d{5}-[0-9a-f]{8}/[a-z]+/train-\d{5}-of-\d{5}\.parquet", re.ASCII)
"""What the name of a shard looks like: whatever an exchange holds, nothing else is written here."""


def run_rank_at(place: Place, rank: int) -> None:
    """Run a rank of a working folder here, or of an exchange elsewhere; see `run_rank`."""
    if not isinstance(place, RemotePath):
        return run_rank(place, rank)
    with tempfile.TemporaryDirectory(prefix="ifllm-rank-") as here:
        work = Path(here)
        for name in (LISTING, SESSIONS):
            write_whole(work / name, (place / name).read_bytes())
        run_rank(work, rank)
        record = read_json_object(record_path(work, rank))
        folder = RANKS, record["folder"]
        for name in record["files"]:
            (place / "/".join((*folder, name))).put(work.joinpath(*folder, name))
        (place / RANKS / record_path(work, rank).name).put(record_path(work, rank))


def exchanging(url: str, engine: Engine) -> Engine:
    """Return an engine whose ranks run with `run_rank_at(url)`, and come from there.

    Args:
        url: A folder that all machines read and write.
        engine: Runs them.
    """
    return partial(_run, RemotePath(url), engine)


def check_exchange(url: str) -> None:
    """Write a file to an exchange, read it and delete it: before sessions are listed for hours.

    Raises:
        RemoteError: That cannot be done.
    """
    probe = RemotePath(url) / f".ifllm-{uuid4().hex[:8]}"
    probe.write_bytes(b"ifllm")
    probe.read_bytes()
    probe.remove()


def _run(
    place: RemotePath,
    engine: Engine,
    work: Path,
    ranks: Sequence[int],
    done: Callable[[int], None],
) -> None:
    left = [rank for rank in ranks if not _fetch(place, work, rank)]
    for rank in set(ranks) - set(left):
        done(rank)
    if left:
        (place / SESSIONS).put(work / SESSIONS)
        (place / LISTING).put(work / LISTING)
        try:
            engine(work, left, done)
        finally:
            left = [rank for rank in left if not _fetch(place, work, rank)]
    if not left:
        for name in (RANKS, LISTING, SESSIONS):  # and what ranks that were killed have left
            (place / name).remove()


def _fetch(place: RemotePath, work: Path, rank: int) -> bool:
    """Bring a rank here if it is whole and of this listing; tell whether it was."""
    name = record_path(work, rank).name
    try:
        content = (place / RANKS / name).read_bytes()
        record = json.loads(content)
    except (FileNotFoundError, ValueError):
        return False
    shards = [f"{record['folder']}/{file}" for file in record["files"]]
    if not all(map(_SHARD.fullmatch, shards)):
        return False
    taken: bool = record["listing"] == read_listing(work).key
    if taken:
        try:
            for shard in shards:
                write_whole(work / RANKS / shard, (place / RANKS / shard).read_bytes())
        except FileNotFoundError:
            return False
        write_whole(record_path(work, rank), content)
    (place / RANKS / name).remove()  # what cannot be used must not come again
    (place / RANKS / record["folder"]).remove()
    return taken
