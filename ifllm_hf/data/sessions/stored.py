"""Where each session of a folder lies: in a file of its own, or in a shard.

A session may lie in several places: a kill came before its file was deleted, it went on after it
was packed, an old shard was copied back. Sessions only grow, so the longest is all of it, and that
one alone is read; of equal ones the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ifllm_hf.data.sessions.session_file import (
    Record,
    SessionPlace,
    consent_of,
    read_first_line,
    session_files,
)
from ifllm_hf.data.sessions.shard import PackedSession, Shard, Unpacked, shard_names
from ifllm_hf.errors import SourceError
from ifllm_hf.remote_path import Place, RemotePath

_AT_ONCE = 16  # first lines that are asked for elsewhere


class StoredSessions:
    """The sessions of a folder.

    Attributes:
        folder: The folder.
        shards: By name, as they were at the last look.
    """

    def __init__(
        self, folder: Place, *, damaged: Callable[[SourceError], object] | None = None
    ) -> None:
        """Look which shards there are; errors as `refresh`.

        Args:
            folder: The folder.
            damaged: Is told of a damaged shard, which is then left out; without it, it is raised.
        """
        self.folder = folder
        self._damaged = damaged
        self.shards: dict[str, Shard] = {}
        self._unpacked = Unpacked()
        self._loose: dict[str, int] | None = None
        self._packed: dict[str, PackedSession] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again; shards that are known are not opened again.

        Raises:
            SourceError: A shard is damaged.
            RemoteError: The folder cannot be read.
        """
        self._loose = None
        names: list[str] | None = None
        while names != (now := shard_names(self.folder)):  # one is written before another goes
            names = now
            opened = ((name, self.shards.get(name) or self._open(name)) for name in names)
            self.shards = {name: shard for name, shard in opened if shard}
        self._packed = {}
        largest_first = sorted(self.shards.values(), key=lambda shard: -len(shard.sessions))
        for shard in largest_first:
            for session in shard.sessions:
                known = self._packed.get(session.session_id)
                if known is None or known.n_bytes < session.n_bytes:
                    self._packed[session.session_id] = session

    def _open(self, name: str) -> Shard | None:
        try:
            return Shard(self.folder / name, self._unpacked)
        except FileNotFoundError:  # written anew meanwhile: the next look finds it
            return None
        except SourceError as error:
            if self._damaged is None:
                raise
            self._damaged(error)
            return None

    def _files(self) -> dict[str, int]:
        """Return the bytes of the sessions that have files of their own."""
        if self._loose is None:
            # First the files, then the shards: a session is in its shard before its file goes.
            loose = loose_sizes(self.folder)
            self.refresh()
            self._loose = loose
        return self._loose

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every session, by id; errors as `refresh`."""
        sizes = dict(self._files())
        for session_id, packed in self._packed.items():
            sizes[session_id] = max(packed.n_bytes, sizes.get(session_id, 0))
        return sizes

    def packed(self, session_id: str) -> PackedSession | None:
        """Return where a session lies in a shard."""
        return self._packed.get(session_id)

    def place(self, session_id: str) -> SessionPlace:
        """Return where a session is read; what was there may be gone since."""
        file, packed = self.folder / f"{session_id}.jsonl", self._packed.get(session_id)
        if packed is None:
            return file
        n_bytes = -1
        if isinstance(file, RemotePath):
            n_bytes = self._files().get(session_id, -1)
        else:
            with suppress(FileNotFoundError):
                n_bytes = file.stat().st_size
        return packed if packed.n_bytes > n_bytes else file

    def first_lines(self, but: Collection[str] = ()) -> Iterator[tuple[str, Record | None]]:
        """Yield every session with its consent; None where that is not there.

        Args:
            but: Ids that are left out.

        Raises:
            SourceError: One cannot be read.
        """
        done = set(but)
        for last in (False, False, True):
            try:
                for session_id, first in self._first_lines(frozenset(done)):
                    done.add(session_id)
                    yield session_id, first
                return
            except (FileNotFoundError, SourceError) as error:
                moved = isinstance(error, FileNotFoundError)
                if last or not (moved or isinstance(error.__cause__, FileNotFoundError)):
                    raise
                self.refresh()  # it was packed, or withdrawn, before its turn came

    def _first_lines(self, done: frozenset[str]) -> Iterator[tuple[str, Record | None]]:
        files = self._files()
        loose = [
            session_id
            for session_id, n_bytes in files.items()
            if session_id not in done and n_bytes >= self._packed_bytes(session_id)
        ]
        yield from zip(
            loose,
            _read_first_lines([self.folder / f"{session_id}.jsonl" for session_id in loose]),
            strict=True,
        )
        done |= set(loose)
        for shard in self.shards.values():
            for session, line in shard.first_lines():
                if session.session_id not in done and self._packed[session.session_id] is session:
                    yield session.session_id, consent_of(line, session.session_id)

    def _packed_bytes(self, session_id: str) -> int:
        packed = self._packed.get(session_id)
        return -1 if packed is None else packed.n_bytes


def loose_sizes(folder: Place) -> dict[str, int]:
    """Return the bytes of the sessions that have files of their own, by id."""
    if isinstance(folder, RemotePath):
        known: Mapping[str, int | None] = folder.sizes()
        return {file.stem: known.get(file.name) or 0 for file in session_files(folder)}
    sizes = {}
    for file in session_files(folder):
        with suppress(FileNotFoundError):
            sizes[file.stem] = file.stat().st_size
    return sizes


def _read_first_lines(files: list[Place]) -> Iterator[Record | None]:
    """Yield the first lines in order; elsewhere each takes a while, so several are asked for."""
    if not any(isinstance(file, RemotePath) for file in files):
        yield from map(read_first_line, files)
        return
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(read_first_line, files)
