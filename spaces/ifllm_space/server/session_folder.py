"""The sessions of a folder: which there are, which were withdrawn, and the files that are open."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from ifllm_hf.data.sessions.session_file import TOMBSTONES
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_space.server import refusals
from ifllm_space.server.append_log import QUARANTINE, AppendLog, repair
from ifllm_space.server.durable import sync_folder, write_durably

SUFFIX = ".jsonl"
_OPEN_FILES_MAX = 256  # more than are written at once, so that none is closed before its sync


class SessionFolder:
    """What is on this disk.

    Attributes:
        folder: Where it lies.
        lock: Held while lines are written; who deletes or copies session files takes it.
        pushed: Per session, how many bytes of it are on the Hub.
    """

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet."""
        self.folder = folder
        self.lock = threading.RLock()
        self.pushed: dict[str, int] = {}
        self._files: OrderedDict[str, AppendLog] = OrderedDict()
        self._withdrawn: set[str] = set()

    def repair(self) -> None:
        """Mend what a crash left: half a line, a session without its first, half a withdrawal."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            if repair(path) and path.stat().st_size == 0:
                path.unlink()  # its consent never reached the disk
        tombstones = self.folder / TOMBSTONES
        if tombstones.exists():
            self._withdrawn |= set(tombstones.read_text().split())
        for session_id in self.sizes():
            if self.is_withdrawn(session_id):
                self.delete(session_id)

    def path(self, session_id: str) -> Path:
        """Return where a session lies; the id must have been checked."""
        return self.folder / f"{session_id}{SUFFIX}"

    def is_here(self, session_id: str) -> bool:
        """Tell whether a session is on this disk."""
        return session_id in self._files or self.path(session_id).exists()

    def sizes(self) -> dict[str, int]:
        """Return the sessions of this disk and their sizes."""
        return {p.stem: p.stat().st_size for p in self.folder.glob(f"s_*{SUFFIX}")}

    # --- withdrawal

    def tombstones(self) -> frozenset[str]:
        """Return the hashes of all withdrawn sessions."""
        with self.lock:
            return frozenset(self._withdrawn)

    def is_withdrawn(self, session_id: str) -> bool:
        """Tell whether a session was withdrawn."""
        return tombstone_of(session_id) in self._withdrawn

    def bury(self, tombstone: str) -> None:
        """From now on, and after any crash, take nothing more of a session."""
        with self.lock:
            if tombstone not in self._withdrawn:
                known = sorted(self._withdrawn | {tombstone})
                write_durably(self.folder / TOMBSTONES, "".join(f"{t}\n" for t in known).encode())
                self._withdrawn.add(tombstone)

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
        """
        if self.is_withdrawn(session_id):
            raise refusals.gone()
        if file := self._files.get(session_id):
            self._files.move_to_end(session_id)
            return file
        path = self.path(session_id)
        if not path.exists():
            raise refusals.session_missing()
        return self._keep_open(session_id, AppendLog(path))

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
