"""Messages as they stand in datasets, read without losing or making up a word of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Message = dict[str, str]
ROLES = ("system", "user", "assistant")


class RowError(ValueError):
    """A row that no pair can be made of; whoever reads the dataset adds its name and the row.

    Attributes:
        what: What is wrong, with the field in quotes; the same for all rows with this fault.
        seen: The value.
        expected: What was expected, and what to do.
    """

    def __init__(self, what: str, seen: Any, expected: str) -> None:
        """Keep the three parts of the message."""
        shown = str(seen)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        super().__init__(f"{what} ({shown!r}); {expected}")
        self.what, self.seen, self.expected = what, seen, expected


def read_messages(value: Any, field: str) -> list[Message]:
    """Return messages with their texts.

    Args:
        value: As the dataset has it.
        field: Its column, for the message.

    Raises:
        RowError: Not a list of messages, an unknown role, or anything beside the text: a missing
            content, an image, a call of a tool, a trace of reasoning.
    """
    if not isinstance(value, list):
        raise RowError(
            f"'{field}' is neither a text nor messages",
            value,
            "expected a string, or a list of {'role': ..., 'content': ...}",
        )
    messages = []
    for message in value:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise RowError(
                f"'{field}' has a turn without role and content",
                message,
                "expected a list of {'role': ..., 'content': ...}; rename the keys",
            )
        if message["role"] not in ROLES:
            raise RowError(
                f"'{field}' has a turn of role {message['role']!r}",
                message,
                f"expected {', '.join(ROLES)}; rename the role, or remove those rows",
            )
        for key, more in message.items():
            if key not in ("role", "content") and not is_blank(more):
                raise RowError(
                    f"'{field}' has a turn with '{key}', which is not read here",
                    more,
                    "expected role and content alone; write it into the content or remove it",
                )
        text = _content_text(message["content"], field)
        messages.append({"role": str(message["role"]), "content": text})
    return messages


def _content_text(content: Any, field: str) -> str:
    """Return the text of a content: a string, or parts that are all text, one after the other."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        return "".join(_part_text(part, field) for part in content)
    raise RowError(
        f"'{field}' has a turn whose content is no text",
        content,
        "expected a string, or a list of {'type': 'text', 'text': ...}; remove those rows",
    )


def _part_text(part: Any, field: str) -> str:
    if (
        isinstance(part, Mapping)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
        and all(is_blank(more) for key, more in part.items() if key not in ("type", "text"))
    ):
        return str(part["text"])
    raise RowError(
        f"'{field}' has a turn with a part that is no text",
        part,
        "expected {'type': 'text', 'text': ...} alone; images and sounds are not read here",
    )


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: what Arrow fills in where other rows have something."""
    if isinstance(value, Mapping):
        return all(is_blank(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_blank(inner) for inner in value)
    return value is None or value == ""


def text_of(value: str | list[Message]) -> str:
    """Return the text of a prompt or answer: itself, or the contents of its messages, joined."""
    if isinstance(value, str):
        return value
    return "\n".join(message["content"] for message in value)
