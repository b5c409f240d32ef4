"""Sessions to a private dataset repository, in commits: files of their own, and shards of them.

A session is pushed as it grows. The commit that brings its shard takes its file away. A browser may
forget a batch only when it is durable; with a Hub configured that is after the commit that holds
it. What this machine lost comes back from the Hub when its browser asks for it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.capture.server.durable import write_durably
from ifllm_hf.capture.server.session_folder import SUFFIX, SessionFolder
from ifllm_hf.data.sessions.packed import holds_withdrawn_session
from ifllm_hf.data.sessions.session_file import TOMBSTONES
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.data.sessions.shard import SHARD_NAME
from ifllm_hf.errors import ConfigError, IFLLMError
from ifllm_hf.hub.collecting.hub_shards import HubShards
from ifllm_hf.hub_errors import check_repo_id, hub_errors

FOLDER = "sessions"
_NOTE = f"{FOLDER}/{TOMBSTONES}"
"""For whoever reads that folder; the same stands above it, where it has always stood."""
WITHDRAWAL = "Take out a withdrawn session"
"""Title of a commit whose history must still be squashed."""
_COMMIT_BYTES_MAX = 64 * 2**20


class HubPush:
    """Pushes what is new every `interval_s`, and takes out who withdrew.

    Attributes:
        lock: Held by pushes and withdrawals; taken before the folder's.
        pushed_epoch_s: When a push last came to its end; None: not yet.
    """

    def __init__(self, sessions: SessionFolder, repo_id: str, interval_s: float) -> None:
        """Ask nobody yet; raise ConfigError for a name that no repository can have."""
        self.lock = sessions.moving
        self._sessions = sessions
        self._shards = HubShards(repo_id, FOLDER)
        self._files: dict[str, int] = {}  # bytes of the sessions that have files of their own there
        self._repo_id = repo_id
        self._interval_s = interval_s
        self.pushed_epoch_s: float | None = None
        self._known = False
        self._buried: set[str] = set()  # withdrawals that the Hub knows of
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._run, name="hub-push", daemon=True)
        check_repo_id(self._repo_id)

    def start(self) -> None:
        """Push from now on, in the background."""
        self._loop.start()

    def close(self) -> None:
        """Stop, after a last push."""
        self._stop.set()
        if self._loop.is_alive():
            self._loop.join()
        self._push_or_warn()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._push_or_warn()
            self._stop.wait(self._interval_s)

    def _push_or_warn(self) -> None:
        try:
            self.push()
        except Exception as error:  # a push may fail in any way, and the next one comes
            said = str(error) if isinstance(error, IFLLMError) else repr(error)
            self._sessions.watch.trouble("push", f"sessions wait here until the next one: {said}")

    # --- pushing

    def push(self) -> None:
        """Commit every session that grew; finish withdrawals that an error interrupted.

        Raises:
            OutputError: The Hub did not take it; nothing counts as durable then.
            ConfigError: The repository is public.
        """
        from huggingface_hub import CommitOperationAdd

        with self.lock, hub_errors(self._repo_id):
            self._open_repository()
            if self._sessions.tombstones() - self._buried:
                self.take_out_withdrawn()
            with self._sessions.lock:  # the writer holds it until its lines are whole and on disk
                sizes = self._sessions.sizes()
                grown = [i for i, size in sizes.items() if size > self._sessions.pushed.get(i, 0)]
            operations = self._shard_operations()
            shards = len([o for o in operations if isinstance(o, CommitOperationAdd)])
            while grown or operations:
                pushed: dict[str, int] = {}
                total = 0
                while grown and (not operations or total + sizes[grown[-1]] <= _COMMIT_BYTES_MAX):
                    session_id = grown.pop()
                    try:
                        with open(self._sessions.path(session_id), "rb") as file:
                            data = file.read(sizes[session_id])
                    except OSError as error:
                        self._sessions.watch.trouble("push", f"{session_id}: {error.strerror}")
                        continue
                    operations.append(CommitOperationAdd(_path_in_repo(session_id), data))
                    pushed[session_id] = len(data)
                    total += len(data)
                if not operations:
                    break
                title = f"Add to {len(pushed)} sessions"
                self._commit(operations, f"{title}, {shards} shards" if shards else title)
                with self._sessions.lock:
                    self._sessions.pushed.update(pushed)
                self._note(operations)
                operations, shards = [], 0
            self.pushed_epoch_s = time.time()

    def restore(self, session_id: str) -> bool:
        """Fetch a session that this machine lost; False if the Hub has none or cannot be asked."""
        try:
            data = self._fetched(session_id)
        except (FileNotFoundError, IFLLMError):
            return False
        if data is None:
            return False
        with self._sessions.lock:
            if self._sessions.is_withdrawn(session_id):
                return False  # withdrawn meanwhile
            here = self._sessions.path(session_id)
            if not here.exists():  # another request may have brought it back, and it may have grown
                write_durably(here, data)
                self._sessions.pushed[session_id] = len(data)
        return True

    def _fetched(self, session_id: str) -> bytes | None:
        """Return a session of the Hub; of its shard only where it has no file, which is longer."""
        name = _path_in_repo(session_id)
        with tempfile.TemporaryDirectory() as place, hub_errors(self._repo_id):
            if self._api().file_exists(self._repo_id, name, repo_type="dataset"):
                path = self._api().hf_hub_download(
                    self._repo_id, name, repo_type="dataset", local_dir=place
                )
                return Path(path).read_bytes()
            packed = self._shards.find(session_id)
            return None if packed is None else packed.read_bytes()

    def elsewhere(self, but: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the sessions that this machine lost, each with its file; see `SessionPush`."""
        with self.lock, hub_errors(self._repo_id):
            self._open_repository()
            for session_id in sorted(self._files.keys() | self._shards.session_ids()):
                if session_id in but or self._sessions.is_here(session_id):
                    continue
                if not self._sessions.is_withdrawn(session_id) and (
                    data := self._fetched(session_id)
                ):
                    yield session_id, data

    # --- withdrawing

    def holds(self, session_id: str) -> bool:
        """Whether a session is on the Hub."""
        with self.lock, hub_errors(self._repo_id):
            self._open_repository()
            place = _path_in_repo(session_id)
            if self._api().file_exists(self._repo_id, place, repo_type="dataset"):
                return True
            return self._shards.find(session_id) is not None

    def take_out_withdrawn(self) -> bool:
        """Delete every withdrawn session, its history and its large-file objects.

        Every step asks what is still there, so it can be repeated after any failure.

        Returns:
            Whether it is known of every shard there who is in it.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with self.lock, hub_errors(self._repo_id):
            self._open_repository()
            api, repo = self._api(), {"repo_id": self._repo_id, "repo_type": "dataset"}
            tombstones = self._sessions.tombstones()
            there = list(api.list_repo_files(**repo))
            names = [n for n in there if _tombstone_of_path(n) in tombstones]
            with tempfile.TemporaryDirectory() as work:
                shards = self._operations_without(tombstones, Path(work))
                noted = {TOMBSTONES, _NOTE} <= set(there) or not tombstones
                if names or shards or tombstones - self._buried or not noted:
                    text = "".join(f"{t}\n" for t in sorted(tombstones)).encode()
                    operations: list[Any] = [CommitOperationDelete(name) for name in names]
                    operations += [CommitOperationAdd(note, text) for note in (TOMBSTONES, _NOTE)]
                    self._commit([*operations, *shards], WITHDRAWAL)
                    self._note([*operations, *shards])
            titles = [commit.title for commit in api.list_repo_commits(**repo)]
            if WITHDRAWAL in titles:
                api.super_squash_history(**repo, commit_message="Sessions")
            tree = api.list_repo_tree(recursive=True, **repo)
            in_use = {entry.lfs.sha256 for entry in tree if getattr(entry, "lfs", None)}
            objects = [
                lfs  # older versions of any session are of no use without their history
                for lfs in api.list_lfs_files(**repo)
                if lfs.filename.startswith(f"{FOLDER}/") and lfs.file_oid not in in_use
            ]
            if objects and tombstones:
                api.permanently_delete_lfs_files(lfs_files=objects, **repo)
            self._buried = set(tombstones)
            for name, error in self._shards.damaged.items():
                self._sessions.watch.trouble("push", f"{name} on the Hub: {error}")
            return not self._shards.damaged

    # --- shards

    def _shard_operations(self, gone: Collection[str] = (), anew: Sequence[Path] = ()) -> list[Any]:
        """Return what brings new shards there, and takes away what is in them.

        Args:
            gone: Names of shards that go anyhow.
            anew: Shards that come anyhow.
        """
        here = self._sessions.shards()
        new = self._shards.to_push(here, self._sessions.tombstones())
        packed = {s.session_id: s.n_bytes for shard in new for s in shard.sessions}
        with self._sessions.lock:
            go_on = self._sessions.sizes().keys() & packed.keys()
        files = [
            f"{session_id}{SUFFIX}"
            for session_id in sorted((packed.keys() & self._files.keys()) - go_on)
            if self._files[session_id] <= packed[session_id]
        ]
        replaced = set(self._shards.replaced(here) if new else ()) | set(gone)
        added = [*(shard.path for shard in new), *anew]
        return self._shards.operations(added, [*files, *sorted(replaced)])

    def _operations_without(self, tombstones: frozenset[str], work: Path) -> list[Any]:
        """Return what takes withdrawn sessions out of the shards there."""
        here = self._sessions.shards()
        new = self._shards.to_push(here, tombstones)
        clean = [*new, *(shard for name, shard in here.items() if name in self._shards.names)]
        clean = [shard for shard in clean if not holds_withdrawn_session(shard, tombstones)]
        gone, anew = self._shards.without(tombstones, clean, work)
        return self._shard_operations(gone, anew) if gone else []

    def _note(self, operations: Iterable[Any]) -> None:
        """Remember what a commit added and deleted."""
        from huggingface_hub import CommitOperationAdd

        for operation in operations:
            name = operation.path_in_repo.removeprefix(f"{FOLDER}/")
            added = isinstance(operation, CommitOperationAdd)
            if SHARD_NAME.fullmatch(name):
                names = self._shards.names
                self._shards.names = names | {name} if added else names - {name}
            elif name.endswith(SUFFIX):
                self._files.pop(name.removesuffix(SUFFIX), None)
                if added:
                    self._files[name.removesuffix(SUFFIX)] = operation.upload_info.size

    # --- the repository

    def _open_repository(self) -> None:
        """Once: make the repository, see that it is private, learn what it holds."""
        if self._known:
            return
        api = self._api()
        api.create_repo(self._repo_id, repo_type="dataset", private=True, exist_ok=True)
        info = api.dataset_info(self._repo_id, files_metadata=True)
        if not info.private:
            raise ConfigError(
                f"{self._repo_id}: this dataset is public. Expected a private one for sessions: "
                "make it private in its settings, or name another."
            )
        held = {s.rfilename: s.size or 0 for s in info.siblings or []}
        inside = [n.removeprefix(f"{FOLDER}/") for n in held if n.startswith(f"{FOLDER}/")]
        self._shards.names = frozenset(name for name in inside if SHARD_NAME.fullmatch(name))
        self._files = {
            name.removesuffix(SUFFIX): held[f"{FOLDER}/{name}"]
            for name in inside
            if name.endswith(SUFFIX)
        }
        if TOMBSTONES in held:
            with tempfile.TemporaryDirectory() as place:
                path = api.hf_hub_download(
                    self._repo_id, TOMBSTONES, repo_type="dataset", local_dir=place
                )
                self._buried = set(Path(path).read_text().split())
        for tombstone in self._buried - self._sessions.tombstones():
            self._sessions.bury(tombstone)
        with self._sessions.lock:
            for session_id, size in self._sessions.sizes().items():
                if tombstone_of(session_id) in self._buried:
                    self._sessions.delete(session_id)
                else:  # both only grow, so what is shorter there is a part of what is here
                    self._sessions.pushed[session_id] = min(
                        size, held.get(_path_in_repo(session_id), 0)
                    )
        self._sessions.take_out_of_shards()
        self._shards.learn(self._sessions.shards())
        self._known = True
        self.take_out_withdrawn()

    def _commit(self, operations: list[Any], message: str) -> None:
        self._api().create_commit(
            self._repo_id, operations, commit_message=message, repo_type="dataset"
        )

    @staticmethod
    def _api() -> Any:
        from huggingface_hub import HfApi

        return HfApi(library_name="ifllm_hf")


def _path_in_repo(session_id: str) -> str:
    return f"{FOLDER}/{session_id}{SUFFIX}"


def _tombstone_of_path(name: str) -> str:
    """Return the tombstone that a session at this path of the repository would have."""
    inside = name.startswith(f"{FOLDER}/") and name.endswith(SUFFIX)
    return tombstone_of(name[len(FOLDER) + 1 : -len(SUFFIX)]) if inside else ""
