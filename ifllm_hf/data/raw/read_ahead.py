"""Run a generator in a thread, a few items ahead of where they are used."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Yield what a generator makes, which runs in its own thread.

    Worth it where making the items releases the GIL, as unpacking and reading do. Closing this
    generator ends the thread, after the item that is being made, and closes the other one, whether
    or not all items were used; an error in that is raised where the items are used, after those
    that came before it.

    Args:
        items: What to run; nothing else may use it from now on. No item is None.
        depth: How many finished items may wait, which bounds the memory.
    """
    pool = ThreadPoolExecutor(1, "ifllm-read-ahead")
    with contextlib.closing(items):
        try:
            ahead = deque(pool.submit(next, items, None) for _ in range(depth + 1))
            while (item := ahead.popleft().result()) is not None:
                ahead.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)
