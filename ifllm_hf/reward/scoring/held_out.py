"""The one door for scores that are to judge or to label: none by who has learned from the reader.

`ifllm score` writes for every row whether the head that scored it is new to its reader, in the
column `held_out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ifllm_hf.errors import DataError

HELD_OUT = "held_out"


def refuse_seen(
    held_out: Sequence[Any],
    readers: Sequence[Any],
    *,
    name: str,
    judged: Sequence[bool] | None = None,
    fold: int | None = None,
) -> None:
    """Refuse rows that were scored by a model that has, or may have, learned from their reader.

    Args:
        held_out: Of each row: True, False, or None where nobody knows.
        readers: Of each row.
        name: The file, for the message.
        judged: Which rows are judged on; default: all.
        fold: Whose readers these are, for the message.

    Raises:
        DataError: There is such a row; names the first, and what to do.
    """
    bad = [
        row
        for row, fresh in enumerate(held_out)
        if fresh is not True and (judged is None or judged[row])
    ]
    if not bad:
        return
    row = bad[0]
    of = "" if fold is None else f" of fold {fold}, who are judged on"
    without = (
        "" if fold is None else f", or by one that was fitted without them (--head fold_{fold})"
    )
    said = "false" if held_out[row] is False else "not known"
    raise DataError(
        f"{name}: {HELD_OUT} is {said} in {len(bad)} rows of readers{of}; first at row {row}, "
        f"counted from 0 (reader {readers[row]}): the model that scored it has learned from that "
        f"reader, or may have. Score each reader by a head that has not seen them (`ifllm score` "
        f"without --head){without}"
    )
