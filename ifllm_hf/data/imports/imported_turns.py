"""Rated answers that have a sibling, as rows of `turns`: what knows nothing of actions reads them.

One row a question: the answer that is best by the reader's own thumbs, and the worst of the others.
`preference` names a side only where the reader rated both, and differently. Where one of two was
rated the row is there without a preference: what that is worth says `ifllm label --source actions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ifllm_hf.data.tables.chat_threads import (
    BY_MODELS,
    ThreadQuestion,
    pair_row,
    thread_questions,
)

Row = dict[str, Any]


def turn_rows(messages: Sequence[Row], actions: Sequence[Row]) -> list[Row]:
    """Return the rows of `schema.TURNS`.

    Args:
        messages: Rows of `messages`, a conversation after the other.
        actions: Rows of `actions`.
    """
    thumbs = {
        row["message_id"]: row["value"] for row in actions if row["action"] in ("like", "dislike")
    }
    rows: list[Row] = []
    for _, of_one in groupby(messages, key=lambda row: row["conversation_id"]):
        for question in thread_questions(of_one):
            rows += _turn(question, thumbs)
    return rows


def _turn(question: ThreadQuestion, thumbs: dict[str, float]) -> Iterator[Row]:
    if question.unfit is not None:
        return
    answers = [
        (thumbs.get(row["message_id"]), row)
        for row in question.answers
        if row["origin"] in BY_MODELS and not row["stopped"]
    ]
    best = max(answers, key=lambda rated: rated[0] or 0, default=None)
    worst = min(
        (a for a in answers if a is not best), key=lambda rated: rated[0] or 0, default=None
    )
    if best is None or worst is None or (best[0] or 0) == (worst[0] or 0):
        return
    a, b = sorted((best, worst), key=lambda rated: rated[1]["sibling_index"])
    both = None not in (a[0], b[0])
    yield pair_row(question, a[1], b[1], ("a" if a is best else "b") if both else None)
