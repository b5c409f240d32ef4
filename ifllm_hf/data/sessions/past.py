"""What was said before a turn: what the models got, the reader saw, and an export carries.

One rule for all three. A turn goes on from the earlier turns of its kind and source that the reader
rated, so that nobody's past holds an answer that never came to the screen. Answers that come from
the dataset go on from nothing: each replayed turn stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ifllm_hf.data.sessions.session_file import Record, Session

REPLAY = "replay"
"""The source of turns whose answers come from the dataset."""


def failed(turn: Record) -> bool:
    """Tell whether there was nothing to read: an answer is missing or was refused."""
    return any(answer.get("error") or answer.get("refused") for answer in turn["responses"])


def past_turns(session: Session, *, kind: str, source: str | None, before: int) -> list[Record]:
    """Return the turns that a turn goes on from, in order.

    Args:
        session: The session.
        kind: Of the turn: pairwise or pointwise.
        source: Of the turn: who answers it.
        before: Its number.
    """
    if source == REPLAY:
        return []
    return [
        turn
        for number, turn in sorted(session.turns.items())
        if number < before
        and number in session.ratings
        and (turn["kind"], turn.get("source")) == (kind, source)
        and not failed(turn)
    ]


def past_messages(past: Sequence[Record], box: int) -> list[dict[str, str]]:
    """Return the questions of some turns, each with its answer in a box: 0 is A, 1 is B."""
    said: list[dict[str, str]] = []
    for turn in past:
        said.append({"role": "user", "content": turn["question"]})
        said.append({"role": "assistant", "content": turn["responses"][box]["source"]})
    return said
