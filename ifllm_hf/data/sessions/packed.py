"""Packs closed sessions into shards, and takes sessions out of shards again.

Whoever does either is the only one who writes into the folder. Nothing is deleted before what takes
its place is whole, on disk, and was read again: a kill leaves every session at least once, and
`StoredSessions` reads it once.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ifllm_hf.data.sessions.origin import folder_of_sessions, read_tombstones
from ifllm_hf.data.sessions.session_file import session_files, tombstone
from ifllm_hf.data.sessions.shard import (
    PackedSession,
    Shard,
    remove_parts,
    sync_folder,
    write_shard,
)
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import ConfigError, OutputError, SourceError
from ifllm_hf.files import held
from ifllm_hf.progress import progress_bar

SHARD_MB = 100.0
IDLE_HOURS = 24.0
WRITER = ".writer"
"""Whoever writes into a folder of sessions holds the lock of this name, as the app does."""
_SMALL = 0.5  # of a shard: with less it is packed again, together with what is new


@dataclass
class PackReport:
    """What `pack` did.

    Attributes:
        packed: How many sessions lost their files.
        shards: The shards that were written.
        replaced: Names of small shards whose sessions are in them.
        n_bytes: Of the shards.
        left: Sessions that keep their files, by reason.
    """

    packed: int = 0
    shards: list[Path] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    n_bytes: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "packed": self.packed,
            "shards": [path.name for path in self.shards],
            "replaced": self.replaced,
            "bytes": self.n_bytes,
            "left": dict(sorted((+self.left).items())),
        }


def pack(
    folder: str | os.PathLike[str],
    *,
    shard_mb: float = SHARD_MB,
    idle_hours: float = IDLE_HOURS,
    progress: bool = True,
) -> PackReport:
    """Pack the closed sessions of a folder into shards; the tables made of it stay the same.

    After a kill the same command goes on. Sessions without a first line that says whose they are
    keep their files, as do those that the app will mend or delete: what ends in half a line, and
    who has withdrawn.

    Args:
        folder: The folder of the session files.
        shard_mb: Megabytes at which a shard takes no more.
        idle_hours: A session that has not grown for so long is closed.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: There is no session in it, or it is not on this machine.
        OutputError: The app runs there, or a shard cannot be written: nothing is lost.
        SourceError: A session or shard cannot be read.
    """
    place = folder_of_sessions(Path(folder))
    if not isinstance(place, Path):
        raise ConfigError(
            f"{folder}: no session in it. Expected the folder on this machine that the app "
            "collects into, with files s_<22 characters>.jsonl."
        )
    busy = (
        f"{place}: the app runs there, and packs by itself; another `ifllm pack` may run too. "
        "Stop it first, or leave it alone."
    )
    with held(place / WRITER, busy):
        return pack_as_writer(place, shard_mb=shard_mb, idle_hours=idle_hours, progress=progress)


def pack_as_writer(
    folder: Path,
    *,
    shard_mb: float,
    idle_hours: float,
    least: int = 1,
    most_bytes: float = float("inf"),
    progress: bool = False,
    forget: Callable[[Path, int], bool] | None = None,
) -> PackReport:
    """Do as `pack` does, for who holds the lock.

    Args:
        folder: The folder of the session files.
        shard_mb: See `pack`.
        idle_hours: See `pack`.
        least: With fewer closed sessions (1 at least), nothing is written.
        most_bytes: Of closed sessions: the oldest are taken, until they have so many.
        progress: See `pack`.
        forget: Deletes the file of a session if it still has these bytes; tells whether.
    """
    remove_parts(folder)
    forget = forget or forget_file
    report = PackReport()
    stored = StoredSessions(folder)
    closed = _closed(folder, 3600 * idle_hours, report.left)
    _forget_packed(folder, closed, stored, forget, report)
    if len(closed) < least:
        report.left["closed"] += len(closed)
        return report
    room = most_bytes
    for session_id in sorted(closed, key=lambda session_id: (closed[session_id], session_id)):
        if room <= 0:
            report.left["closed"] += closed.pop(session_id) is not None
            continue
        with suppress(FileNotFoundError):
            room -= (folder / f"{session_id}.jsonl").stat().st_size
    enough = _SMALL * 1e6 * shard_mb
    small = [s for s in stored.shards.values() if (folder / s.path.name).stat().st_size < enough]
    began = dict(closed)
    for shard in small:
        for session, line in shard.first_lines():
            began.setdefault(session.session_id, _began_ms(line, session.session_id) or 0)
    with progress_bar(len(began), "Packing sessions", progress, unit="session", delay=1) as bar:
        sessions = _chosen(began, closed, small, stored, bar.update)
        while written := write_shard(folder, sessions, 1e6 * shard_mb):
            path, sizes = written
            report.shards.append(path)
            report.n_bytes += path.stat().st_size
            for session_id in sizes.keys() & closed.keys():
                file = folder / f"{session_id}.jsonl"
                report.packed += forget(file, sizes[session_id])
    new = {path.name for path in report.shards}
    report.replaced = sorted(shard.path.name for shard in small if shard.path.name not in new)
    for name in report.replaced:
        (folder / name).unlink()
    sync_folder(folder)
    return report


def forget_file(file: Path, n_bytes: int) -> bool:
    """Delete the file of a packed session, unless it has grown since; tell whether it is gone."""
    with suppress(FileNotFoundError):
        if file.stat().st_size != n_bytes:
            return False
        file.unlink()
    return True


def take_out(folder: Path, tombstones: Collection[str]) -> list[Path]:
    """Write every shard that holds a withdrawn session anew, without it.

    Args:
        folder: The folder of the shards.
        tombstones: Of the withdrawn sessions.

    Returns:
        The shards that are gone.

    Raises:
        OutputError: There is no room for a new shard; the old one is still there.
        SourceError: A shard is damaged; the others were seen to.
    """
    remove_parts(folder)
    gone = []
    damaged: list[SourceError] = []
    for shard in StoredSessions(folder, damaged=damaged.append).shards.values():
        path = folder / shard.path.name
        if holds_withdrawn_session(shard, tombstones):
            try:
                write_without(shard, folder, tombstones)
            except SourceError as error:
                damaged.append(error)
                continue
            path.unlink()
            sync_folder(folder)
            gone.append(path)
    if damaged:
        raise damaged[0]
    return gone


def write_without(shard: Shard, folder: Path, tombstones: Collection[str]) -> Path | None:
    """Write the sessions of a shard that are left into another; None: there are none."""
    left = (
        (session.session_id, session.read_bytes())
        for session in shard.sessions
        if tombstone(session.session_id) not in tombstones
    )
    written = write_shard(folder, left, float("inf"))
    return written[0] if written else None


def holds_withdrawn_session(shard: Shard, tombstones: Collection[str]) -> bool:
    """Tell whether a withdrawn session is in a shard."""
    return any(tombstone(session.session_id) in tombstones for session in shard.sessions)


def _closed(folder: Path, idle_s: float, left: Counter[str]) -> dict[str, float]:
    """Return when each session began that may be packed; count the others."""
    closed: dict[str, float] = {}
    withdrawn = read_tombstones(folder)
    latest = time.time() - idle_s
    for file in session_files(folder):
        try:
            if file.stat().st_mtime > latest:
                left["still open"] += 1
                continue
            with file.open("rb") as content:
                began_ms = _began_ms(content.readline(), file.stem)
                torn = began_ms is not None and not _ends_in_a_line(content)
        except FileNotFoundError:
            continue
        except OSError:
            left["cannot be read"] += 1
            continue
        if tombstone(file.stem) in withdrawn:
            left["withdrawn"] += 1
        elif began_ms is None:
            left["not its own first line"] += 1
        elif torn:  # the app will cut it off: packed sessions only grow
            left["ends in half a line"] += 1
        else:
            closed[file.stem] = began_ms
    return closed


def _ends_in_a_line(content: BinaryIO) -> bool:
    content.seek(-1, os.SEEK_END)
    return content.read() == b"\n"


def _began_ms(line: bytes, session_id: str) -> float | None:
    """Return when a session began, by a first line of any schema version; None: it is none."""
    try:
        first = json.loads(line)
        if first["type"] != "session" or first["session_id"] != session_id:
            return None
        return float(first.get("created_epoch_ms", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _forget_packed(
    folder: Path,
    closed: dict[str, float],
    stored: StoredSessions,
    forget: Callable[[Path, int], bool],
    report: PackReport,
) -> None:
    """Delete the files that a kill left of packed sessions, and take them out of `closed`."""
    packed = [place for session_id in closed if (place := stored.packed(session_id))]
    for place in sorted(packed, key=lambda place: (place.shard.path.name, place.row)):
        file = folder / place.name
        with suppress(FileNotFoundError):
            content = file.read_bytes()
            if len(content) > place.n_bytes:
                continue  # it went on after it was packed
            del closed[place.session_id]
            if place.read_bytes().startswith(content):
                report.packed += forget(file, len(content))
            else:
                report.left["not as in its shard"] += 1


def _chosen(
    began: Mapping[str, float],
    closed: Collection[str],
    small: Collection[Shard],
    stored: StoredSessions,
    done: Callable[[], object],
) -> Iterator[tuple[str, bytes]]:
    """Yield what is packed, in the order in which it began: closed files, and small shards."""
    withdrawn = read_tombstones(stored.folder)
    for session_id in sorted(began, key=lambda session_id: (began[session_id], session_id)):
        done()
        if tombstone(session_id) in withdrawn:
            continue
        place, former = stored.place(session_id), stored.packed(session_id)
        if former is not None and former.shard not in small:
            former = None  # it stays
        try:
            before = former.read_bytes() if former else b""
            content = before
            if session_id in closed and not isinstance(place, PackedSession):
                content = place.read_bytes()
            if not content.startswith(before):
                content = before  # a file that is no longer this session's stays where it is
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{place}: cannot be read ({error}); nothing is lost") from error
        if content:
            yield session_id, content
