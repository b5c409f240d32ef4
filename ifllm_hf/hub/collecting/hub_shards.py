"""The shards of the Hub's repository: which there are, and which sessions are in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ifllm_hf.data.sessions.packed import holds_withdrawn_session, write_without
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.data.sessions.shard import PackedSession, Shard, shard_names
from ifllm_hf.errors import SourceError
from ifllm_hf.remote_path import RemotePath

_AT_ONCE = 16


class HubShards:
    """Shards there, by name; a name is a content, so what was read once is known for good.

    Attributes:
        names: Of those that are there.
        damaged: Of those whose sessions are not known.
    """

    def __init__(self, repo_id: str, folder: str) -> None:
        """Ask nobody yet."""
        self.names: frozenset[str] = frozenset()
        self.damaged: dict[str, SourceError] = {}
        self._place = RemotePath(f"hf://datasets/{repo_id}/{folder}")
        self._folder = folder
        self._known: dict[str, Shard] = {}

    def learn(self, here: Mapping[str, Shard]) -> None:
        """Take the shards of this disk for those of the same names there."""
        self._known |= here

    def find(self, session_id: str) -> PackedSession | None:
        """Return where a session lies; the repository is asked what there is.

        Raises:
            RemoteError: It cannot be asked.
        """
        found = [
            session
            for shard in self._open(shard_names(self._place))
            for session in shard.sessions
            if session.session_id == session_id
        ]
        longest = max(found, key=lambda session: session.n_bytes, default=None)
        if longest is None or longest.shard.path.exists():
            return longest
        there = Shard(self._place / longest.shard.path.name)  # it was known from this disk alone
        return next(s for s in there.sessions if s.session_id == session_id)

    def session_ids(self) -> set[str]:
        """Return the sessions that are in shards there; of a damaged one they are not known."""
        return {s.session_id for shard in self._open(self.names) for s in shard.sessions}

    def to_push(self, here: Mapping[str, Shard], tombstones: Collection[str]) -> list[Shard]:
        """Return the shards of this disk that are not there and hold nobody who has withdrawn."""
        self.learn(here)
        new = (shard for name, shard in here.items() if name not in self.names)
        return [shard for shard in new if not holds_withdrawn_session(shard, tombstones)]

    def replaced(self, here: Mapping[str, Shard]) -> list[str]:
        """Return the names of those there that were here, and whose sessions all are here still."""
        sizes = _sizes(here.values())
        return [
            name
            for name in sorted(self.names - here.keys())
            if (shard := self._known.get(name))
            and all(sizes.get(s.session_id, -1) >= s.n_bytes for s in shard.sessions)
        ]

    def without(
        self, tombstones: Collection[str], clean: Iterable[Shard], work: Path
    ) -> tuple[list[str], list[Path]]:
        """Return what is to be deleted there of the withdrawn, and what takes its place.

        Args:
            tombstones: Of the withdrawn.
            clean: Shards of this disk without them, which are there or are pushed as well.
            work: Where to write what has to be written anew.
        """
        if not tombstones:
            return [], []
        sizes = _sizes(clean)
        gone, anew = [], []
        for shard in self._open(self.names):
            if not holds_withdrawn_session(shard, tombstones):
                continue
            gone.append(shard.path.name)
            if any(
                tombstone_of(s.session_id) not in tombstones
                and sizes.get(s.session_id, -1) < s.n_bytes
                for s in shard.sessions
            ):  # this disk does not have all of it
                there = Shard(self._place / shard.path.name)
                if path := write_without(there, work, tombstones):
                    anew.append(path)
        return gone, anew

    def _open(self, names: Iterable[str]) -> list[Shard]:
        """Return shards, but those that are damaged; several are asked for at once."""
        names = sorted(names)
        new = [name for name in names if name not in self._known]
        if new:
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                for name, opened in zip(new, threads.map(self._opened, new), strict=True):
                    if isinstance(opened, Shard):
                        self._known[name] = opened
                        self.damaged.pop(name, None)
                    elif opened is not None:
                        self.damaged[name] = opened
        return [self._known[name] for name in names if name in self._known]

    def _opened(self, name: str) -> Shard | SourceError | None:
        try:
            return Shard(self._place / name)
        except FileNotFoundError:
            return None
        except SourceError as error:
            return error

    def operations(self, added: Iterable[Path | Any], deleted: Iterable[str]) -> list[Any]:
        """Return the steps of a commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        return [
            *(CommitOperationAdd(f"{self._folder}/{path.name}", path) for path in added),
            *(CommitOperationDelete(f"{self._folder}/{name}") for name in deleted),
        ]


def _sizes(shards: Iterable[Shard]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for shard in shards:
        for session in shard.sessions:
            sizes[session.session_id] = max(session.n_bytes, sizes.get(session.session_id, 0))
    return sizes
