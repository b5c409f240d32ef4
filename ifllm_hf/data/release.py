"""Read a release: tables at once, ticks conversation by conversation, every row accounted for."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import (
    QUERY_LOGS,
    RECORD_INFO,
    TABLE_COLUMNS,
    TASK_TABLE,
    read_csv_table,
)
from ifllm_hf.data.raw.grammar import parse_abs, parse_rel
from ifllm_hf.data.raw.lossy import parse_lossy
from ifllm_hf.data.raw.records import AbsRecords, RelRecords
from ifllm_hf.data.raw.release_source import ConversationFiles, Source, open_source
from ifllm_hf.data.raw.samples import ConversationSamples, Samples
from ifllm_hf.data.recordings import ConversationRows, Recordings
from ifllm_hf.data.tables.folds import add_fold, assign_folds
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.data.tables.tasks import build_tasks
from ifllm_hf.data.tables.turns import build_turns
from ifllm_hf.data.tables.workers import build_workers
from ifllm_hf.data.ticks.alignment import TurnText
from ifllm_hf.data.ticks.merge import ABS_FILES, PAIRWISE_FILES, POINTWISE_FILES
from ifllm_hf.data.ticks.repeats import rows_once
from ifllm_hf.data.ticks.tick_table import ConversationTicks, TurnOnPage, read_ticks

_WORKERS = 2
# Enough for the workers to go on while a shard of the output is being written.
_IN_FLIGHT = 48
_ALONE = 24


@dataclass
class Release(Recordings):
    """A release that was opened; see `Recordings`."""

    source: Source
    file_ledgers: dict[str, Ledger] = field(default_factory=dict)

    def conversations(self) -> Iterator[ConversationRows]:
        """Yield the tick table of every conversation that has behaviour files, in their order.

        Conversations are read by two processes; memory holds a handful, however many there are.
        """
        for files, read in self._read():
            for file, ledger in read.ledgers.items():
                self.file_ledgers[f"{files.conversation_id}/{file}"] = ledger
            self.agreement += read.agreement
            yield ConversationRows(
                conversation_id=files.conversation_id,
                user_id=files.user_id,
                task_id=files.task_id,
                kind=read.kind,
                fold=self.fold_of(files.user_id),
                ticks=read.table,
                reading_end_source=read.reading_end_source,
            )

    def _read(self) -> Iterator[tuple[ConversationFiles, ConversationTicks]]:
        turns = self.turns_by_conversation()

        def arguments(files: ConversationFiles) -> tuple[str, dict[str, bytes], list[TurnOnPage]]:
            return files.conversation_id, files.files, turns.get(files.conversation_id, [])

        with contextlib.closing(self.source.conversations()) as incoming:
            if len(turns) < _ALONE:  # starting processes takes longer than reading so little
                for files in incoming:
                    yield files, read_ticks(*arguments(files))
                return
            # loky, as its workers do not import the caller's main script again: load_dataset
            # comes through here from scripts without a main guard.
            from loky import ProcessPoolExecutor

            waiting: deque[tuple[ConversationFiles, Future[ConversationTicks]]] = deque()
            pool = ProcessPoolExecutor(_WORKERS, timeout=60)
            try:
                for files in incoming:
                    waiting.append((files, pool.submit(read_ticks, *arguments(files))))
                    if len(waiting) >= _IN_FLIGHT:
                        done, future = waiting.popleft()
                        yield done, future.result()
                while waiting:
                    done, future = waiting.popleft()
                    yield done, future.result()
            finally:
                pool.shutdown(wait=True, kill_workers=True)

    def turns_by_conversation(self) -> dict[str, list[TurnOnPage]]:
        """Return what reading the ticks of a conversation needs of its turns, in their order."""
        found: dict[str, list[TurnOnPage]] = {}
        columns = ["conversation_id", "query_id", "response_a", "response_b", "asked_at"]
        frame = self.turns.sort("conversation_id", "turn").select(columns)
        for conversation_id, query_id, response_a, response_b, asked_at in frame.iter_rows():
            answers = (response_a,) if response_b is None else (response_a, response_b)
            asked_ms = None if asked_at is None else asked_at.timestamp() * 1000
            turn = TurnOnPage(query_id, TurnText(answers, asked_ms))
            found.setdefault(conversation_id, []).append(turn)
        return found


def open_release(path: str | os.PathLike[str], *, hash_content: bool = True) -> Release:
    """Open a release and read its tables.

    Args:
        path: A folder or an archive, see `source.open_source`.
        hash_content: Take the content's digest while reading.

    Raises:
        SourceError: It cannot be opened.
        TableError: A table lacks a column or holds something else than it should.
    """
    source = open_source(Path(path), hash_content=hash_content)
    raw = source.tables()
    cells: dict[str, pl.DataFrame] = {}
    ledgers: dict[str, Ledger] = {}
    empty_lines: dict[str, int] = {}
    for name, columns in TABLE_COLUMNS.items():
        cells[name], of_cells = read_csv_table(raw[name], f"{source.name}/{name}", columns)
        empty_lines[name] = of_cells.dropped["empty_line"]
    tasks, ledgers["tasks"] = build_tasks(cells[TASK_TABLE])
    turns, ledgers["turns"] = build_turns(cells[QUERY_LOGS], tasks)
    folds = assign_folds(turns)
    turns = add_fold(turns.drop("fold", strict=False), folds)
    preferences, ledgers["preferences"] = build_preferences(turns)
    workers, ledgers["workers"] = build_workers(cells[RECORD_INFO], folds)
    for name, table in ((QUERY_LOGS, "turns"), (TASK_TABLE, "tasks"), (RECORD_INFO, "workers")):
        ledgers[table].drop("empty_line", empty_lines[name])
    return Release(
        source=source,
        turns=turns,
        preferences=preferences,
        tasks=add_fold(tasks, folds),
        workers=workers,
        folds=folds,
        table_ledgers=ledgers,
    )


def read_samples(
    path: str | os.PathLike[str], *, lossy: bool = False
) -> Iterator[ConversationSamples]:
    """Yield the samples of every conversation file by file, as the paper's features need them.

    Args:
        path: A folder or an archive.
        lossy: Read by the paper's own rule, which loses rows (for parity tests only).
    """
    with open_source(Path(path), hash_content=False) as source:
        for conversation in source.conversations():
            names = (
                PAIRWISE_FILES
                if PAIRWISE_FILES["gaze", "a"] in conversation.files
                else POINTWISE_FILES
            )
            yield ConversationSamples(
                conversation.conversation_id,
                **(_lossy(conversation, names) if lossy else _whole(conversation, names)),
            )


def _lossy(of: ConversationFiles, names: Mapping[tuple[str, str], str]) -> dict[str, Samples]:
    return {f"{c}_{side}": parse_lossy(of.files[file]) for (c, side), file in names.items()}


def _whole(of: ConversationFiles, names: Mapping[tuple[str, str], str]) -> dict[str, Samples]:
    """Read every row once, as `merge_files` does."""
    name = of.conversation_id
    read: dict[str, AbsRecords | RelRecords] = {
        f"{c}_{side}": parse_rel(of.files[file], f"{name}/{file}")[0]
        for (c, side), file in names.items()
    }
    wanted = list(read)
    if once := rows_once(read):  # what looks like a copy here may differ in the other files
        read |= {f: parse_abs(of.files[f], f"{name}/{f}")[0] for f in ABS_FILES.values()}
        once = rows_once(read)
    found = {}
    for key in wanted:
        records = read[key]
        assert isinstance(records, RelRecords)
        found[key] = (records.take(once[key]) if key in once else records).to_samples()
    return found
