"""One chat of Open WebUI as rows: who answered whom, what was regenerated, what a person wrote.

What the page keeps, and what follows from it:

* `parentId` and `childrenIds` are the tree. Answers of several models lie side by side under one
  question, told apart by `modelIdx`; another answer of the same model was regenerated.
* An edit overwrites a text and keeps the former one as `originalContent`: that becomes a row of its
  own. "Save as copy" makes a sibling that carries over all of the original but its text; it is
  known by what only one generation can have made (ids of `output`, durations in `usage`, the id of
  its rating), and is a person's.
* A stopped answer is `done`; the mark is the status `incomplete` of a part of its `output`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ifllm_hf.data.imports.open_webui_export import ExportedChat, is_id, number, stars
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.tables.chat_threads import PERSON, conversation_key, message_key
from ifllm_hf.data.tables.folds import fold_of_unknown

EDIT_RESTORED = "text before an edit is a row of its own"
THINKING_CUT = "thinking cut out"
HALF_CHARACTER = "half a character"
OF_CHAT = "open-webui chat"
"""The `source` of an action that follows from the history of a chat."""

_BLOCK_START = re.compile(r"<details\b([^<>]*)>")
_BLOCK_KIND = re.compile(r'\btype="(reasoning|tool_calls|code_interpreter)"')
_BLOCK_END = re.compile(r"</details>\s*")
_PLAIN_OUTPUT = ("message", "reasoning")
_ROLES = ("user", "assistant")

Row = dict[str, Any]


@dataclass
class ChatRows:
    """What a chat gives.

    Attributes:
        messages: Rows of `schema.MESSAGES`, parents before children.
        actions: Rows of `schema.ACTIONS` that follow from its history.
        thumbs: Ratings that its messages carry: page's message id -> thumb (1 or -1), stars.
    """

    messages: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    thumbs: dict[str, tuple[int, float | None]] = field(default_factory=dict)


def chat_rows(
    chat: ExportedChat, user_id: str, ledger: Ledger, *, copied: Collection[str] = ()
) -> ChatRows:
    """Make the rows of a chat.

    Args:
        chat: The chat.
        user_id: The pseudonym of its reader.
        ledger: Counts its messages.
        copied: Ids of messages that came with a copy of an older chat, whosever it was: what was
            done with them was done there, and is no action here.
    """
    return _ChatTree(chat, user_id, ledger, copied).rows()


class _ChatTree:
    def __init__(
        self, chat: ExportedChat, user_id: str, ledger: Ledger, copied: Collection[str]
    ) -> None:
        self.chat, self.user_id, self.ledger, self.copied = chat, user_id, ledger, copied
        self.messages = self._whole()
        self.made = ChatRows()

    def rows(self) -> ChatRows:
        for ids in self._walk():
            parent = self.messages[ids[0]].get("parentId")
            for role in _ROLES:
                of_role = [i for i in ids if self.messages[i]["role"] == role]
                rows = [*(self._answers if role == "assistant" else self._questions)(of_role)]
                if role == "assistant" and all(i in self.copied for i in of_role):
                    rows = [row | {"origin": "copied"} for row in rows]
                for place, row in enumerate(rows):
                    row["parent_id"] = None if parent is None else self._key(parent)
                    row["sibling_index"], row["n_siblings"] = place, len(rows)
                self.made.messages += rows
        return self.made

    def _whole(self) -> dict[str, Mapping[str, Any]]:
        """Return the messages that are some, with a parent that is one."""
        found: dict[str, Mapping[str, Any]] = {}
        for message_id, message in self.chat.messages.items():
            if not isinstance(message, dict) or not is_id(message_id):
                self.ledger.drop("no message")
            elif message.get("role") not in _ROLES:
                self.ledger.drop("role other than user and assistant")
            elif not isinstance(message.get("content"), str):
                self.ledger.drop("content is no text")
            else:
                found[message_id] = message
        return found

    def _walk(self) -> Iterator[list[str]]:
        """Yield siblings from the first messages downwards, in the order of the page."""
        children: dict[str | None, list[str]] = {}
        lost = 0
        for message_id, message in self.messages.items():
            parent = message.get("parentId")
            if parent is None or (isinstance(parent, str) and parent in self.messages):
                children.setdefault(parent, []).append(message_id)
            else:
                lost += 1
        self.ledger.drop("its parent is missing", lost)
        reached = 0
        waiting: list[str | None] = [None] if None in children else []
        while waiting:
            parent = waiting.pop()
            ids = self._in_order(parent, children[parent])
            reached += len(ids)
            yield ids
            waiting += [i for i in reversed(ids) if i in children]
        # Rings, and what hangs below them or below a message that was lost.
        self.ledger.drop("not reached from a first message", len(self.messages) - lost - reached)
        self.ledger.keep(reached)

    def _in_order(self, parent: str | None, ids: list[str]) -> list[str]:
        listed = () if parent is None else self.messages[parent].get("childrenIds")
        places: dict[Any, int] = {}
        for place, child in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(child, str):
                places.setdefault(child, place)
        return sorted(ids, key=lambda i: (places.get(i, math.inf), self._at_s(i)))

    def _questions(self, ids: Sequence[str]) -> Iterator[Row]:
        for message_id in ids:
            message = self.messages[message_id]
            row = self._row(message_id, self._clean(message["content"]))
            yield row | {"origin": "with_files" if message.get("files") else "written"}
            asked_after = message.get("parentId")
            if asked_after and self.messages[asked_after]["role"] == "assistant":
                self._act(asked_after, "follow_up", message_id)

    def _answers(self, ids: Sequence[str]) -> Iterator[Row]:
        of_mark: dict[str, str] = {}  # what only one generation can have made -> its message
        of_model: dict[Any, str] = {}  # the last answer of each of the models side by side
        for message_id in ids:
            message = self.messages[message_id]
            marks = list(_marks(message))
            original = next((of_mark[mark] for mark in marks if mark in of_mark), None)
            for mark in marks:
                of_mark.setdefault(mark, message_id)
            text, with_tools = self._text(message)
            row = self._row(message_id, text)
            row["model"] = _model(message)
            row["stopped"] = _was_stopped(message) or message.get("done") is False
            if original is not None:  # saved as a copy
                yield row | self._by_person(self._key(original))
                self._act(original, "edit", message_id)
                continue
            side = message.get("modelIdx") if isinstance(message.get("modelIdx"), int) else 0
            before = of_model.get(side)
            of_model[side] = message_id
            row["origin"] = "generated" if before is None else "regenerated"
            row["replaces"] = None if before is None else self._key(before)
            if before is not None:
                self._act(before, "regenerate", message_id)
            if message.get("error") or not text.strip():
                row["origin"] = "failed"
            elif with_tools:
                row["origin"] = "with_tools"
            former = message.get("originalContent")
            if isinstance(former, str) and former != message["content"]:
                as_written, _ = self._text({**message, "content": former, "output": None})
                key = self._key(f"{message_id} before its edit")
                yield row | {"message_id": key, "content": as_written}
                self.ledger.keep(repaired=EDIT_RESTORED)
                row |= self._by_person(key)
                self._act(f"{message_id} before its edit", "edit", message_id, at=False)
            elif _was_stopped(message):
                self._act(message_id, "stop", message_id, at=False)
            yield row
            self._note_thumb(message_id, message)

    def _by_person(self, replaces: str) -> Row:
        # A person read the text that they wrote to its end, however the model's ended.
        origin = {"origin": "edited_by_person", "model": PERSON}
        return {**origin, "replaces": replaces, "stopped": False}

    def _row(self, message_id: str, text: str) -> Row:
        return {
            "conversation_id": conversation_key(self.user_id, self.chat.chat_id),
            "message_id": self._key(message_id),
            "role": self.messages[message_id]["role"],
            "content": text,
            "model": None,
            "created_at": instant(number(self.messages[message_id].get("timestamp"))),
            "replaces": None,
            "stopped": False,
            "user_id": self.user_id,
            "fold": fold_of_unknown(self.user_id),
        }

    def _act(self, message_id: str, action: str, shown_by: str, *, at: bool = True) -> None:
        """Add an action, unless the message that shows it came with a copy of a chat."""
        if shown_by not in self.copied:
            self.made.actions.append(
                {
                    "conversation_id": conversation_key(self.user_id, self.chat.chat_id),
                    "message_id": self._key(message_id),
                    "user_id": self.user_id,
                    "action": action,
                    "value": None,
                    "at": instant(self._at_s(shown_by)) if at else None,
                    "source": OF_CHAT,
                }
            )

    def _note_thumb(self, message_id: str, message: Mapping[str, Any]) -> None:
        said = message.get("annotation")
        if isinstance(said, dict) and message_id not in self.copied:
            thumb = {"1": 1, "-1": -1}.get(str(said.get("rating")))
            if thumb is not None:
                self.made.thumbs[message_id] = (thumb, stars(said))

    def _text(self, message: Mapping[str, Any]) -> tuple[str, bool]:
        """Return what the reader could read of an answer, and whether tools had a part in it."""
        output = _output(message)
        kinds = {item["type"] for item in output if isinstance(item.get("type"), str)}
        text = message["content"]
        if not text.strip() and output:  # an edit in parts leaves the text there alone
            said = (item.get("content") for item in output if item.get("type") == "message")
            parts = [part for content in said if isinstance(content, list) for part in content]
            texts = (part.get("text") for part in parts if isinstance(part, dict))
            text = "\n\n".join(text for text in texts if isinstance(text, str))
        text, blocks = _without_blocks(text)
        if blocks:
            self.ledger.repair(THINKING_CUT)
        rests_on = any(message.get(name) for name in ("sources", "citations", "files"))
        with_tools = bool(blocks - {"reasoning"} or kinds.difference(_PLAIN_OUTPUT) or rests_on)
        return self._clean(text), with_tools

    def _clean(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            self.ledger.repair(HALF_CHARACTER)
            return text.encode("utf-8", "replace").decode()
        return text

    def _key(self, message_id: str) -> str:
        return message_key(self.chat.chat_id, message_id)

    def _at_s(self, message_id: str) -> float:
        return number(self.messages[message_id].get("timestamp"))


def instant(epoch_s: float) -> datetime | None:
    """Return an instant; None for 0."""
    return datetime.fromtimestamp(epoch_s, UTC) if epoch_s else None


def _without_blocks(text: str) -> tuple[str, set[str]]:
    """Return a text without thoughts and calls of tools, and which of them there were.

    One pass, whatever is in the text: a single expression takes hours on tags that never end.
    """
    kept: list[str] = []
    kinds: set[str] = set()
    at = 0
    for start in _BLOCK_START.finditer(text):
        kind = _BLOCK_KIND.search(start[1])
        if kind is None or start.start() < at:  # the model's own words, or inside a block
            continue
        if (end := _BLOCK_END.search(text, start.end())) is None:
            break
        kinds.add(kind[1])
        kept.append(text[at : start.start()])
        at = end.end()
    kept.append(text[at:])
    return "".join(kept), kinds


def _model(message: Mapping[str, Any]) -> str | None:
    """Return who wrote an answer: of models that were hidden, the one behind the mask."""
    for name in (message.get("selectedModelId"), message.get("model")):
        if is_id(name):
            return name
    return None


def _marks(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield what only one generation can have made."""
    if isinstance(feedback := message.get("feedbackId"), str):
        yield f"rating {feedback}"
    usage = message.get("usage") or message.get("info")
    if isinstance(usage, dict) and any(str(key).endswith("_duration") for key in usage):
        yield f"usage {json.dumps(usage, sort_keys=True)}"
    for item in _output(message):
        if isinstance(item.get("id"), str) and item["id"]:
            yield f"output {item['id']}"


def _output(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of an answer: texts, thoughts, calls of tools."""
    output = message.get("output")
    return [i for i in output if isinstance(i, dict)] if isinstance(output, list) else []


def _was_stopped(message: Mapping[str, Any]) -> bool:
    return any(item.get("status") == "incomplete" for item in _output(message))
