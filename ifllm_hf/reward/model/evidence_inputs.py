"""What the evidence head reads beside the ticks: context of an answer, habit of its reader.

Travels with a model: imports its siblings and numpy alone; torch where habits are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .configuration_ifllm import CONTEXT, LATE_COLUMNS
from .data_error import DataError
from .token_alignment import Question

Float32Array = NDArray[np.float32]

PRIOR_TURNS = 3.0
"""A habit is shrunk towards 0 as if it had been 0 in this many turns."""
TURN, HISTORY = "turn", "trajectory_history"
"""Columns of the turns that are read where they are there: the number of the turn in its
conversation, and `[answers, 9]` what `habit` returns of the reader's earlier turns."""
WIDTHS = {"context": len(CONTEXT), HISTORY: len(LATE_COLUMNS)}


def context_rows(
    questions: Sequence[Question],
    answers: Sequence[Sequence[str | None]],
    columns: Mapping[str, Any] | None,
) -> list[Float32Array]:
    """Return `CONTEXT` of every answer, `[5]` each, question after question; 0 unknown.

    Raises:
        DataError: The number of a turn is none; names the row and the field.
    """
    turns = (columns or {}).get(TURN) or [None] * len(questions)
    out = []
    for row, (question, sides, turn) in enumerate(zip(questions, answers, turns, strict=True)):
        number = 0 if turn is None else turn
        if isinstance(number, str) or not np.isfinite(number) or number < 0:
            raise DataError(
                f"row {row}, field '{TURN}': {turn!r}; expected the number of the turn in its "
                "conversation, from 1, or null."
            )
        # 0 says that an answer is not known; one that is empty is shorter than all others.
        chars = [0 if text is None else max(1, len(text)) for text in sides]
        shared = (sum(chars), question_chars(question), number, len(sides))
        out += [np.array([n, *shared], dtype=np.float32) for n in chars]
    return out


def question_chars(question: Question) -> int:
    """Return the characters of a question; of messages, those of the last one."""
    if not question:
        return 0
    if isinstance(question, str):
        return len(question)
    content = question[-1].get("content") or ""
    parts = [content] if isinstance(content, str) else [p.get("text") or "" for p in content]
    return sum(map(len, parts))


def history_rows(
    answers: Sequence[Sequence[str | None]], columns: Mapping[str, Any] | None
) -> list[Float32Array] | None:
    """Return the habit that belongs to every answer, `[9]` each; None where no turn has one.

    Raises:
        DataError: It has another shape than the answers ask for, or a value that is not finite.
    """
    given = (columns or {}).get(HISTORY)
    if given is None or all(habits is None for habits in given):
        return None
    out = []
    for row, (sides, habits) in enumerate(zip(answers, given, strict=True)):
        shape = (len(sides), len(LATE_COLUMNS))
        values = np.zeros(shape) if habits is None else _numbers(habits, row)
        # A dataset has two sides in every row.
        values = values[: len(sides)] if values.ndim == 2 else values
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(
                f"row {row}, field '{HISTORY}': {values.tolist()}; expected {shape[0]} times "
                f"{shape[1]} finite numbers, answers by columns: what `IFLLMProcessor.habit` says "
                "of the reader's earlier turns."
            )
        out += list(values.astype(np.float32))
    return out


def _numbers(habits: Any, row: int) -> NDArray[np.float64]:
    try:
        return np.array([list(side) for side in habits], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"row {row}, field '{HISTORY}': {error}; expected numbers.") from error


def habit(log_share: NDArray[Any], recorded: NDArray[Any]) -> Float32Array:
    """Return a reader's habit after some turns, `[2, 9]`: the sum of ln(share + floor) / (n + 3).

    Args:
        log_share: `[turns, 2, 9]` of `modeling_evidence_ifllm.LateShares`.
        recorded: The same shape, bool. A turn counts where both answers were.
    """
    known = recorded.all(axis=1, keepdims=True)
    total = np.where(known, log_share, 0.0).sum(axis=0)
    return np.asarray(total / (known.sum(axis=0) + PRIOR_TURNS), dtype=np.float32)
