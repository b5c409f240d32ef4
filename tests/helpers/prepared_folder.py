"""A small made-up prepared folder: `write` makes it. `resharded` deals any one into small shards.

Four conversations: pairwise with a reload and ticks before the first question, pointwise,
pairwise without behaviour, and behaviour without a turn.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ifllm_hf.data.prepared.folder import PreparedFolder, config_files, write_prepared
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import SCHEMAS, TICKS, TURNS
from ifllm_hf.files import read_parquet

# conversation -> (kind, fold, query_id of every tick in file order)
TICKS_OF: dict[str, tuple[str, int, list[int | None]]] = {
    "ann/101": ("pairwise", 0, [None, 11, 11, 11, 12, 12, 11, 11, 12]),
    "bob/102": ("pointwise", 1, [None, 21, 22, 22]),
    "dan/105": ("pairwise", 3, [None, None, None]),
}
TURNS_OF = {"ann/101": [11, 12, 13], "bob/102": [21, 22], "cat/103": [31]}


def turn(query_id: int, conversation: str, number: int) -> dict[str, Any]:
    user, task = conversation.split("/")
    kind = "pointwise" if int(task) % 2 == 0 else "pairwise"
    past = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Grüße 🙂"}]
    return {
        **dict.fromkeys(TURNS.names),
        "query_id": query_id,
        "conversation_id": conversation,
        "user_id": user,
        "task_id": int(task),
        "turn": number,
        "kind": kind,
        "prompt": f"question {query_id}",
        "response_a": 'left, "quoted"\nsecond line',
        "response_b": "right" if kind == "pairwise" else None,
        "model_a": "m1",
        "bullet_suffix": False,
        "history_a": past * (number - 1),
        "history_b": past * (number - 1) if kind == "pairwise" else None,
        "preference": {11: "a", 12: "b"}.get(query_id),
        "asked_at": datetime.datetime(2025, 10, 1, 12, number, tzinfo=datetime.UTC),
        "calibration_score": 77.5,
        "has_error_answer": False,
        "excluded_by_paper": False,
        "fold": 0,
    }


def turns() -> pl.DataFrame:
    rows = [turn(q, c, i + 1) for c, ids in TURNS_OF.items() for i, q in enumerate(ids)]
    return frame(pa.Table.from_pylist(rows, schema=TURNS))


def ticks(conversation: str, query_ids: list[int | None]) -> pa.Table:
    n = len(query_ids)
    columns: dict[str, Any] = {name: [None] * n for name in TICKS.names}
    columns |= {
        "conversation_id": [conversation] * n,
        "query_id": query_ids,
        "page_load": [0] * n,
        "file_row": range(n),
        "t_ms": [50.5 * i for i in range(n)],
        "epoch_ms": [1_760_000_000_000 + 50 * i for i in range(n)],
        "gaze_x_px": [float(i) for i in range(n)],
        "gaze_on": ["none", "a", "b"][:n] + ["a"] * (n - 3),
        "mouse_on": ["none"] * n,
        "gaze_char": [None if i % 2 else i for i in range(n)],
        "gaze_window": ['with "quotes", and commas'] * n,
        "camera_ok": [[True, False, None][i % 3] for i in range(n)],
        "gaze_surface": ["page"] * n,
        "mouse_surface": ["none"] * n,
        "surface": ["rating"] * n,
        "phase": [None if q is None else "reading" for q in query_ids],
    }
    return pa.table(columns, schema=TICKS)


def conversations() -> Iterator[ConversationRows]:
    for name, (kind, fold, query_ids) in TICKS_OF.items():
        user, task = name.split("/")
        sources = {11: "rating_zone", 12: "fallback", 21: "rating_zone", 22: "rating_zone"}
        yield ConversationRows(name, user, int(task), kind, fold, ticks(name, query_ids), sources)


def frame(table: pa.Table) -> pl.DataFrame:
    result = pl.from_arrow(table)
    assert isinstance(result, pl.DataFrame)
    return result


def tables() -> dict[str, Any]:
    """Return the arguments of `write_prepared` beside `out`."""
    preference = {
        **dict.fromkeys(SCHEMAS["preferences"].names),
        "prompt": "question 11",
        "chosen": "left",
        "rejected": "right",
        "confidence": 1.0,
        "source": "explicit",
        "query_id": 11,
        "history_chosen": [],
        "history_rejected": [],
    }
    rows = {
        "preferences": [preference],
        "tasks": [{"conversation_id": "ann/101", "user_id": "ann", "task_id": 101}],
        "workers": [{"user_id": "ann", "consent": True, "fold": 0}],
    }
    small = {
        name: frame(pa.Table.from_pylist(of_table, schema=SCHEMAS[name]))
        for name, of_table in rows.items()
    }
    card = "---\nlicense: apache-2.0\n---\n\n# A made-up dataset\n"
    return {"turns": turns(), "conversations": conversations(), "card": card, **small}


def write(out: Path, **changes: Any) -> PreparedFolder:
    return write_prepared(out, **{**tables(), **changes})


def resharded(folder: Path, out: Path, rows: int = 11) -> Path:
    """Copy a prepared folder, its turns dealt into shards of a few rows; one shard is empty."""
    shutil.copytree(folder, out)
    for config in ("pairwise", "pointwise"):
        files = config_files(out, config)
        turns = read_parquet(files).sample(fraction=1.0, shuffle=True, seed=3)
        for file in files:
            Path(file).unlink()
        parts = [turns[start : start + rows] for start in range(0, turns.height, rows)]
        parts.insert(1, turns.clear())
        for i, part in enumerate(parts):
            name = f"train-{i:05d}-of-{len(parts):05d}.parquet"
            part.write_parquet(out / config / name)
    return out


def equal(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Tell whether two tables are equal, cell by cell, missing and NaN included."""
    return one.schema == other.schema and one.equals(other, null_equal=True)
