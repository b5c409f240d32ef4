"""What the owner of a chat page tells of its messages: the only texts that a session ever holds.

A browser sends ids, hashes and offsets. The Markdown of questions and answers comes from whoever
has it: the page's own server, in the same process, or an export. It goes into the session's own
file, so that it leaves with the session, and no route takes such a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ifllm_hf.capture.server.checks import check
from ifllm_hf.capture.server.store import SessionStore
from ifllm_hf.data.sessions.event_schema import PAGES


@dataclass(frozen=True, kw_only=True)
class PageMessage:
    """A question or an answer of a chat.

    Attributes:
        chat: As the page calls the chat.
        id: As the page calls the message; the same id with another text is a later text of it.
        parent: The message before it, None for the first of a chat; an answer's is its question.
        role: "user" or "assistant".
        content: Markdown, as the page got it.
        model: Who wrote an answer.
        origin: As in the table `messages`; None: what the page showed decides.
        replaces: The answer that was regenerated.
        stopped: Whether it was cut off before its end.
        created_epoch_ms: When it was written.
    """

    chat: str
    id: str
    parent: str | None
    role: str
    content: str
    model: str | None = None
    origin: str | None = None
    replaces: str | None = None
    stopped: bool = False
    created_epoch_ms: float | None = None


def put_messages(store: SessionStore, session_id: str, messages: Iterable[PageMessage]) -> int:
    """Store messages of the chats of a session's reader; return how many, once all are on disk.

    Only messages of chats that this reader may see: whoever calls this says so. Each is written, so
    tell one when it is complete, and again when its text changed. A thread but the event loop's.

    Args:
        store: The server's.
        session_id: Whose.
        messages: Of any number of chats; a message's parents may come later.

    Raises:
        Refusal: One does not fit `$defs/message_line`, and then none is stored; or the session was
            withdrawn, is full or missing, or the disk failed.
    """
    at_ms = store.now_ms()
    lines = [
        {"type": "message", "v": PAGES, **asdict(message), "at_epoch_ms": at_ms}
        for message in messages
    ]
    for line in lines:
        check(line, "message_line")  # before any of them is stored
    for stored in [store.submit(session_id, line) for line in lines]:
        stored.result()
    return len(lines)
