"""Ranks whose process is killed, for engines that run them in processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ifllm_hf.data.ranks import rank as rank_module
from ifllm_hf.data.ranks.rank import run_rank
from ifllm_hf.errors import SourceError

KILLED = {1: "reading", 3: "its record"}
"""By rank, what it is doing when SIGKILL comes."""


def killed_rank(work: Path, rank: int) -> None:
    """Run a rank; those of `KILLED` never end."""
    if KILLED.get(rank) == "reading":
        rank_module._counted = _killed_at_the_second  # type: ignore[assignment]
    elif rank in KILLED:
        rank_module.write_json = _killed  # type: ignore[assignment]
    run_rank(work, rank)


def failing_rank(work: Path, rank: int) -> None:
    """Run a rank; the first one fails at once."""
    if rank == 0:
        raise SourceError("a session cannot be read")
    run_rank(work, rank)


def _killed(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_at_the_second(conversations: Iterable[Any], _: Any) -> Iterator[Any]:
    for number, conversation in enumerate(conversations):
        if number:
            _killed()
        yield conversation
