"""The one progress bar: on stderr alone."""

from __future__ import annotations

import sys
from typing import Any


def progress_bar(
    total: int | None, title: str, show: bool = True, *, unit: str = "it", **known: Any
) -> Any:
    """Return a bar of `tqdm`; as a context it has `update(n)`, and `postfix` where asked for.

    Args:
        total: How many steps; None: not known.
        title: What is done.
        show: False draws nothing.
        unit: What a step is.
        **known: Passed to `tqdm`: `iterable` (then the bar is iterated over), `initial`,
            `unit_scale`; `leave=True` where it may stay on the screen, `delay` where it need not
            be seen at once.
    """
    from tqdm import tqdm

    settings = {"file": sys.stderr, "leave": False, "mininterval": 0.5, **known}
    return tqdm(total=total, desc=title, unit=unit, disable=not show, **settings)
