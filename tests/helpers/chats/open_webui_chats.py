"""Made-up exports of Open WebUI: chats grown message by message, and ratings of their answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

START_S = 1_760_000_000


class MadeChat:
    """A chat as the page keeps it; every message is a minute younger than the one before."""

    def __init__(self, chat_id: str = "chat-1", user_id: str = "ann-0815") -> None:
        """Begin an empty one."""
        self.chat_id, self.user_id = chat_id, user_id
        self.messages: dict[str, dict[str, Any]] = {}

    def ask(self, message_id: str, text: str, after: str | None = None, **more: Any) -> str:
        """Add a question."""
        return self._add(message_id, after, {"role": "user", "content": text, **more})

    def answer(self, message_id: str, text: str, to: str, side: int = 0, **more: Any) -> str:
        """Add an answer of the model on a side."""
        said = {"role": "assistant", "content": text, "model": f"model-{side}", "modelIdx": side}
        return self._add(message_id, to, {**said, "done": True, **more})

    def edit(self, message_id: str, text: str) -> None:
        """Overwrite an answer, as `Save` does."""
        message = self.messages[message_id]
        message["originalContent"], message["content"] = message["content"], text

    def save_copy(self, message_id: str, of: str, text: str) -> str:
        """Add an edited text beside an answer, as `Save as copy` does."""
        original = copy.deepcopy(self.messages[of])
        return self._add(message_id, original["parentId"], {**original, "content": text})

    def _add(self, message_id: str, parent: str | None, message: dict[str, Any]) -> str:
        self.messages[message_id] = {
            **message,
            "id": message_id,
            "parentId": parent,
            "childrenIds": [],
            "timestamp": START_S + 60 * len(self.messages),
        }
        if parent is not None and parent in self.messages:
            self.messages[parent]["childrenIds"].append(message_id)
        return message_id

    def export(self, *, updated_s: int = START_S + 9000, **more: Any) -> dict[str, Any]:
        """Return it as an export of chats holds it."""
        return {
            "id": self.chat_id,
            "user_id": self.user_id,
            "title": "Ann's chat, ann@example.org",
            "chat": {"title": "Ann's chat", "history": {"messages": copy.deepcopy(self.messages)}},
            "created_at": START_S,
            "updated_at": updated_s,
            **more,
        }

    def rate(self, message_id: str, thumb: int | None, stars: int | None = None) -> dict[str, Any]:
        """Return the rating of an answer as the export of ratings holds it, with its chat."""
        message = self.messages[message_id]
        siblings = [i for i in self.messages[message["parentId"]]["childrenIds"] if i != message_id]
        return {
            "id": f"rating of {message_id}",
            "user_id": self.user_id,
            "user": {"name": "Ann Example", "email": "ann@example.org"},
            "version": 0,
            "type": "rating",
            "data": {
                "rating": thumb,
                "model_id": message["model"],
                "sibling_model_ids": [self.messages[i]["model"] for i in siblings],
                "reason": "accurate_information",
                "comment": "Thanks, says Ann Example",
                "details": {"rating": stars},
                "tags": [],
            },
            "meta": {
                "arena": False,
                "model_id": message["model"],
                "message_id": message_id,
                "message_index": 2,
                "chat_id": self.chat_id,
            },
            "snapshot": {"chat": self.export()},
            "created_at": START_S + 8000,
            "updated_at": START_S + 8000,
        }


def write_export(path: Path, entries: Any) -> Path:
    """Write an export."""
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def two_answers(
    chat_id: str = "chat-1", user_id: str = "ann-0815", question: str = "Why is the sky blue?"
) -> MadeChat:
    """Return a chat with answers `left` and `right` of two models under the question `q`."""
    chat = MadeChat(chat_id, user_id)
    chat.ask("q", question)
    chat.answer("left", f"Because of scattering, {chat_id}.", "q", side=0)
    chat.answer("right", f"It is the sea, {chat_id}.", "q", side=1)
    return chat
