"""The files that Open WebUI exports: chats and ratings, or one line that says what else it is.

    /api/v1/evaluations/feedbacks/all/export   a list of ratings, each with a copy of its chat
    /api/v1/chats/all, .../all/db, the menu    a list of chats, or one chat a line

Fields are those of Open WebUI 0.5 to 0.12. An entry is known by its form, so either file, or one
that holds both, may be given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.errors import SourceError

_EXPECTED = (
    "expected the ratings of Open WebUI (/api/v1/evaluations/feedbacks/all/export, as an "
    "administrator) or its chats (/api/v1/chats/all)"
)
_TEMPORARY = "local:"  # how the ids of chats begin that are not stored

NO_HISTORY = "chat without history"
OLDER_COPY = "older copy of the chat"
RATED_AGAIN = "rated again later"

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class ExportedChat:
    """A chat as it stood when it was exported or rated.

    Attributes:
        chat_id: Of the page.
        user_id: Of the page.
        created_s: When it began, epoch seconds; 0: not said.
        copied_s: When this copy was taken; the last one counts.
        messages: Of its history, by id.
    """

    chat_id: str
    user_id: str
    created_s: float
    copied_s: float
    messages: Mapping[str, Any]


@dataclass(frozen=True)
class ExportedRating:
    """What a reader said of an answer.

    Attributes:
        chat_id: Of the page.
        message_id: Of the page.
        user_id: Of the page.
        thumb: 1 or -1.
        stars: 1 to 10; None: not said.
        model: Who wrote the answer, if it was hidden until then; else None.
        at_s: When, epoch seconds; 0: not said.
    """

    chat_id: str
    message_id: str
    user_id: str
    thumb: int
    stars: float | None
    model: str | None
    at_s: float


@dataclass
class OpenWebUIExport:
    """Chats and ratings of some files.

    Attributes:
        chats: By id, the last copy of each.
        ratings: By chat and message, the last one of each.
        chat_ledger: Copies of chats, also those that came with ratings.
        rating_ledger: Ratings.
    """

    chats: dict[str, ExportedChat] = field(default_factory=dict)
    ratings: dict[tuple[str, str], ExportedRating] = field(default_factory=dict)
    chat_ledger: Ledger = field(default_factory=lambda: Ledger("chats"))
    rating_ledger: Ledger = field(default_factory=lambda: Ledger("ratings"))

    def add(self, entry: Any) -> bool:
        """Take an entry; False: it has the form of neither, and is not counted."""
        if not isinstance(entry, dict):
            return False
        if "meta" in entry and "data" in entry:
            self._add_rating(entry)
        elif isinstance(entry.get("chat"), dict):
            self._add_chat(entry, number(entry.get("updated_at")))
        else:
            return False
        return True

    def _add_rating(self, entry: Entry) -> None:
        at_s = number(entry.get("updated_at")) or number(entry.get("created_at"))
        snapshot = entry.get("snapshot")
        if isinstance(snapshot, dict) and isinstance(snapshot.get("chat"), dict):
            self._add_chat(snapshot["chat"], at_s)
        rating = _rating(entry, at_s)
        if isinstance(rating, str):
            self.rating_ledger.drop(rating)
            return
        key = rating.chat_id, rating.message_id
        if (known := self.ratings.get(key)) is not None:
            self.rating_ledger.drop(RATED_AGAIN)
            if known.at_s > rating.at_s:
                return
        self.ratings[key] = rating

    def _add_chat(self, entry: Entry, copied_s: float) -> None:
        chat = _chat(entry, copied_s)
        if isinstance(chat, str):
            self.chat_ledger.drop(chat)
            return
        if (known := self.chats.get(chat.chat_id)) is not None:
            self.chat_ledger.drop(OLDER_COPY)
            if known.copied_s > chat.copied_s:
                return
        self.chats[chat.chat_id] = chat


def read_exports(files: Iterable[Path]) -> OpenWebUIExport:
    """Read exports of one installation; all of a file is in memory.

    Raises:
        SourceError: A file cannot be read, is no JSON, or holds neither chats nor ratings.
    """
    export = OpenWebUIExport()
    for file in files:
        entries = _entries(file)
        unknown = [entry for entry in entries if not export.add(entry)]
        if len(unknown) == len(entries):
            seen = unknown[0]
            has = f"an object with {', '.join(list(seen)[:6])}" if isinstance(seen, dict) else seen
            raise SourceError(
                f"{file}: holds no chat and no rating; its first entry is {str(has)[:120]}. It may "
                f"be of another program; {_EXPECTED}."
            )
        export.chat_ledger.drop("neither chat nor rating", len(unknown))
    return export


def number(value: Any) -> float:
    """Return an instant in epoch seconds, whatever its unit was; 0 for what is none.

    >>> [number(value) for value in (1_700_000_000, 1_700_000_000_000, "soon", True, -1)]
    [1700000000.0, 1700000000.0, 0.0, 0.0, 0.0]
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e20:
        return 0.0
    seconds = float(value)
    while seconds > 1e11:  # the year 5138
        seconds /= 1000
    return seconds


def _rating(entry: Entry, at_s: float) -> ExportedRating | str:
    """Return the rating, or why it is none."""
    data, meta = entry["data"] or {}, entry["meta"] or {}
    if not isinstance(data, dict) or not isinstance(meta, dict):
        return "rating without data"
    chat_id, message_id = meta.get("chat_id"), meta.get("message_id")
    user_id = entry.get("user_id")
    if not (is_id(chat_id) and is_id(message_id) and is_id(user_id)):
        return "rating without a chat, message or reader"
    if chat_id.startswith(_TEMPORARY):
        return "temporary chat"
    if data.get("rating") is None:
        return "rating was taken back"
    thumb = {"1": 1, "-1": -1}.get(str(data["rating"]))
    if thumb is None:
        return "rating is neither 1 nor -1"
    return ExportedRating(
        chat_id=chat_id,
        message_id=message_id,
        user_id=user_id,
        thumb=thumb,
        stars=stars(data),
        # Of models that were hidden, the message names the mask that they wore.
        model=data["model_id"] if meta.get("arena") and is_id(data.get("model_id")) else None,
        at_s=at_s,
    )


def stars(data: Entry) -> float | None:
    """Return the rating of 1 to 10 that a reader may add to a thumb."""
    details = data.get("details")
    given = details.get("rating") if isinstance(details, dict) else None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= 10:
        return None
    return float(given)


def _chat(entry: Entry, copied_s: float) -> ExportedChat | str:
    """Return the chat, or why it is none."""
    chat_id, user_id = entry.get("id"), entry.get("user_id")
    if not (is_id(chat_id) and is_id(user_id)):
        return "chat without an id or a reader"
    if chat_id.startswith(_TEMPORARY):
        return "temporary chat"
    inner = entry["chat"] if isinstance(entry.get("chat"), dict) else entry
    history = inner.get("history")
    messages = history.get("messages") if isinstance(history, dict) else None
    if not isinstance(messages, dict) or not messages:
        return NO_HISTORY
    created_s = number(entry.get("created_at")) or number(inner.get("timestamp"))
    return ExportedChat(chat_id, user_id, created_s, copied_s, messages)


def is_id(value: Any) -> TypeGuard[str]:
    """Tell whether a value may be an id or a name of the page."""
    # Half of a surrogate pair is not printable, and cannot be written anywhere.
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _entries(file: Path) -> list[Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or str(error)
        raise SourceError(f"{file}: cannot be read ({why}); {_EXPECTED}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); {_EXPECTED}. Save it "
            "again as it was sent."
        ) from error
    if text.lstrip()[:1] == "<":
        raise SourceError(
            f"{file}: is a web page, perhaps that of a login; {_EXPECTED}. Sign in, or send a "
            "token, and save the answer again."
        )
    loaded = _loaded(text, file)
    if isinstance(loaded, dict):
        if "detail" in loaded and "chat" not in loaded:
            raise SourceError(
                f"{file}: the server refused, with {str(loaded['detail'])[:120]!r}; {_EXPECTED}."
            )
        loaded = [loaded]
    if not isinstance(loaded, list):
        raise SourceError(f"{file}: is {str(loaded)[:60]!r}, not a list; {_EXPECTED}.")
    if not loaded:
        raise SourceError(f"{file}: is an empty list: nothing was exported; {_EXPECTED}.")
    return loaded


def _loaded(text: str, file: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise SourceError(
            f"{file}: {error.args[0]!r} stands twice in one object, so that one of the two would "
            f"be lost; {_EXPECTED}. Export it again."
        ) from error
    except RecursionError as error:
        raise SourceError(f"{file}: is nested too deeply for an export; {_EXPECTED}.") from error
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].startswith("{") and lines[0].rstrip().endswith("}"):
            return [_loaded_line(line, i, file) for i, line in enumerate(lines, 1)]
        raise SourceError(
            f"{file}: is no JSON, or cut off ({error}); {_EXPECTED}. Fetch it again."
        ) from error


def _loaded_line(line: str, number_of_line: int, file: Path) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file}, line {number_of_line}: is no JSON, or cut off ({error}); {_EXPECTED}. Fetch "
            "it again."
        ) from error


class _TwiceError(ValueError):
    """A key of a JSON object occurs twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return found
