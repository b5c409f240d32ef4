"""Rows of `messages`, `actions` and `turns` of a session of a chat page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.pages.shown_texts import NOT_TOLD, ShownText
from ifllm_hf.data.sessions.pages.stored_texts import PageId, StoredMessages, StoredText
from ifllm_hf.data.sessions.pages.told import PageLoad, ToldTurn
from ifllm_hf.data.tables.chat_threads import (
    BY_MODELS,
    PERSON,
    ThreadQuestion,
    conversation_key,
    pair_row,
    thread_questions,
)
from ifllm_hf.data.tables.folds import fold_of_unknown

OF_SESSION = "session"
"""The `source` of an action that a recorder saw."""
OF_PART = "copy_part"
_AGAIN_MS = 1000.0  # one click makes several requests, and an adapter may see them all
_VALUES = {"like": 1.0, "dislike": -1.0}

Row = dict[str, Any]


@dataclass
class Acted:
    """What the reader did.

    Attributes:
        rows: Of `schema.ACTIONS`, by time.
        edited: Messages that the reader edited.
        stopped: Keys of texts that the reader stopped.
    """

    rows: list[Row] = field(default_factory=list)
    edited: set[PageId] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)


def acted(
    loads: Sequence[tuple[PageLoad, Mapping[int, ShownText]]], user_id: str, ledger: Ledger
) -> Acted:
    """Make the rows of `actions`.

    Args:
        loads: The page loads, each with its texts.
        user_id: The reader.
        ledger: Counts the actions.
    """
    made = Acted()
    last: dict[tuple[str, str], float] = {}
    for load, texts in loads:
        for _, t, number, action, first, end in (e for e in load.events if e[0] == "a"):
            shown, told = texts.get(number), load.texts.get(number)
            if shown is None or told is None:
                ledger.drop(NOT_TOLD)
                continue
            if end is not None and end >= told.units:
                ledger.drop("offset beyond the page's text")
                continue
            if action == "copy" and first is not None and (first, end) != (0, told.units - 1):
                action = OF_PART
            at_ms = load.origin_ms + t
            before = last.get((shown.text.key, action))
            last[shown.text.key, action] = at_ms
            if before is not None and 0 <= at_ms - before < _AGAIN_MS:
                ledger.drop("the same again within a second")
                continue
            ledger.keep()
            made.rows.append(_action(user_id, told.chat, shown.text.key, action, at_ms))
            if action == "edit":
                made.edited.add((told.chat, told.message_id))
            elif action == "stop":
                made.stopped.add(shown.text.key)
    made.rows.sort(key=lambda row: row["at"])
    return made


def message_rows(
    messages: StoredMessages,
    turns: Iterable[ToldTurn],
    done: Acted,
    ledger: Ledger,
) -> list[Row]:
    """Make the rows of `messages`, a conversation after the other, parents before children.

    Args:
        messages: As owners told them.
        turns: As the pages told them.
        done: What the reader did.
        ledger: Counts the texts.
    """
    again: dict[PageId, str] = {}  # answers that replaced the one before on the page
    for turn in turns:
        if not turn.side_by_side:
            for before, after in zip(turn.siblings, turn.siblings[1:], strict=False):
                again[turn.chat, after] = before
    children: dict[PageId | str, list[PageId]] = {}
    for (chat, message_id), texts in messages.texts.items():
        parent = texts[-1].record["parent"]
        if parent is not None and (chat, parent) not in messages.texts:
            ledger.drop("its parent is missing", len(texts))
            continue
        children.setdefault(chat if parent is None else (chat, parent), []).append(
            (chat, message_id)
        )
    rows: list[Row] = []
    left = {page_id for of_parent in children.values() for page_id in of_parent}
    for chat in dict.fromkeys(chat for chat, _ in messages.texts):
        waiting: list[PageId | str] = [chat]
        while waiting:
            ids = children.get(waiting.pop(), [])
            left.difference_update(ids)
            for role in ("user", "assistant"):
                of_role = [i for i in ids if messages.current(i).record["role"] == role]
                rows += _siblings(of_role, messages, again, done)
            waiting += reversed(ids)
    ledger.keep(len(rows))
    lost = sum(len(messages.texts[page_id]) for page_id in left)
    ledger.drop("not reached from a first message", lost)
    return rows


def turn_rows(
    rows: Sequence[Row],
    turns: Iterable[ToldTurn],
    messages: StoredMessages,
    actions: Sequence[Row],
    ledger: Ledger,
) -> dict[int, tuple[Row, str, str]]:
    """Make the rows of `turns`: questions with exactly two answers side by side.

    Args:
        rows: Of `messages`.
        turns: As the pages told them, by time.
        messages: As owners told them.
        actions: Rows of `actions`.
        ledger: Counts the questions that the pages told of.

    Returns:
        By `query_id`: the row, and the keys of a and b.
    """
    told: dict[str, list[ToldTurn]] = {}
    for turn in turns:
        told.setdefault(messages.key(turn.chat, turn.question), []).append(turn)
    threads: dict[str, ThreadQuestion] = {}
    for _, of_one in groupby(rows, key=lambda row: row["conversation_id"]):
        threads |= {thread.row["message_id"]: thread for thread in thread_questions(of_one)}
    thumbs = {row["message_id"]: row["value"] for row in actions if row["action"] in _VALUES}
    by_key = {row["message_id"]: row for row in rows}
    made: dict[int, tuple[Row, str, str]] = {}
    for key, shown in told.items():
        thread = threads.get(key)
        pair = _pair(shown, messages, by_key)
        reason = pair if isinstance(pair, str) else None
        if thread is None or thread.unfit is not None:
            reason = NOT_TOLD if thread is None else thread.unfit
        if reason is not None:
            ledger.drop(reason)
            continue
        assert thread is not None and not isinstance(pair, str)
        ledger.keep()
        a, b = pair
        of_a, of_b = (thumbs.get(row["message_id"]) for row in pair)
        liked = None
        if of_a is not None and of_b is not None and of_a != of_b:
            liked = "a" if of_a > of_b else "b"
        row = pair_row(thread, a, b, liked)
        made[thread.query_id] = (row, a["message_id"], b["message_id"])
    return made


def published(rows: Sequence[Row], keys: Collection[str]) -> list[Row]:
    """Return the messages that hang on published questions alone: less of a past would change them.

    Args:
        rows: Of `messages`, parents first.
        keys: Of the published questions.
    """
    kept: set[str] = set()
    for row in rows:
        fine = row["role"] != "user" or row["message_id"] in keys
        if fine and (row["parent_id"] is None or row["parent_id"] in kept):
            kept.add(row["message_id"])
    return [row for row in rows if row["message_id"] in kept]


def _pair(
    shown: Sequence[ToldTurn], messages: StoredMessages, by_key: Mapping[str, Row]
) -> tuple[Row, Row] | str:
    """Return the rows of the first two answers that a question had side by side; else why none."""
    pair = next((turn for turn in shown if turn.side_by_side and len(turn.siblings) == 2), None)
    if pair is None:
        most = max(len(turn.siblings) for turn in shown)
        if most == 1:
            return "one answer"
        side_by_side = any(turn.side_by_side for turn in shown)
        return "more than two answers side by side" if side_by_side else "one answer at a time"
    rows = []
    for message_id in pair.siblings:
        texts = messages.texts.get((pair.chat, message_id), ())
        found = [by_key[text.key] for text in texts if text.key in by_key]
        of_model = [row for row in found if row["origin"] in BY_MODELS and not row["stopped"]]
        if not found or found[-1]["parent_id"] != messages.key(pair.chat, pair.question):
            return NOT_TOLD
        if not of_model:
            return "an answer is no whole one of a model alone"
        rows.append(of_model[-1])
    return rows[0], rows[1]


def _siblings(
    ids: Sequence[PageId],
    messages: StoredMessages,
    again: Mapping[PageId, str],
    done: Acted,
) -> Iterator[Row]:
    rows = []
    for page_id in ids:
        former: StoredText | None = None
        for text in messages.texts[page_id]:
            rows.append(_message(text, page_id, former, messages, again, done))
            former = text
    for place, row in enumerate(rows):
        yield row | {"sibling_index": place, "n_siblings": len(rows)}


def _message(
    text: StoredText,
    page_id: PageId,
    former: StoredText | None,
    messages: StoredMessages,
    again: Mapping[PageId, str],
    done: Acted,
) -> Row:
    chat, record = page_id[0], text.record
    current = messages.current(page_id).record
    origin, replaces = record.get("origin"), record.get("replaces")
    before = former.key if former else None
    if before is None and (replaces or again.get(page_id)):
        before = messages.key(chat, replaces or again[page_id])
    if origin is None and record["role"] == "user":
        origin = "written"
    elif origin is None and not text.content.strip():
        origin = "failed"
    elif origin is None and former is not None and page_id in done.edited:
        origin = "edited_by_person"
    elif origin is None:
        origin = "regenerated" if before else "generated"
    by_person = origin == "edited_by_person"
    parent = current["parent"]
    return {
        "conversation_id": conversation_key(messages.user_id, chat),
        "message_id": text.key,
        "parent_id": None if parent is None else messages.key(chat, parent),
        "role": current["role"],
        "content": text.content,
        "model": PERSON if by_person else record.get("model"),
        "created_at": _instant(record.get("created_epoch_ms")),
        "origin": origin,
        "replaces": before if current["role"] == "assistant" else None,
        "stopped": not by_person and bool(record.get("stopped") or text.key in done.stopped),
        "user_id": messages.user_id,
        "fold": fold_of_unknown(messages.user_id),
    }


def _action(user_id: str, chat: str, key: str, action: str, at_ms: float) -> Row:
    return {
        "conversation_id": conversation_key(user_id, chat),
        "message_id": key,
        "user_id": user_id,
        "action": action,
        "value": _VALUES.get(action),
        "at": _instant(at_ms),
        "source": OF_SESSION,
    }


def _instant(epoch_ms: float | None) -> datetime | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)
