"""The sessions of a run, listed once and cut into the parts that ranks read.

Every rank holds itself to the listing: to its settings, and to the version of the package that
made it, so that tables of two versions never meet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import SCHEMA_VERSION
from ifllm_hf.data.sessions.origin import KnownSession, list_sessions, read_tombstones
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_json_object, scan_parquet, write_json, write_parquet
from ifllm_hf.remote_path import Place, place_of
from ifllm_hf.version import __version__

LISTING = "listing.json"
SESSIONS = "sessions.parquet"
_COLUMNS = {
    "rank": pl.Int32,
    "session_id": pl.String,
    "user_id": pl.String,
    "created_ms": pl.Float64,
    "n_bytes": pl.Int64,
    **dict.fromkeys(QUASI_IDENTIFIERS, pl.String),
}


@dataclass(frozen=True)
class Listing:
    """Which sessions there are.

    Attributes:
        work: The working folder that it lies in.
        key: Names this listing; a rank of another one is not taken.
        settings: Source, tasks, and what else decides what the ranks write.
        ranks: How many there are.
        ledger: Of the files, as they were listed.
    """

    work: Path
    key: str
    settings: dict[str, Any]
    ranks: int
    ledger: Ledger

    @property
    def source(self) -> Place:
        """The folder of the sessions."""
        return place_of(self.settings["source"])

    def part(self, rank: int) -> list[KnownSession]:
        """Return the sessions of a rank in their order."""
        return self._sessions(pl.col("rank") == rank)[rank]

    def parts(self) -> list[list[KnownSession]]:
        """Return the sessions of every rank."""
        parts = self._sessions(pl.lit(True))
        return [parts[rank] for rank in range(self.ranks)]

    def _sessions(self, wanted: pl.Expr) -> defaultdict[int, list[KnownSession]]:
        try:
            rows = scan_parquet([self.work / SESSIONS]).filter(wanted).select(*_COLUMNS).collect()
        except (OSError, PolarsError) as error:
            raise _damaged(self.work / SESSIONS, error) from error
        return _sessions(rows)


def write_listing(work: Path, folder: Place, settings: dict[str, Any]) -> Listing:
    """List the sessions of a folder and cut them into parts.

    Args:
        work: The working folder.
        folder: Where the sessions lie.
        settings: `source`, `tasks` (as many parts, if there are as many sessions) and others.

    Raises:
        SourceError: A session cannot be read.
        OutputError: The listing cannot be written.
    """
    origin, sessions = list_sessions(folder, read_tombstones(folder))
    ranks = cut([1 + known.n_bytes for known in sessions], settings["tasks"])
    return keep_listing(work, settings, sessions, ranks, max(1, len(set(ranks))), origin.ledger)


def keep_listing(
    work: Path,
    settings: dict[str, Any],
    sessions: Sequence[KnownSession],
    of_rank: Sequence[int],
    ranks: int,
    ledger: Ledger,
    key: str | None = None,
) -> Listing:
    """Write a listing down.

    Args:
        work: The working folder.
        settings: See `write_listing`.
        sessions: In their order.
        of_rank: The rank of each.
        ranks: How many there are.
        ledger: Of the files.
        key: Of a former listing, whose ranks can be taken where they have the same sessions.

    Raises:
        OutputError: It cannot be written.
    """
    rows = [
        (rank, known.session_id, known.user_id, known.created_ms, known.n_bytes, *known.told)
        for rank, known in zip(of_rank, sessions, strict=True)
    ]
    write_parquet(work / SESSIONS, pl.DataFrame(rows, schema=_COLUMNS, orient="row"))
    content = {
        "key": key or uuid4().hex,
        "package": __version__,
        "schema": SCHEMA_VERSION,
        "settings": settings,
        "ranks": ranks,
        "ledger": ledger.packed(),
    }
    write_json(work / LISTING, content)  # last: it says that the sessions are all there
    return read_listing(work)


def read_listing(work: Path) -> Listing:
    """Read the listing of a working folder.

    Raises:
        ConfigError: It is damaged, or another version of the package made it.
    """
    try:
        content = read_json_object(work / LISTING)
    except ConfigError as error:
        raise _damaged(work / LISTING, error.__cause__ or error) from error
    made_by = f"{content.get('package')} (schema {content.get('schema')})"
    here = f"{__version__} (schema {SCHEMA_VERSION})"
    if made_by != here:
        raise ConfigError(
            f"{work}: its sessions were listed by ifllm_hf {made_by}, and this is {here}. Install "
            "one version everywhere and run the same command again; to begin anew, delete that "
            "folder."
        )
    try:
        ledger = Ledger.of_packed(content["ledger"])
        return Listing(work, content["key"], content["settings"], content["ranks"], ledger)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(work / LISTING, error) from error


def _damaged(file: Path, error: BaseException) -> ConfigError:
    return ConfigError(
        f"{file}: cannot be read ({' '.join(str(error).split())}). Delete the folder that it lies "
        "in, and the run begins anew."
    )


def cut(sizes: Sequence[int], parts: int) -> list[int]:
    """Return for each size the part that it belongs to: neighbours, about equal sums, none empty.

    Args:
        sizes: Bytes of each session, in order.
        parts: How many are wanted; there are fewer where there are fewer sizes.

    >>> cut([5, 5, 5, 5], 2), cut([9, 1, 1, 1], 3), cut([1], 4)
    ([0, 0, 1, 1], [0, 1, 1, 1], [0])
    """
    if not sizes:
        return []
    middles = np.cumsum(sizes) - np.array(sizes) / 2
    wanted = np.floor(middles * parts / max(1, sum(sizes))).astype(int)
    return [int(part) for part in np.unique(wanted, return_inverse=True)[1]]


def _sessions(rows: pl.DataFrame) -> defaultdict[int, list[KnownSession]]:
    parts: defaultdict[int, list[KnownSession]] = defaultdict(list)
    same: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # few answers, many readers
    for rank, session_id, user_id, created_ms, n_bytes, *answers in rows.iter_rows():
        told = tuple(answers)
        told = same.setdefault(told, told)
        known = KnownSession(session_id, user_id, created_ms, told, n_bytes)
        parts[rank].append(known)
    return parts
