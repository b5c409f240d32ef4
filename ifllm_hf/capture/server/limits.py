"""How often somebody may ask: token buckets in memory, forgotten at a restart."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_KEYS_MAX = 20_000


class RateLimit:
    """At most `per_minute` takes by one key in a minute, in bursts of as many.

    Keys that were not seen for long are forgotten, so memory stays bounded.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with a full burst for everyone."""
        self._per_s = per_minute / 60
        self._burst = float(per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str = "") -> float:
        """Take one; return 0, or the seconds until there is one again (nothing is taken then)."""
        return self._ask(key, 1.0)

    def wait_s(self, key: str = "") -> float:
        """Return the seconds until `take` would succeed, and take nothing."""
        return self._ask(key, 0.0)

    def _ask(self, key: str, amount: float) -> float:
        with self._lock:
            now = self._clock()
            left, at = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._per_s)
            wait = 0.0 if left >= 1 else (1 - left) / self._per_s
            self._left[key] = (left if wait else left - amount, now)
            if len(self._left) > _KEYS_MAX:
                self._left.popitem(last=False)
            return wait


class AddressHash:
    """Turns an address into a key that is worth nothing outside this process.

    The salt lives in memory and is new at each start; neither address nor hash is ever written.
    """

    def __init__(self, trusted_proxies: int) -> None:
        """Draw the salt."""
        self._proxies = trusted_proxies
        self._salt = os.urandom(32)

    def key(self, peer: str, forwarded_for: str) -> str:
        """Return the key of the client that the trusted proxies saw.

        Args:
            peer: Address of the connection.
            forwarded_for: The header X-Forwarded-For; every proxy appends whom it saw, so only
                the last `trusted_proxies` entries are not the client's own invention.
        """
        seen = [part.strip() for part in forwarded_for.split(",") if part.strip()]
        address = peer if not self._proxies else (seen[-self._proxies :] or [peer])[0]
        return hashlib.blake2b(address.encode(), key=self._salt, digest_size=8).hexdigest()
