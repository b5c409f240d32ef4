"""The one progress bar: on stderr alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any


class _Unseen(nullcontext[Any]):
    """What is there instead of a bar that is not drawn; it is its own context."""

    def __init__(self, total: int | None, iterable: Iterable[Any]) -> None:
        super().__init__(self)
        self.total, self.n = total, 0
        self._iterable = iterable

    def __iter__(self) -> Any:
        return iter(self._iterable)

    def update(self, n: int = 1) -> None:
        self.n += n


def progress_bar(
    total: int | None, title: str, show: bool = True, *, unit: str = "it", **known: Any
) -> Any:
    """Return a bar of `tqdm`; as a context it has `update(n)`.

    Args:
        total: How many steps; None: not known.
        title: What is done.
        show: False draws nothing.
        unit: What a step is.
        **known: Passed to `tqdm`: `iterable` (then the bar is iterated over), `initial`,
            `unit_scale`; `leave=True` where it may stay on the screen, `delay` where it need not
            be seen at once.
    """
    if not show:
        # A `tqdm` that is disabled makes a semaphore, which a process that is killed leaves behind.
        return _Unseen(total, known.get("iterable", ()))
    from tqdm import tqdm

    settings = {"file": sys.stderr, "leave": False, "mininterval": 0.5, **known}
    return tqdm(total=total, desc=title, unit=unit, **settings)
