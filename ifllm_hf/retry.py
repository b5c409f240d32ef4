"""Trying again what may pass: how long to wait, and what a server says about that."""

from __future__ import annotations

import contextlib
import email.utils
import random
import time
from collections.abc import Mapping

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class TryAgain(Exception):  # noqa: N818  (not an error of the user: it is retried)
    """A request failed in a way that may pass.

    Attributes:
        wait_s: How long the server asks to wait; None if it does not say.
    """

    def __init__(self, seen: str, wait_s: float | None = None) -> None:
        """Keep what was seen."""
        super().__init__(seen)
        self.wait_s = wait_s


def pause_s(failures: int, asked_s: float | None = None, *, spread: bool = False) -> float:
    """Return how long to wait: as long as the server asks, else twice as long each time.

    Args:
        failures: How often it failed before.
        asked_s: `wait_s` of a `TryAgain`.
        spread: Take half of it or more by chance, so that many threads do not come back at once.

    >>> [pause_s(n) for n in (0, 1, 2, 9)], pause_s(0, asked_s=3600)
    ([1.0, 2.0, 4.0, 60.0], 60.0)
    """
    if asked_s is not None:
        return min(asked_s, LONGEST_WAIT_S)
    longest = min(FIRST_WAIT_S * 2.0**failures, LONGEST_WAIT_S)
    return longest * random.uniform(0.5, 1.0) if spread else longest


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks to wait: a number, or a date.

    OpenAI and Azure say it in milliseconds too (`retry-after-ms`), which is more exact.

    >>> retry_after_s({"retry-after": "2"}), retry_after_s({"retry-after-ms": "250"})
    (2.0, 0.25)
    """
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            wait_s = float(value) * unit_s
            return wait_s if wait_s >= 0 else None  # no number, or one that nobody can wait for
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
