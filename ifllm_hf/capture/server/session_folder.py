"""The sessions of a folder: which there are, which were withdrawn, and the files that are open.

A packed session that goes on gets a file of its own again; its shard holds the beginning until it
is packed once more.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

from ifllm_hf.capture.server import refusals
from ifllm_hf.capture.server.append_log import QUARANTINE, AppendLog, repair
from ifllm_hf.capture.server.durable import sync_folder, write_durably
from ifllm_hf.capture.server.watch import Watch
from ifllm_hf.data.sessions.packed import forget_file
from ifllm_hf.data.sessions.packed import take_out as take_out_of_shards
from ifllm_hf.data.sessions.review import forget_withdrawn
from ifllm_hf.data.sessions.session_file import TOMBSTONES, session_files
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.data.sessions.shard import Shard
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import ConfigError, DataError, IFLLMError, OutputError

SUFFIX = ".jsonl"
WITHDRAWN = ".withdrawn"
"""An empty file of this suffix, named by a tombstone, stands for one that found no space."""
_TOMBSTONE = re.compile(r"[0-9a-f]{64}")
_NAMES_MAX = 5  # of skipped files, in one line
_OPEN_FILES_MAX = 256  # more than are written at once, so that none is closed before its sync


class SessionFolder:
    """What is on this disk.

    Attributes:
        folder: Where it lies.
        lock: Held while lines are written; who deletes or copies session files takes it.
        moving: Held by who packs, pushes or withdraws; taken before `lock`.
        pushed: Per session, how many bytes of it are on the Hub.
        watch: Counts what happens, and tells the operator.
    """

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet."""
        self.folder = folder
        self.lock = threading.RLock()
        self.moving = threading.RLock()
        self.pushed: dict[str, int] = {}
        self.watch = Watch()
        self._files: OrderedDict[str, AppendLog] = OrderedDict()
        self._withdrawn: set[str] = set()
        self._stored: StoredSessions | None = None

    def repair(self) -> None:
        """Mend what a crash left: half a line, a session without its first, half a withdrawal.

        A file that cannot be mended is left as it is and said; the others go on.

        Raises:
            ConfigError: It cannot be read who has withdrawn.
        """
        self._withdrawn |= self._read_tombstones()
        skipped: list[str] = []
        for path in session_files(self.folder):
            try:
                if self.is_withdrawn(path.stem):
                    self.delete(path.stem)
                elif repair(path) >= 0 and path.stat().st_size == 0:
                    path.unlink()  # its consent never reached the disk
            except OSError as error:
                skipped.append(f"{path.name} ({error.strerror or type(error).__name__})")
        if skipped:
            names = ", ".join(skipped[:_NAMES_MAX])
            if len(skipped) > _NAMES_MAX:
                names += f" and {len(skipped) - _NAMES_MAX} more"
            self.watch.trouble(
                "session file",
                f"{len(skipped)} skipped in {self.folder}: {names}. "
                "Expected files that begin with a consent and may be written.",
            )
        self.finish_withdrawals()
        self.take_out_of_shards()

    def path(self, session_id: str) -> Path:
        """Return where a session lies; the id must have been checked."""
        return self.folder / f"{session_id}{SUFFIX}"

    def is_here(self, session_id: str) -> bool:
        """Tell whether a session, or what was cut off it, is on this disk."""
        if session_id in self._files or self.path(session_id).exists():
            return True
        with self.lock:
            if self._stored and self._stored.packed(session_id):
                return True
        return any(self.folder.glob(f"{QUARANTINE}/{session_id}.*"))

    def count(self) -> int:
        """Return how many sessions are on this disk, packed or not."""
        packed = {s.session_id for shard in self.shards().values() for s in shard.sessions}
        return len(self.sizes().keys() | packed)

    def sizes(self) -> dict[str, int]:
        """Return the sessions of this disk that have files of their own, and their sizes."""
        sizes = {}
        for path in session_files(self.folder):
            try:
                if path.is_file():
                    sizes[path.stem] = path.stat().st_size
            except OSError:
                continue  # deleted since, or not for us
        return sizes

    # --- shards

    def look_at_shards(self) -> None:
        """See which shards there are now; a damaged one is left out and said."""
        with self.lock:
            if self._stored is None:
                self._stored = StoredSessions(self.folder, damaged=self._damaged)
            else:
                self._stored.refresh()

    def shards(self) -> dict[str, Shard]:
        """Return the shards of this disk by name."""
        with self.lock:
            return dict(self._stored.shards) if self._stored else {}

    def bring(self, session_id: str) -> bool:
        """Let a session have a file of its own, of its shard if need be; tell whether it has.

        Raises:
            OSError: Its shard cannot be read, or the file not be written.
        """
        with self.lock:
            path = self.path(session_id)
            for _ in range(2):
                packed = self._stored.packed(session_id) if self._stored else None
                n_bytes = path.stat().st_size if path.exists() else -1
                if packed is None or packed.n_bytes <= n_bytes:
                    break
                try:
                    write_durably(path, packed.read_bytes())
                except FileNotFoundError:  # the shard was written anew
                    self.look_at_shards()
                except IFLLMError as error:
                    raise OSError(errno.EIO, str(error)) from error
            return path.exists()

    def forget(self, file: Path, n_bytes: int) -> bool:
        """Delete the file of a packed session unless it has grown; tell whether it is gone."""
        with self.lock:
            if open_file := self._files.pop(file.stem, None):
                open_file.close()
            return forget_file(file, n_bytes)

    def take_out_of_shards(self) -> bool:
        """Write the shards of who has withdrawn anew; tell whether nobody is left in them."""
        with self.moving:
            try:
                take_out_of_shards(self.folder, self.tombstones())
            except (IFLLMError, OSError) as error:
                self.watch.trouble("withdrawal", f"tried again with the next one: {error}")
                return False
            finally:
                self.look_at_shards()
        return True

    def _damaged(self, error: IFLLMError) -> None:
        self.watch.trouble("session file", str(error))

    # --- withdrawal

    def tombstones(self) -> frozenset[str]:
        """Return the hashes of all withdrawn sessions."""
        with self.lock:
            return frozenset(self._withdrawn)

    def is_withdrawn(self, session_id: str) -> bool:
        """Tell whether a session was withdrawn."""
        return tombstone_of(session_id) in self._withdrawn

    def bury(self, tombstone: str) -> None:
        """From now on, and after any crash, take nothing more of a session.

        Raises:
            OSError: There is no space for it; nothing changed.
        """
        with self.lock:
            if tombstone not in self._withdrawn:
                self._write_tombstones(self._withdrawn | {tombstone})
                self._withdrawn.add(tombstone)

    def take_out(self, session_id: str) -> None:
        """Bury a session and delete it, with or without space for its tombstone.

        Raises:
            OSError: The disk takes no change at all; the session is still there.
        """
        with self.lock:
            try:
                self.bury(tombstone_of(session_id))
            except OSError as error:
                self._bury_without_space(session_id)
                self.watch.trouble("disk", f"a withdrawal found no space: {error.strerror}")
            self.delete(session_id)
            self.finish_withdrawals()

    def finish_withdrawals(self) -> None:
        """Write tombstones that found no space, and forget what was decided on the withdrawn."""
        with self.lock:
            try:
                if any(self.folder.glob(f"*{WITHDRAWN}")):
                    self._write_tombstones(self._withdrawn)
                forget_withdrawn(self.folder, self._withdrawn)
            except (OSError, OutputError, DataError) as error:
                self.watch.trouble("withdrawal", f"the next start finishes what is left: {error}")

    def _bury_without_space(self, session_id: str) -> None:
        """Let the file itself, renamed and emptied, stand for the tombstone."""
        tombstone = tombstone_of(session_id)
        if file := self._files.pop(session_id, None):
            file.close()
        whole, marker = self.path(session_id), self.folder / f"{tombstone}{WITHDRAWN}"
        if whole.exists():
            os.replace(whole, marker)
            os.truncate(marker, 0)
        else:
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))
        sync_folder(self.folder)
        self._withdrawn.add(tombstone)

    def _write_tombstones(self, tombstones: set[str]) -> None:
        text = "".join(f"{tombstone}\n" for tombstone in sorted(tombstones))
        write_durably(self.folder / TOMBSTONES, text.encode())
        for marker in self.folder.glob(f"*{WITHDRAWN}"):
            if marker.stem in tombstones:
                marker.unlink()

    def _read_tombstones(self) -> set[str]:
        path = self.folder / TOMBSTONES
        try:
            text = path.read_bytes().decode("ascii", "replace") if path.exists() else ""
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({error.strerror}), and without it withdrawn sessions "
                "would come back. Expected a file that this server may read and write."
            ) from error
        markers = [path.stem for path in self.folder.glob(f"*{WITHDRAWN}")]
        return {name for name in [*text.split(), *markers] if _TOMBSTONE.fullmatch(name)}

    def delete(self, session_id: str) -> None:
        """Delete a session and what was cut off it from this disk."""
        with self.lock:
            if file := self._files.pop(session_id, None):
                file.close()
            self.pushed.pop(session_id, None)
            paths = list(self.folder.glob(f"{QUARANTINE}/{session_id}.*"))
            whole = self.path(session_id)
            paths += [whole] if whole.exists() else []
            for path in paths:
                path.unlink()
            for parent in {path.parent for path in paths}:
                sync_folder(parent)

    # --- files that are written; hold the lock

    def create_file(self, session_id: str) -> AppendLog:
        """Make the file of a new session and open it."""
        path = self.path(session_id)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(self.folder)
        return self._keep_open(session_id, AppendLog(path))

    def open_file(self, session_id: str) -> AppendLog:
        """Open the file of a session, or return it where it is open.

        Raises:
            Refusal: The session was withdrawn, or is not here.
            OSError: Its file cannot be opened, or is damaged.
        """
        if self.is_withdrawn(session_id):
            raise refusals.gone()
        if file := self._files.get(session_id):
            self._files.move_to_end(session_id)
            return file
        if not self.bring(session_id):
            raise refusals.session_missing()
        return self._keep_open(session_id, AppendLog(self.path(session_id)))

    def close_files(self) -> None:
        """Close all files."""
        with self.lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _keep_open(self, session_id: str, file: AppendLog) -> AppendLog:
        self._files[session_id] = file
        if len(self._files) > _OPEN_FILES_MAX:
            _, oldest = self._files.popitem(last=False)
            oldest.close()
        return file
