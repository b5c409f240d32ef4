"""What tests of ranks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import PrepareReport
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.run import prepare_in_ranks


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows(folder: Path, config: str) -> pl.DataFrame:
    return pl.read_parquet(config_files(folder, config), hive_partitioning=False)


class Engine:
    """Runs ranks in this process, notes which, and does something after them."""

    def __init__(self, after: Callable[[Path], None] | None = None) -> None:
        self.ran: list[list[int]] = []
        self._after = after

    def __call__(self, work: Path, ranks: Sequence[int], done: Callable[[int], None]) -> None:
        engine_for(1)(work, ranks, done)
        self.ran.append(list(ranks))
        if self._after is not None:
            self._after(work)


def in_ranks(sessions: Path | str, out: Path | str, tasks: int = 5, **given: Any) -> PrepareReport:
    """Prepare in ranks, in this process unless an engine is given."""
    settings = {"engine": engine_for(1), "progress": False, **given}
    return prepare_in_ranks(sessions, out, tasks=tasks, **settings)
