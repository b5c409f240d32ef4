"""Run a generator in a thread, a few items ahead of where they are used."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Iterates over a generator that runs in its own thread.

    Worth it where making the items releases the GIL, as unpacking and reading do. Leaving the
    `with` block ends the thread and closes the generator, whether or not all items were used; an
    error in the generator is raised where the items are used, after those that came before it.
    """

    def __init__(self, items: Generator[T, None, None], depth: int) -> None:
        """Take over a generator; nothing else may use it from now on.

        Args:
            items: What to run.
            depth: How many finished items may wait, which bounds the memory.
        """
        self._items = items
        self._depth = depth
        self._ready: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ifllm-read-ahead", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop after the item that is being made, and wait for that."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        """Yield the items in order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._finished)
                if not self._ready:
                    break
                item = self._ready.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with contextlib.closing(self._items):
                for item in self._items:
                    if not self._put(item):
                        break
        except BaseException as error:  # raised again where the items are used
            self._error = error
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Wait for room and add the item; return False if nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._depth)
            self._ready.append(item)
            self._changed.notify_all()
            return not self._stopped
