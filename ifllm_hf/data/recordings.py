"""What every kind of source gives to those who prepare it: tables, ticks, and the count of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ifllm_hf.data.ledger import Ledger, total
from ifllm_hf.data.raw.release_source import Origin
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.data.ticks.turn_agreement import Agreement


@dataclass(frozen=True)
class ConversationRows:
    """The ticks of one conversation and what identifies it.

    Attributes:
        conversation_id: `user_id/task_id`.
        user_id: The reader.
        task_id: The topic; None: of a chat page.
        kind: "pairwise" or "pointwise".
        fold: 0-4.
        ticks: One row per instant in file order, the columns of `schema.TICKS`; may be empty.
            `query_id` says to which turn a tick belongs; null ticks appear in `ticks` only.
        reading_end_source: By `query_id`, "rating_zone" or "fallback".
        turns: Its rows of `schema.TURNS`, where the source holds no table of all turns.
        tasks: The rows of `tasks` that are to be written with it; none where the source holds them.
        messages: Of a chat page, its rows of `messages`.
        actions: Of a chat page, its rows of `actions`.
    """

    conversation_id: str
    user_id: str
    task_id: int | None
    kind: str
    fold: int
    ticks: pa.Table
    reading_end_source: Mapping[int, str] = field(default_factory=dict)
    turns: Sequence[Mapping[str, Any]] = ()
    tasks: Sequence[Mapping[str, Any]] = ()
    messages: Sequence[Mapping[str, Any]] = ()
    actions: Sequence[Mapping[str, Any]] = ()


Table = pl.DataFrame | Callable[[Path], Iterable[pl.DataFrame]] | None
"""A table as `write_prepared` takes it: whole; or a function that yields its parts from the folder
with all turns written; or None: its rows come with the conversations."""


@dataclass(frozen=True)
class TablesToWrite:
    """The tables beside the ticks, as `write_prepared` takes them."""

    turns: pl.DataFrame | None
    preferences: Table
    tasks: Table
    workers: Table


@dataclass
class Recordings(ABC):
    """A source that was opened: its tables, and its conversations one at a time.

    Attributes:
        source: Where the bytes come from.
        turns: One row per question (`schema.TURNS`).
        preferences: TRL preference pairs from the explicit labels.
        tasks: One row per task a worker chose.
        workers: k-anonymous demographics.
        folds: Fold by user_id.
        table_ledgers: By table.
        file_ledgers: By `user_id/task_id/file`; filled while the conversations are read.
        agreement: Of all conversations read so far.
    """

    source: Origin
    turns: pl.DataFrame
    preferences: pl.DataFrame
    tasks: pl.DataFrame
    workers: pl.DataFrame
    folds: dict[str, int]
    table_ledgers: dict[str, Ledger]
    file_ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)

    @abstractmethod
    def conversations(self) -> Iterator[ConversationRows]:
        """Yield the tick table of every conversation that has behaviour, one at a time."""

    def ledgers(self) -> dict[str, Any]:
        """Return every ledger as JSON: `tables`, `behavior` by kind of file, `files`, `total`.

        `total` adds up what was read: tables and behaviour. `files` names each behaviour file.
        """
        kinds: dict[str, list[Ledger]] = {}
        for name, ledger in sorted(self.file_ledgers.items()):
            kinds.setdefault(name.rsplit("/", 1)[1], []).append(ledger)
        behavior = {kind: total(ledgers, kind) for kind, ledgers in kinds.items()}
        # Pairs are made from turns, which are counted.
        read = [ledger for name, ledger in self.table_ledgers.items() if name != "preferences"]
        everything = total([*read, *behavior.values()])
        return {
            "tables": {name: ledger.to_dict() for name, ledger in self.table_ledgers.items()},
            "behavior": {kind: ledger.to_dict() for kind, ledger in behavior.items()},
            "source_files": self.source.ledger.to_dict(),
            "files": {name: ledger.to_dict() for name, ledger in sorted(self.file_ledgers.items())},
            "total": everything.to_dict(),
        }

    def tables_to_write(self) -> TablesToWrite:
        """Return the tables beside the ticks."""
        return TablesToWrite(self.turns, self.preferences, self.tasks, self.workers)

    def expected_conversations(self) -> int:
        """Return about how many conversations will come: the length of a progress bar."""
        return self.turns["conversation_id"].n_unique()

    def facts(self) -> dict[str, int]:
        """Return the counts of turns, readers and conversations, once everything is read."""
        turns = self.turns
        return {
            "turns": turns.height,
            "workers": turns["user_id"].n_unique(),
            "conversations": turns["conversation_id"].n_unique(),
            "pairwise": int((turns["kind"] == "pairwise").sum()),
            "pointwise": int((turns["kind"] == "pointwise").sum()),
            "preference_a": int((turns["preference"] == "a").sum()),
            "preference_b": int((turns["preference"] == "b").sum()),
            "conversations_with_behavior": len({n.rsplit("/", 1)[0] for n in self.file_ledgers}),
            "workers_with_behavior": len({n.split("/", 1)[0] for n in self.file_ledgers}),
        }

    def check_at_the_end(self) -> None:
        """Raise an error if what was read may not be published any more; a release always may."""
        return

    def card(self, known: dict[str, Any]) -> str | None:
        """Return the text of a card of its own, once everything is read; None: the usual one."""
        return None

    def fold_of(self, user_id: str) -> int:
        """Return the fold of a reader."""
        return self.folds[user_id] if user_id in self.folds else fold_of_unknown(user_id)
