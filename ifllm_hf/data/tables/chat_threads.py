"""The messages of a chat page as questions with their answers, each with what was said before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ifllm_hf.data.schema import TURNS
from ifllm_hf.files import digest

PERSON = "person"
"""The `model` of a text that a person wrote or changed."""

BY_MODELS = ("generated", "regenerated", "continued")
"""The `origin` of an answer that a model wrote from the conversation alone."""

NOT_ALTERNATING = "question and answer do not take turns before it"
NOT_WHOLE = "a message before it is not whole"

_KEY_BITS = 52  # a double holds it, so JavaScript does
_ID_DIGITS = 16

Row = Mapping[str, Any]
"""A row of `schema.MESSAGES`."""


def conversation_key(user_id: str, chat_id: str) -> str:
    """Return the `conversation_id` of a chat, given its reader's pseudonym."""
    return f"{user_id}/{digest(chat_id, _ID_DIGITS)}"


def message_key(chat_id: str, message_id: str) -> str:
    """Return the `message_id` of a message: a copy of a chat keeps the page's own ids."""
    return digest(f"{chat_id}\0{message_id}", _ID_DIGITS)


def question_key(message_id: str) -> int:
    """Return the `query_id` of a question from the `message_id` of its message."""
    return int(digest(message_id, 16), 16) >> (64 - _KEY_BITS)


@dataclass(frozen=True)
class ThreadQuestion:
    """A question and what came under it.

    Attributes:
        row: The question's message.
        answers: Those of models and persons under it, in the order of the page.
        past: What was said before it, as messages with `role` and `content`.
        turn: Its number on its branch, from 1.
        unfit: Why nothing can be learned from it; None: something can.
    """

    row: Row
    answers: tuple[Row, ...]
    past: tuple[dict[str, str], ...]
    turn: int
    unfit: str | None = None

    @property
    def query_id(self) -> int:
        """The key of the question."""
        return question_key(self.row["message_id"])


def thread_questions(rows: Iterable[Row]) -> Iterator[ThreadQuestion]:
    """Yield the questions of one conversation that were answered.

    Args:
        rows: All its rows of `messages`, parents before their children.
    """
    by_id = {row["message_id"]: row for row in rows}
    answers: dict[str, list[Row]] = {}
    for row in by_id.values():
        if row["role"] == "assistant" and row["parent_id"] in by_id:
            answers.setdefault(row["parent_id"], []).append(row)
    for message_id, found in answers.items():
        question = by_id[message_id]
        if question["role"] != "user":
            continue  # an answer below an answer: its question was deleted
        before = _before(question, by_id)
        found.sort(key=lambda row: row["sibling_index"])
        yield ThreadQuestion(
            row=question,
            answers=tuple(found),
            past=tuple({"role": m["role"], "content": m["content"]} for m in before),
            turn=len(before) // 2 + 1,
            unfit=_unfit(question, before),
        )


def pair_row(question: ThreadQuestion, a: Row, b: Row, preference: str | None) -> dict[str, Any]:
    """Return the row of `schema.TURNS` that has two answers to a question side by side."""
    asked, past = question.row, list(question.past)
    return {
        **dict.fromkeys(TURNS.names),
        "query_id": question.query_id,
        **{name: asked[name] for name in ("conversation_id", "user_id", "fold")},
        "turn": question.turn,
        "kind": "pairwise",
        "prompt": asked["content"],
        "response_a": a["content"],
        "response_b": b["content"],
        "model_a": a["model"],
        "model_b": b["model"],
        "bullet_suffix": False,
        "history_a": past,
        "history_b": past,
        "preference": preference,
        "asked_at": asked["created_at"],
        "has_error_answer": False,
        "excluded_by_paper": False,
    }


def _before(question: Row, by_id: Mapping[str, Row]) -> list[Row]:
    path = []
    at = by_id.get(question["parent_id"])
    while at is not None:
        path.append(at)
        at = by_id.get(at["parent_id"])
    return path[::-1]


def _unfit(question: Row, before: list[Row]) -> str | None:
    if question["origin"] == "with_files":
        return "question with files"
    if not question["content"].strip():
        return "empty question"
    roles = [message["role"] for message in before]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        return NOT_ALTERNATING
    for message in before:
        if message["origin"] in ("with_files", "failed") or not message["content"].strip():
            return NOT_WHOLE
    return None
