"""Questions of a prepared folder with their answers, and what readers did with each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import ACTIONS, MESSAGES
from ifllm_hf.data.tables.chat_threads import ThreadQuestion, thread_questions
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet
from ifllm_hf.progress import progress_bar

MESSAGES_CONFIG, ACTIONS_CONFIG = "messages", "actions"

_BY_MODELS = ("generated", "regenerated", "continued")
BY_PERSON = "edited_by_person"
_UNFIT = {
    "with_tools": "rests on tools",
    "failed": "failed",
    "copied": "copied from another chat",
}


@dataclass(frozen=True, eq=False)
class ActedAnswer:
    """An answer and what its reader did with it.

    Attributes:
        row: Its row of `messages`.
        done: By action: its value and when, the last time.
        unfit: Why it is no fair answer of a model; None: it is one.
    """

    row: Mapping[str, Any]
    done: Mapping[str, tuple[float | None, datetime | None]]
    unfit: str | None

    @property
    def thumb(self) -> float:
        """1 for a like, -1 for a dislike, 0 without either."""
        for action in ("like", "dislike"):
            if action in self.done:
                return 1.0 if action == "like" else -1.0
        return 0.0

    @property
    def stars(self) -> float | None:
        """The rating of 1 to 10, if there is one."""
        return self.done["rate"][0] if "rate" in self.done else None

    @property
    def message_id(self) -> str:
        """Its key."""
        return str(self.row["message_id"])

    @property
    def text(self) -> str:
        """What it says."""
        return str(self.row["content"])


@dataclass(frozen=True, eq=False)
class ActedQuestion:
    """A question with its answers.

    Attributes:
        thread: The question, and what was said before it.
        answers: In the order of the page.
    """

    thread: ThreadQuestion
    answers: tuple[ActedAnswer, ...]

    @property
    def fit(self) -> list[ActedAnswer]:
        """The answers of models that are whole."""
        return [answer for answer in self.answers if answer.unfit is None]

    def by_id(self) -> dict[str, ActedAnswer]:
        """Return the answers by key."""
        return {answer.message_id: answer for answer in self.answers}


def acted_questions(
    folder: Path | str, answers: Ledger | None = None, *, progress: bool = False
) -> Iterator[ActedQuestion]:
    """Yield the questions of a prepared folder; memory holds one shard of messages and all actions.

    Args:
        folder: With the configs `messages` and `actions`.
        answers: Counts the answers, dropped by why they are no fair ones.
        progress: Show a progress bar on stderr.

    Raises:
        TableError: It is not a prepared folder.
        DataError: It has no such configs, or an action is of a message that is not there.
    """
    folder = Path(folder)
    for config in (MESSAGES_CONFIG, ACTIONS_CONFIG):
        if not (folder / config).is_dir():
            raise DataError(
                f"{folder}: has no config `{config}`; expected a folder with `messages` and "
                "`actions`, as `ifllm import` writes it. Name one with --from"
            )
    done = _actions(folder)
    files = config_files(folder, MESSAGES_CONFIG)
    rows = (row for f in files for row in read_parquet([f], MESSAGES.names).iter_rows(named=True))
    bar = progress_bar(None, "Reading chats", progress, unit="message", iterable=rows, delay=2)
    for _, of_one in groupby(bar, key=lambda row: row["conversation_id"]):
        for thread in thread_questions(of_one):
            found = tuple(
                ActedAnswer(row, done.get(row["message_id"], {}), unfit_answer(row))
                for row in thread.answers
            )
            if answers is not None:
                for answer in found:
                    answers.keep() if answer.unfit is None else answers.drop(answer.unfit)
            yield ActedQuestion(thread, found)


def unfit_answer(row: Mapping[str, Any]) -> str | None:
    """Return why an answer is no whole one of a model alone; None where it is."""
    if row["origin"] == BY_PERSON:
        return "written by a person"
    if row["origin"] not in _BY_MODELS:
        return _UNFIT.get(row["origin"], "of an unknown origin")
    if row["stopped"]:
        return "stopped"
    return None if row["content"].strip() else "empty"


def _actions(folder: Path) -> dict[str, dict[str, tuple[float | None, datetime | None]]]:
    """Return what was done with each message, the last of each kind."""
    table = read_parquet(config_files(folder, ACTIONS_CONFIG), ACTIONS.names)
    done: dict[str, dict[str, tuple[float | None, datetime | None]]] = {}
    of_message = table.select("message_id", "action", "value", "at")
    for message_id, action, value, at in of_message.sort("at", nulls_last=False).iter_rows():
        kinds = done.setdefault(message_id, {})
        if action in ("like", "dislike"):  # the later thumb counts
            kinds.pop("like", None)
            kinds.pop("dislike", None)
        kinds[action] = value, at
    return done


def messages_of(folder: Path | str) -> pl.DataFrame:
    """Return the texts of a prepared folder: `message_id`, `parent_id`, `content`."""
    columns = ["message_id", "parent_id", "content"]
    return read_parquet(config_files(folder, MESSAGES_CONFIG), columns)
