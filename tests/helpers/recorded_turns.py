"""Conversations whose ticks a test chooses, and folders of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import TICKS
from ifllm_hf.hub.cards import table_numbers as card_numbers
from tests.helpers import prepared_folder


def conversation(
    name: str, t_ms: list[float], **columns: Any
) -> tuple[str, tuple[str, int, pa.Table]]:
    n = len(t_ms)
    values: dict[str, Any] = {c: [None] * n for c in TICKS.names}
    values |= {
        "conversation_id": [name] * n,
        "page_load": [0] * n,
        "file_row": list(range(n)),
        "t_ms": t_ms,
        "epoch_ms": [1_760_000_000_000 + int(t) for t in t_ms],
        "mouse_surface": ["page"] * n,
        **columns,
    }
    return name, pa.table(values, schema=TICKS)


def write_ticks(out: Path, *conversations: Any) -> list[Path]:
    def rows() -> Iterator[ConversationRows]:
        for name, table in conversations:
            user, task = name.split("/")
            yield ConversationRows(name, user, int(task), "pairwise", 0, table)

    prepared_folder.write(out, conversations=rows())
    return card_numbers.shards(out, "ticks")


def reading_turn(query_id: int, answers: tuple[str, str], on: list[tuple[str, str]]) -> Any:
    """Return a turn and its conversation; `on` is (gaze, mouse) per half second."""
    name = f"u{query_id}/1{query_id}1"
    turn = {
        **prepared_folder.turn(query_id, name, 1),
        "response_a": answers[0],
        "response_b": answers[1],
        "preference": "a",
    }
    n = len(on)
    chars = {"none": None, "a": 1, "b": 0}
    ticks = conversation(
        name,
        [500.0 * i for i in range(n)],
        query_id=[query_id] * n,
        phase=["reading"] * (n - 1) + ["rating"],
        gaze_on=[g for g, _ in on],
        mouse_on=[m for _, m in on],
        gaze_char=[chars[g] for g, _ in on],
        mouse_char=[chars[m] for _, m in on],
    )[1]
    return turn, ConversationRows(
        name, f"u{query_id}", turn["task_id"], "pairwise", 0, ticks, {query_id: "rating_zone"}
    )


def write_turns(out: Path, *made: Any) -> Path:
    from ifllm_hf.data.schema import TURNS

    frame = pl.from_arrow(pa.Table.from_pylist([turn for turn, _ in made], schema=TURNS))
    path: Path = prepared_folder.write(out, turns=frame, conversations=(c for _, c in made)).path
    return path
