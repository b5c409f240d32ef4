"""The messages of a session as the page's owner told them: every text of each, with its key.

A message that is told again with more behind its text has grown, and is one text. With another text
it was edited, or written anew in its place: the former text is a text of its own, as in an import.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ifllm_hf.data.sessions.session_file import Record
from ifllm_hf.data.tables.chat_threads import conversation_key, message_key

BEFORE_EDIT = "before its edit"
PageId = tuple[str, str]
"""Chat and message, as the page calls them: ids survive the copy of a chat."""


@dataclass
class StoredText:
    """One text of a message.

    Attributes:
        record: The owner's line, the last that tells this text.
        since_ms: When it was first told.
        key: The `message_id` of its row.
    """

    record: Record
    since_ms: float
    key: str = ""

    @property
    def content(self) -> str:
        """Its Markdown."""
        return str(self.record["content"])


@dataclass
class StoredMessages:
    """All messages that owners told of.

    Attributes:
        user_id: The reader: two may read the same chat, and each has rows of their own.
        texts: Of each message, the oldest first, in the order in which messages were first told.
    """

    user_id: str
    texts: dict[PageId, list[StoredText]] = field(default_factory=dict)

    def key(self, chat: str, message_id: str) -> str:
        """Return the `message_id` of a message's row."""
        return message_key(conversation_key(self.user_id, chat), message_id)

    def current(self, page_id: PageId) -> StoredText:
        """Return the last text of a message."""
        return self.texts[page_id][-1]

    def at(self, page_id: PageId, epoch_ms: float) -> StoredText:
        """Return the text that a message had at some time."""
        texts = self.texts[page_id]
        return next((t for t in reversed(texts) if t.since_ms <= epoch_ms), texts[0])


def stored_messages(records: Iterable[Record], user_id: str) -> StoredMessages:
    """Return the messages of the owner's lines, as a reader's."""
    found = StoredMessages(user_id)
    for record in records:
        texts = found.texts.setdefault((record["chat"], record["id"]), [])
        if texts and _is_same(texts[-1], record):
            texts[-1].record = record
        else:
            texts.append(StoredText(record, record["at_epoch_ms"]))
    for (chat, message_id), texts in found.texts.items():
        for place, text in enumerate(texts[::-1]):
            if place == 0:
                text.key = found.key(chat, message_id)
            else:
                before = f"{message_id} {BEFORE_EDIT}" + (f" {place}" if place > 1 else "")
                text.key = found.key(chat, before)
    return found


def _is_same(text: StoredText, record: Record) -> bool:
    grew = record["content"].startswith(text.content)
    return grew and (
        record.get("origin") != "edited_by_person" or record["content"] == text.content
    )
