"""The chat history of a Gradio page as the texts of its messages.

Gradio keeps histories in the browser and hands them to whoever listens to an event: in process, as
Markdown. The page says which message stands where, and by what id; texts come from the history.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ifllm_hf.capture.server import PageMessage, Refusal, SessionStore, put_messages

logger = logging.getLogger(__name__)

History = Sequence[Mapping[str, Any]]


def texts_of(history: History) -> list[tuple[str, str | None]]:
    """Return role and Markdown of each message that a chat shows; None: it is no text.

    Args:
        history: As Gradio hands it over: each message has a list of parts, which it shows one by
            one.
    """
    shown = []
    for message in history:
        content = message["content"]
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part if isinstance(part, str) else part.get("text")
            shown.append((str(message["role"]), text if isinstance(text, str) else None))
    return shown


def store_texts(
    store: SessionStore,
    told: str | None,
    histories: Sequence[History],
    models: Sequence[str | None],
) -> int:
    """Store the messages that a page says are new, with the texts of its histories.

    Args:
        store: The server's.
        told: What the page says, as JSON: `session`, `token`, `chat`, `sizes` (messages of each
            column) and `fresh` (`column`, `place`, `role`, `id`, `parent`, `replaces` of each).
            Empty before anybody has consented.
        histories: Of each column.
        models: Who answers in each column.

    Returns:
        How many were stored.
    """
    if not told:
        return 0
    try:
        page = json.loads(told)
        if not store.check_token(page["session"], page["token"]):
            return 0
        columns = [texts_of(history) for history in histories]
        if [len(column) for column in columns] != page["sizes"]:
            # A history that has moved on meanwhile is told again; one with hidden messages is not.
            logger.info("A chat shows other messages than its history has: none was stored.")
            return 0
        messages = []
        for fresh in page["fresh"]:
            role, text = columns[fresh["column"]][fresh["place"]]
            if role != fresh["role"] or text is None:
                continue
            messages.append(
                PageMessage(
                    chat=page["chat"],
                    id=fresh["id"],
                    parent=fresh["parent"],
                    role=role,
                    content=text,
                    model=models[fresh["column"]] if role == "assistant" else None,
                    replaces=fresh["replaces"],
                )
            )
        return put_messages(store, page["session"], messages)
    except Refusal as refusal:
        logger.warning("Messages of a chat were not stored: %s", refusal)
    except (KeyError, IndexError, TypeError, ValueError):
        logger.warning("A page told its messages in a form that is not ours.")
    return 0


def place_of_copied(history: History, copied: object) -> int | None:
    """Return the place of the last message whose text was copied; None: of none."""
    texts = [text for _, text in texts_of(history)]
    places = [place for place, text in enumerate(texts) if text == copied]
    return places[-1] if places else None
