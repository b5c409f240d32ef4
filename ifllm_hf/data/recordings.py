"""What every kind of source gives to those who prepare it: tables, ticks, and the count of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

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
        task_id: The topic.
        kind: "pairwise" or "pointwise".
        fold: 0-4.
        ticks: One row per instant in file order, the columns of `schema.TICKS`; may be empty.
            `query_id` says to which turn a tick belongs; null ticks appear in `ticks` only.
        reading_end_source: By `query_id`, "rating_zone" or "fallback".
    """

    conversation_id: str
    user_id: str
    task_id: int
    kind: str
    fold: int
    ticks: pa.Table
    reading_end_source: Mapping[int, str] = field(default_factory=dict)


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
    file_ledgers: dict[str, Ledger] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)

    MADE_FROM_OTHERS: ClassVar[frozenset[str]]
    """Tables whose rows are made from rows that another ledger has counted."""

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
        read = [
            ledger for n, ledger in self.table_ledgers.items() if n not in self.MADE_FROM_OTHERS
        ]
        everything = total([*read, *behavior.values()])
        return {
            "tables": {name: ledger.to_dict() for name, ledger in self.table_ledgers.items()},
            "behavior": {kind: ledger.to_dict() for kind, ledger in behavior.items()},
            "source_files": self.source.ledger.to_dict(),
            "files": {name: ledger.to_dict() for name, ledger in sorted(self.file_ledgers.items())},
            "total": everything.to_dict(),
        }

    def card(self, known: dict[str, Any]) -> str | None:
        """Return the text of a card of its own, once everything is read; None: the usual one."""
        return None

    def fold_of(self, user_id: str) -> int:
        """Return the fold of a reader."""
        return self.folds[user_id] if user_id in self.folds else fold_of_unknown(user_id)
