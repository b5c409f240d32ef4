"""The one progress bar: on stderr, only for what takes longer than a second."""

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
        **known: Passed to `tqdm`: `initial`, `unit_scale`.
    """
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=title,
        unit=unit,
        disable=not show,
        file=sys.stderr,
        leave=False,
        delay=1,
        mininterval=0.5,
        **known,
    )
