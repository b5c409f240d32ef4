"""A turn whose answers a page has itself, from models of its own: the server only keeps it."""

from __future__ import annotations

from typing import Any

from ifllm_hf.capture.server.refusals import malformed
from ifllm_hf.data.sessions.review import personal_data
from ifllm_hf.data.sessions.session_file import Record

SOURCE = "page"
"""Of such turns; with `:` and the page's name of a conversation where it gives one."""


def turn_of_page(request: dict[str, Any], number: int, now_ms: int) -> Record:
    """Return the record of what a page shows: one answer, or two with the left one first.

    Args:
        request: `question`, `answers` (each `text` in Markdown, and if known `model` and
            `parameters`), and if it likes `conversation`: turns of the same one go on from each
            other, as far as they were rated.
        number: Of the turn in its session.
        now_ms: The epoch.

    Raises:
        Refusal: Something of it is missing. What does not fit the schema is refused by the store.
    """
    question, answers = request.get("question"), request.get("answers")
    conversation = request.get("conversation", "")
    if not isinstance(question, str) or not question.strip():
        raise malformed("Expected the question that was asked.")
    if not isinstance(answers, list) or len(answers) not in (1, 2):
        raise malformed("Expected one answer or two.")
    if not isinstance(conversation, str):
        raise malformed("Expected the name of a conversation as text.")
    return {
        "type": "turn",
        "turn": number,
        "kind": "pairwise" if len(answers) == 2 else "pointwise",
        "question": question.strip(),
        "responses": [_response(box, a) for box, a in zip("AB", answers, strict=False)],
        "side_swapped": False,
        "asked_epoch_ms": now_ms,
        "shown_epoch_ms": now_ms,
        "source": f"{SOURCE}:{conversation}" if conversation else SOURCE,
        "needs_review": list(personal_data(question)),
    }


def is_of_page(turn: Record) -> bool:
    """Tell whether a page brought the answers of a turn along."""
    return str(turn.get("source") or "").partition(":")[0] == SOURCE


def _response(box: str, answer: Any) -> Record:
    text = answer.get("text") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise malformed("Expected each answer as an object with a text.")
    return {
        "box": box,
        "source": text,
        "model": answer.get("model"),
        "parameters": answer.get("parameters") or {},
    }
