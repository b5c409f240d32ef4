"""Exports of a chat page as a prepared folder, without what names anybody.

Readers get pseudonyms, keys are hashes; names, addresses, profiles and comments are not read, and
what looks like an e-mail address is masked. Names inside questions stay: a person reviews them
before anything is public (`ifllm review`), as for collected sessions.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.data.imports.chat_folder import write_chat_folder
from ifllm_hf.data.imports.open_webui_chat import ChatRows, Row, chat_rows, instant
from ifllm_hf.data.imports.open_webui_export import ExportedRating, OpenWebUIExport, read_exports
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.prepared.folder import PreparedFolder, check_target
from ifllm_hf.data.sessions.origin import reader_of
from ifllm_hf.data.sessions.review import (
    PUBLISH,
    Key,
    Question,
    decide,
    question_of,
    read_decisions,
    write_decisions,
)
from ifllm_hf.data.tables.chat_threads import message_key, question_key
from ifllm_hf.data.tables.tasks import EMAIL_MASK, EMAIL_PATTERN
from ifllm_hf.errors import SourceError
from ifllm_hf.progress import progress_bar

OF_RATING = "open-webui rating"
"""The `source` of an action that a reader's rating is."""

NOT_PUBLISHED = "its question, or one before it, is not published"


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    Attributes:
        folder: The prepared folder.
        ledgers: Of chats, ratings, messages and preferences: seen, kept, dropped by reason.
        actions: Rows of `actions` by what was done.
        readers: Readers.
        waiting: Questions that nobody has reviewed.
    """

    folder: PreparedFolder
    ledgers: dict[str, Ledger]
    actions: dict[str, int]
    readers: int
    waiting: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "out": str(self.folder.path),
            "rows": self.folder.rows,
            "bytes": self.folder.n_bytes,
            "readers": self.readers,
            "actions": self.actions,
            "questions_not_reviewed": self.waiting,
            "ledgers": {name: ledger.to_dict() for name, ledger in self.ledgers.items()},
        }

    def text(self) -> str:
        """Return what to print for a person."""
        rows = self.folder.rows
        lines = [
            f"{rows['messages']} messages, {rows['actions']} actions, {rows['pairwise']} rated "
            f"pairs of {self.readers} readers -> {self.folder.path}"
        ]
        for name, ledger in self.ledgers.items():
            lines.append(
                f"{name} seen {ledger.seen}, kept {ledger.kept}"
                + "".join(f", {why} {n}" for why, n in sorted(ledger.dropped.items()))
                + "".join(f"; {what} {n}" for what, n in sorted(ledger.repaired.items()))
            )
        done = ", ".join(f"{name} {n}" for name, n in sorted(self.actions.items()))
        lines.append(f"actions: {done or 'none'}")
        if self.waiting:
            lines.append(
                f"{self.waiting} questions were not reviewed for personal data: keep the folder "
                "private, or `ifllm review` the export and import it with --public"
            )
        return "\n".join(lines)


@dataclass
class _Imported:
    """Rows of all chats, and what was counted."""

    messages: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    ledgers: dict[str, Ledger] = field(default_factory=dict)


def import_open_webui(
    files: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    public: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Write exports of Open WebUI as a prepared folder.

    Args:
        files: Exports of ratings or of chats, of one installation; see `open_webui_export`. A chat
            that occurs more than once is taken as it stood last.
        out: The folder to write; an older prepared folder there is replaced when the new one is
            complete.
        public: Only what hangs on questions that somebody has reviewed and published.
        progress: Show a progress bar on stderr.

    Returns:
        What was seen, kept and left out.

    Raises:
        SourceError: A file is no such export, or nothing is left of them.
        DataError: `reviews.csv` beside the first file is damaged.
        OutputError: The place is taken or cannot be written; nothing is left behind.
    """
    paths = [Path(file) for file in files]
    check_target(out)
    decisions = read_decisions(paths[0].parent)
    made = _read(read_exports(paths), progress)
    waiting = [q for q in _questions(made.messages) if _review_key(q) not in decisions]
    if public:
        _keep_published(made, decisions)
    if not made.messages:
        raise SourceError(
            f"{', '.join(map(str, paths))}: nothing is left to import ("
            + "; ".join(f"{name} {of.seen}, kept {of.kept}" for name, of in made.ledgers.items())
            + "). Export chats with their history, or review their questions before --public."
        )
    left = 0 if public else len(waiting)
    folder = write_chat_folder(
        out,
        made.messages,
        made.actions,
        program="Open WebUI",
        ledgers=made.ledgers,
        waiting=left,
    )
    return ImportReport(
        folder=folder,
        ledgers=made.ledgers,
        actions=dict(Counter(row["action"] for row in made.actions)),
        readers=len({row["user_id"] for row in made.messages}),
        waiting=left,
    )


def review_export(
    file: str | os.PathLike[str], *, ask: Callable[[str], str], say: Callable[[str], None]
) -> tuple[int, int]:
    """Let a person decide on the questions of an export; `reviews.csv` lies beside it.

    Args:
        file: The export.
        ask: See `review.decide`.
        say: See `review.decide`.

    Returns:
        How many were decided on, and how many wait.

    Raises:
        SourceError: It is no export.
        DataError: `reviews.csv` is damaged.
    """
    path = Path(file)
    decisions = read_decisions(path.parent)
    made = _read(read_exports([path]), progress=True)
    answers: dict[str, list[str]] = {}
    for row in made.messages:
        if row["role"] == "assistant" and row["parent_id"]:
            answers.setdefault(row["parent_id"], []).append(row["content"])
    waiting = [_shown(q, answers) for q in _questions(made.messages)]
    waiting = [q for q in waiting if (q.user_id, q.turn) not in decisions]
    decided = decide(waiting, ask=ask, say=say)
    write_decisions(path.parent, decided)
    return len(decided), len(waiting) - len(decided)


def _read(export: OpenWebUIExport, progress: bool) -> _Imported:
    made = _Imported()
    messages = Ledger("messages")
    chats = sorted(export.chats.values(), key=lambda chat: (chat.created_s, chat.chat_id))
    first_chat: dict[tuple[str, str], str] = {}  # message and text -> the chat that had it first
    of_chat: dict[str, ChatRows] = {}
    bar = progress_bar(len(chats), "Importing", progress, unit="chat", iterable=chats, delay=1)
    for chat in bar:
        user_id = reader_of(chat.user_id)
        copied = set()
        for message_id, message in chat.messages.items():
            text = str(message.get("content")) if isinstance(message, dict) else ""
            if first_chat.setdefault((message_id, text), chat.chat_id) != chat.chat_id:
                copied.add(message_id)
        rows = chat_rows(chat, user_id, messages, copied=copied)
        if rows.messages:
            export.chat_ledger.keep()
            made.messages += rows.messages
            made.actions += rows.actions
            of_chat[chat.chat_id] = rows
        else:
            export.chat_ledger.drop("chat without a message")
    _add_ratings(made, export, of_chat)
    made.messages = _masked(made.messages, messages)
    made.ledgers = {
        "chats": export.chat_ledger,
        "ratings": export.rating_ledger,
        "messages": messages,
    }
    for ledger in made.ledgers.values():
        ledger.check()
    return made


def _masked(messages: list[Row], ledger: Ledger) -> list[Row]:
    """Mask what looks like an e-mail address; Python's own expressions take hours on base64."""
    for column in ("content", "model"):  # who makes a model may name it after themselves
        texts = pl.Series([row[column] for row in messages], dtype=pl.String)
        masked = texts.str.replace_all(EMAIL_PATTERN, EMAIL_MASK)
        ledger.repair("email_masked", int((texts != masked).sum()))
        for row, text in zip(messages, masked, strict=True):
            row[column] = text
    return messages


def _add_ratings(made: _Imported, export: OpenWebUIExport, of_chat: dict[str, ChatRows]) -> None:
    """Add ratings as actions, and say in `messages` which model was behind the mask."""
    by_key = {row["message_id"]: row for row in made.messages}
    ledger = export.rating_ledger
    for rating in export.ratings.values():
        row = by_key.get(message_key(rating.chat_id, rating.message_id))
        if reason := _why_not(rating, row, export):
            ledger.drop(reason)
            continue
        assert row is not None
        ledger.keep()
        if rating.model is not None:
            row["model"] = rating.model
        made.actions += _rating_rows(row, rating.thumb, rating.stars, rating.at_s, OF_RATING)
    for chat_id, rows in of_chat.items():
        for message_id, (thumb, stars) in rows.thumbs.items():
            row = by_key[message_key(chat_id, message_id)]
            known = (chat_id, message_id) in export.ratings
            if not known and row["origin"] != "edited_by_person":
                ledger.keep()
                made.actions += _rating_rows(row, thumb, stars, 0, "open-webui chat")
    order = {row["message_id"]: place for place, row in enumerate(made.messages)}
    made.actions.sort(key=lambda action: order[action["message_id"]])


def _why_not(rating: ExportedRating, row: Row | None, export: OpenWebUIExport) -> str | None:
    if rating.chat_id not in export.chats:
        return "no snapshot, and its chat is not there"
    if row is None:
        return "the rated message is not in its chat"
    if row["role"] != "assistant":
        return "the rated message is no answer"
    if row["user_id"] != reader_of(rating.user_id):
        return "rated by another than the reader of the chat"
    if row["origin"] == "edited_by_person":
        return "the rated text was edited by a person"  # which of the two was rated?
    return None


def _rating_rows(
    row: Row, thumb: int, stars: float | None, at_s: float, source: str
) -> Iterable[Row]:
    said = [("like" if thumb > 0 else "dislike", float(thumb)), ("rate", stars)]
    for action, value in said:
        if value is not None:
            yield {
                **{name: row[name] for name in ("conversation_id", "message_id", "user_id")},
                **{"action": action, "value": value, "at": instant(at_s), "source": source},
            }


def _questions(messages: Iterable[Row]) -> Iterable[Row]:
    return (row for row in messages if row["role"] == "user")


def _review_key(row: Row) -> Key:
    """Return the key of a decision: another text of the same message is another question."""
    return row["user_id"], question_key(f"{row['message_id']} {row['content']}")


def _shown(row: Row, answers: dict[str, list[str]]) -> Question:
    responses = [{"source": text} for text in answers.get(row["message_id"], ())]
    turn = {"turn": _review_key(row)[1], "question": row["content"], "responses": responses}
    return question_of(row["user_id"], turn)


def _keep_published(made: _Imported, decisions: dict[Key, str]) -> None:
    """Leave out what hangs on a question that is not published: with less of a past it changes."""
    kept: set[str] = set()
    messages = []
    for row in made.messages:  # parents come first
        published = row["role"] != "user" or decisions.get(_review_key(row)) == PUBLISH
        if published and (row["parent_id"] is None or row["parent_id"] in kept):
            kept.add(row["message_id"])
            messages.append(row)
    ledger, left_out = made.ledgers["messages"], len(made.messages) - len(messages)
    ledger.kept -= left_out
    ledger.dropped[NOT_PUBLISHED] += left_out
    made.messages = messages
    made.actions = [action for action in made.actions if action["message_id"] in kept]
