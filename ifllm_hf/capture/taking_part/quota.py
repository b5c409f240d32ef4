"""How many answers a day may be asked for where they cost money; kept across restarts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ifllm_hf.capture.server.durable import write_durably


class DailyQuota:
    """Counts answers of the current UTC day in a small file."""

    def __init__(self, path: Path, most: int, *, clock: Callable[[], float] = time.time) -> None:
        """Count in `path`, up to `most` a day."""
        self._path, self._most, self._clock = path, most, clock
        self._lock = threading.Lock()

    def take(self, answers: int) -> bool:
        """Count answers that are about to be asked for; False, and nothing counted, if too many."""
        today = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        with self._lock:
            try:
                day, used = json.loads(self._path.read_text())
            except (OSError, ValueError):
                day, used = today, 0
            used = (used if day == today else 0) + answers
            if used > self._most:
                return False
            write_durably(self._path, json.dumps([today, used]).encode())
            return True
