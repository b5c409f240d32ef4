"""Packs sessions that have come to rest: the one place where the server does.

It takes the lock that pushes and withdrawals take, for some seconds at a time; lines are written
meanwhile.
"""

from __future__ import annotations

import threading

from ifllm_hf.capture.server.session_folder import SessionFolder
from ifllm_hf.data.sessions.packed import SHARD_MB, pack_as_writer
from ifllm_hf.errors import IFLLMError

_EVERY_S = 3600.0
_LEAST = 100  # closed sessions: fewer would write a small shard again and again
_AT_ONCE_BYTES = 2**28


class Packing:
    """Packs closed sessions every hour."""

    def __init__(self, sessions: SessionFolder, idle_hours: float) -> None:
        """Do nothing yet; a session that has not grown for `idle_hours` is closed."""
        self._sessions = sessions
        self._idle_hours = idle_hours
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._run, name="packing", daemon=True)

    def start(self) -> None:
        """Pack from now on, in the background."""
        self._loop.start()

    def close(self) -> None:
        """Stop, after the shard that is being written."""
        self._stop.set()
        if self._loop.is_alive():
            self._loop.join()

    def pack(self) -> int:
        """Pack what is closed, some seconds' worth; return how many sessions that were.

        Raises:
            IFLLMError: A session or shard cannot be read, or there is no room. Nothing is lost.
        """
        sessions = self._sessions
        with sessions.moving:
            try:
                report = pack_as_writer(
                    sessions.folder,
                    shard_mb=SHARD_MB,
                    idle_hours=self._idle_hours,
                    least=_LEAST,
                    most_bytes=_AT_ONCE_BYTES,
                    forget=sessions.forget,
                )
            finally:
                sessions.look_at_shards()
        return report.packed

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._stop.is_set() and self.pack():
                    pass
            except (IFLLMError, OSError) as error:
                self._sessions.watch.trouble("pack", f"sessions keep their files: {error}")
            if not self._stop.wait(_EVERY_S):
                self._sessions.take_out_of_shards()  # what a full disk had prevented
