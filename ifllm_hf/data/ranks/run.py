"""`ifllm prepare SESSIONS --tasks N`: list, run the ranks, join them; goes on where it stopped."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.data.prepared.elsewhere import place_to_write
from ifllm_hf.data.prepared.folder import check_target, working_folder
from ifllm_hf.data.prepared.prepare import PrepareReport
from ifllm_hf.data.ranks.engines import Engine
from ifllm_hf.data.ranks.join import join_ranks
from ifllm_hf.data.ranks.listing import LISTING, Listing, read_listing, write_listing
from ifllm_hf.data.ranks.rank import NOT_DONE, RANKS, Record, by_reader, forget, read_record
from ifllm_hf.data.sessions.origin import KnownSession, folder_of_sessions, read_tombstones
from ifllm_hf.data.sessions.review import read_decisions
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import ConfigError, Interrupted, UnfinishedError, WithdrawnMeanwhileError
from ifllm_hf.files import held
from ifllm_hf.progress import progress_bar
from ifllm_hf.remote_path import Place, hint, is_remote, place_of

logger = logging.getLogger(__name__)

_ROUNDS = 3  # of ranks that are done again, since somebody withdrew or a file was damaged


def prepare_in_ranks(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tasks: int,
    engine: Engine,
    public: bool = False,
    progress: bool = True,
) -> PrepareReport:
    """Prepare a folder of collected sessions in ranks; see `prepare` for what comes out.

    The tables are those of `prepare`; the files are the same whatever the engine, and however often
    ranks were killed. What is done stays in the working folder until all ranks are joined.

    Args:
        source: A folder of collected sessions, here or as a URL.
        out: The folder to write, here or as a URL; an older prepared folder there is replaced when
            the new one is complete.
        tasks: How many ranks.
        engine: What runs them.
        public: Only what somebody has reviewed.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: `source` holds no sessions; the working folder is of another version or of a
            run with other settings.
        OutputError: The place is taken, another run writes it, or the disk is full.
        UnfinishedError: Ranks are left: they were killed, or files were damaged again and again.
        WithdrawnMeanwhileError: Sessions were withdrawn again and again.
    """
    with place_to_write(out) as here:
        # Until what is joined has been put elsewhere, its ranks stay.
        report = _prepare_here(source, here, tasks, engine, public, progress, keep=is_remote(out))
    return report.at(out)


def _prepare_here(
    source: str | os.PathLike[str],
    out: Path,
    tasks: int,
    engine: Engine,
    public: bool,
    progress: bool,
    *,
    keep: bool,
) -> PrepareReport:
    check_target(out)
    place = place_of(source)
    folder = folder_of_sessions(place)
    if folder is None:
        raise ConfigError(
            f"{source}: holds no collected sessions, and only they are prepared in ranks. Leave "
            f"--tasks out, or give the folder of the sessions{hint(place)}."
        )
    work = working_folder(out)
    named = os.path.realpath(folder) if isinstance(folder, Path) else str(folder)
    settings = {"source": named, "tasks": tasks, "public": public}
    busy = f"{out}: another run is writing it ({work}); wait for it, or choose another --out."
    with held(work / "run", busy):
        try:
            listing = _listing(work, folder, settings)
        except BaseException:
            if not (work / LISTING).exists():
                shutil.rmtree(work, ignore_errors=True)
            raise
        try:
            report = run_ranks(listing, out, engine, progress)
        except KeyboardInterrupt as error:
            done = len(list((work / RANKS).glob("*.json")))
            raise Interrupted(
                f"{done} of {listing.ranks} ranks are done and kept ({work}), and the same command "
                "goes on"
            ) from error
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
        return report


def _listing(work: Path, folder: Place, settings: dict[str, Any]) -> Listing:
    """Return the listing that stands in the working folder, or make it."""
    if not (work / LISTING).exists():
        return write_listing(work, folder, settings)
    listing = read_listing(work)
    if listing.settings != settings:
        was = ", ".join(f"{name} {value}" for name, value in listing.settings.items())
        raise ConfigError(
            f"{work}: holds an unfinished run with other settings ({was}). Run that command again "
            "to go on, or delete the folder to begin anew."
        )
    if (more := len(StoredSessions(folder).sizes()) - listing.ledger.seen) > 0:
        logger.warning(
            "%s: goes on with the sessions that were listed; %d came since and are not in it. "
            "Delete the folder to begin anew.",
            work,
            more,
        )
    return listing


def run_ranks(listing: Listing, out: Path, engine: Engine, progress: bool) -> PrepareReport:
    """Run the ranks of a listing that are left, and join all; errors as `prepare_in_ranks`."""
    parts = listing.parts()
    shown: dict[str, Any] = {"unit": "session", "leave": True, "delay": 1}
    withdrawn_again: WithdrawnMeanwhileError | None = None
    with progress_bar(sum(map(len, parts)), "Reading sessions", progress, **shown) as bar:

        def done(rank: int) -> None:
            bar.update(len(parts[rank]))

        for _ in range(_ROUNDS):
            withdrawn, found = _check(listing, parts)
            left = {rank: why for rank, why in enumerate(found) if isinstance(why, str)}
            bar.n = sum(len(part) for rank, part in enumerate(parts) if rank not in left)
            if left:
                _tell_why(listing, left)
                for rank in left:
                    forget(listing.work, rank)
                engine(listing.work, list(left), done)
                withdrawn, found = _check(listing, parts)
            records = [record for record in found if not isinstance(record, str)]
            if len(records) < len(found):
                continue
            try:
                return join_ranks(listing, parts, records, out, withdrawn)
            except WithdrawnMeanwhileError as error:
                withdrawn_again = error
    if withdrawn_again is not None:
        raise withdrawn_again
    rank, why = next((rank, why) for rank, why in enumerate(found) if isinstance(why, str))
    raise UnfinishedError(
        f"{listing.work}: rank {rank} {why}, {_ROUNDS} times over. Run the same command again."
    )


def _check(
    listing: Listing, parts: Sequence[Sequence[KnownSession]]
) -> tuple[frozenset[str], list[Record | str]]:
    """Return the tombstones by now, and of each rank its record or why it cannot be used."""
    withdrawn = read_tombstones(listing.source)
    decisions = by_reader(read_decisions(listing.source))
    ranks = range(listing.ranks)
    return withdrawn, [
        read_record(listing, rank, parts[rank], withdrawn, decisions) for rank in ranks
    ]


def _tell_why(listing: Listing, left: Mapping[int, str]) -> None:
    again = {rank: why for rank, why in left.items() if why != NOT_DONE}
    for rank, why in again.items():
        logger.warning("%s: rank %d %s; it is done again.", listing.work, rank, why)
