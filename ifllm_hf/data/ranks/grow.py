"""Sessions that keep arriving: what was read before stays, and only what is new is read.

A session keeps the rank that it was first given. Those that came since make ranks of their own; one
that began between others goes to their rank, so that all come in the order in which they began. A
rank is done again where one of its sessions has grown, came late or was withdrawn, or a reviewer
decided since. The tables are those of all sessions read at once.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import check_target
from ifllm_hf.data.prepared.prepare import PrepareReport
from ifllm_hf.data.ranks.engines import Engine
from ifllm_hf.data.ranks.listing import LISTING, Listing, cut, keep_listing, read_listing
from ifllm_hf.data.ranks.rank import RANKS, by_reader, listed
from ifllm_hf.data.ranks.run import run_ranks
from ifllm_hf.data.sessions.origin import (
    KnownSession,
    folder_of_sessions,
    list_sessions,
    read_tombstones,
)
from ifllm_hf.data.sessions.review import read_decisions
from ifllm_hf.errors import ConfigError, SourceError
from ifllm_hf.files import digest, held, read_json_object, write_json
from ifllm_hf.remote_path import Place, place_of

logger = logging.getLogger(__name__)

RANK_BYTES = 64 * 2**20
"""Sessions of a rank, where so many came at once: some hundreds, read in about ten seconds."""

JOINED = "joined.json"
"""In the working folder: of which sessions the prepared folder was made."""


@dataclass(frozen=True)
class _Grown:
    """The sessions by now.

    Attributes:
        sessions: In their order.
        of_rank: The rank of each.
        ranks: How many there are.
        ledger: Of the files.
        decisions: Of the reviewers.
        former: The listing that has grown; None: there is none.
    """

    sessions: list[KnownSession]
    of_rank: list[int]
    ranks: int
    ledger: Ledger
    decisions: str
    former: Listing | None

    def state(self, key: str) -> str:
        """Return what names all that the prepared folder depends on; `key` is the listing's."""
        return digest([key, listed(self.sessions), self.decisions, self.ledger.packed()])


def prepare_new(
    source: str | os.PathLike[str],
    out: Path,
    work: Path,
    *,
    engine: Engine,
    progress: bool = True,
) -> PrepareReport | None:
    """Bring a prepared folder up to what has arrived; see `prepare` for what comes out.

    Args:
        source: A folder of collected sessions.
        out: The prepared folder; it is replaced as a whole.
        work: The working folder, which keeps what was read. It holds what readers did: who withdrew
            is in it, and in `out`, until the next call.
        engine: What runs ranks.
        progress: Show a progress bar on stderr.

    Returns:
        What was written; None: nothing has changed since the last call.

    Raises:
        SourceError: `source` holds no sessions, or one cannot be read.
        OutputError: The place is taken, another run writes it, or the disk is full.
        UnfinishedError: Ranks were killed; the same call does what is left.
        WithdrawnMeanwhileError: Sessions were withdrawn again and again.
    """
    check_target(out)
    folder, settings = _source(source)
    busy = f"{out}: another run is writing it ({work}); wait for it."
    with held(work / "run", busy):
        grown = _grow(work, folder, settings)
        if _stands(grown, out, work):
            return None
        if grown.former is None:  # whatever lies there is of no use
            shutil.rmtree(work / RANKS, ignore_errors=True)
        key = None if grown.former is None else grown.former.key
        listing = keep_listing(
            work, settings, grown.sessions, grown.of_rank, grown.ranks, grown.ledger, key
        )
        report = run_ranks(listing, out, engine, progress)
        write_json(work / JOINED, {"state": grown.state(listing.key)})
    return report.at(out)


def is_up_to_date(source: str | os.PathLike[str], out: Path, work: Path) -> bool:
    """Tell whether `prepare_new` would change nothing; nothing is written."""
    folder, settings = _source(source)
    return _stands(_grow(work, folder, settings), out, work)


def _source(source: str | os.PathLike[str]) -> tuple[Place, dict[str, Any]]:
    """Return the folder of the sessions, and the settings of its listing."""
    folder = folder_of_sessions(place_of(source))
    if folder is None:
        raise SourceError(f"{source}: holds no collected sessions; name the folder that collects")
    named = os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
    return folder, {"source": named, "public": False}


def _stands(grown: _Grown, out: Path, work: Path) -> bool:
    if grown.former is None or not is_prepared(out) or not (work / JOINED).exists():
        return False
    try:
        joined = read_json_object(work / JOINED)
    except ConfigError:  # half of it was written: the ranks are joined again
        return False
    return joined.get("state") == grown.state(grown.former.key)


def _grow(work: Path, folder: Place, settings: dict[str, Any]) -> _Grown:
    former = _former(work, settings)
    parts = [] if former is None else former.parts()
    rank_of = {known.session_id: rank for rank, part in enumerate(parts) for known in part}
    known = {session.session_id: session for part in parts for session in part}
    origin, sessions = list_sessions(folder, read_tombstones(folder), known)
    filled = [(rank, part) for rank, part in enumerate(parts) if part]
    starts = [_begun(part[0]) for _, part in filled]
    last = _begun(filled[-1][1][-1]) if filled else None
    new = []
    for session in sessions:
        if session.session_id in rank_of:
            continue
        if last is not None and _begun(session) < last:
            at = max(0, bisect_right(starts, _begun(session)) - 1)
            rank_of[session.session_id] = filled[at][0]
        else:
            new.append(session)
    sizes = [1 + session.n_bytes for session in new]
    of_new = cut(sizes, math.ceil(sum(sizes) / RANK_BYTES))
    ranks = len(parts) + len(set(of_new))
    for session, rank in zip(new, of_new, strict=True):
        rank_of[session.session_id] = len(parts) + rank
    of_rank = [rank_of[session.session_id] for session in sessions]
    decisions = digest(by_reader(read_decisions(folder)))
    return _Grown(sessions, of_rank, max(1, ranks), origin.ledger, decisions, former)


def _former(work: Path, settings: dict[str, Any]) -> Listing | None:
    """Return the listing of the last call, if it can be used."""
    if not (work / LISTING).exists():
        return None
    try:
        listing = read_listing(work)
        listing.parts()
    except ConfigError as error:
        logger.warning("%s: all sessions are read anew (%s)", work, error)
        return None
    return listing if listing.settings == settings else None


def _begun(session: KnownSession) -> tuple[float, str]:
    return session.created_ms, session.session_id
