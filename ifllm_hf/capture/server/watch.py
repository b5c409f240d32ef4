"""What an operator must hear: counts, and one line on stderr for each kind of trouble."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

QUIET_S = 60.0


@dataclass
class _Kind:
    """A kind of trouble: when it was last said, and how often it came since."""

    said_s: float
    unsaid: int = 0


@dataclass(frozen=True)
class Counts:
    """What was counted since the start.

    Attributes:
        since_epoch_s: When that was.
        sessions: Opened.
        batches: Stored, each once.
        batches_twice: Sent again although they were stored.
        refused: Requests that were refused, by code.
        events_refused: Events that were left out of stored batches, by reason.
        troubles: How often each kind of trouble came.
        last_trouble: Time, kind and words of the last one.
        expired: Sessions that were deleted because their time was over.
    """

    since_epoch_s: float
    sessions: int = 0
    batches: int = 0
    batches_twice: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    events_refused: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    last_trouble: tuple[float, str, str] | None = None
    expired: int = 0


class Watch:
    """Counts what happens, and says what goes wrong: at once, then at most once a minute a kind."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Count from now on; `say` writes a line, to stderr by default."""
        self._clock = clock
        self._say = say or _to_stderr
        self._lock = threading.Lock()
        self._since_s = clock()
        self._sessions = 0
        self._batches: Counter[bool] = Counter()
        self._refused: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        self._kinds: dict[str, _Kind] = {}
        self._last: tuple[float, str, str] | None = None
        self._expired = 0

    def opened(self) -> None:
        """Count a session that began."""
        with self._lock:
            self._sessions += 1

    def stored(self, *, duplicate: bool, events_refused: Mapping[str, int]) -> None:
        """Count a batch that is on disk, and what was left out of it."""
        with self._lock:
            self._batches[duplicate] += 1
            if not duplicate:
                self._events.update(events_refused)
        if events_refused and not duplicate:
            said = ", ".join(f"{n} {reason}" for reason, n in events_refused.items())
            self.trouble("events", f"left out of a batch that was stored: {said}")

    def expired(self, count: int) -> None:
        """Count sessions that were deleted because their time was over, and say it."""
        with self._lock:
            self._expired += count
            now = self._clock()
        self._say(f"{_at(now)} retention: {count} sessions deleted, their time was over")

    def refused(self, code: str, what: str) -> None:
        """Count a request that was refused, and say it."""
        with self._lock:
            self._refused[code] += 1
        self.trouble(f"refused: {code}", what)

    def trouble(self, kind: str, what: str) -> None:
        """Say that something went wrong; never raises.

        Args:
            kind: What a minute of silence is kept for.
            what: For the operator alone; it becomes one line.
        """
        line = " ".join(what.split())
        with self._lock:
            now = self._clock()
            self._troubles[kind] += 1
            self._last = (now, kind, line)
            known = self._kinds.setdefault(kind, _Kind(-QUIET_S))
            if 0 <= now - known.said_s < QUIET_S:
                known.unsaid += 1
                return
            more = f" (and {known.unsaid} more like it before)" if known.unsaid else ""
            known.said_s, known.unsaid = now, 0
        self._say(f"{_at(now)} {kind}: {line}{more}")

    def counts(self) -> Counts:
        """Return what was counted so far."""
        with self._lock:
            return Counts(
                self._since_s,
                self._sessions,
                self._batches[False],
                self._batches[True],
                Counter(self._refused),
                Counter(self._events),
                Counter(self._troubles),
                self._last,
                self._expired,
            )


def _at(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))


def _to_stderr(line: str) -> None:
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody listens; the counts remain
