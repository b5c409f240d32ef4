"""`messages` and `actions` as a prepared folder, with the turns that follow from them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from ifllm_hf.data.imports.imported_card import imported_card
from ifllm_hf.data.imports.imported_turns import Row, turn_rows
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.prepared.folder import (
    PreparedFolder,
    write_config,
    write_folder,
    write_tables,
)
from ifllm_hf.data.schema import ACTIONS, CHAT_SCHEMAS, MESSAGES, SCHEMAS, TURNS
from ifllm_hf.data.tables.preferences import build_preferences


def write_chat_folder(
    out: str | os.PathLike[str],
    messages: Sequence[Row],
    actions: Sequence[Row],
    *,
    program: str,
    ledgers: dict[str, Ledger],
    waiting: int,
) -> PreparedFolder:
    """Write a prepared folder of chats, whole or not at all; memory holds all of it.

    Args:
        out: The folder to write or to replace.
        messages: Rows of `schema.MESSAGES`, a conversation after the other, parents first.
        actions: Rows of `schema.ACTIONS`.
        program: Whose chats they are, for the card.
        ledgers: Of what was read; that of `preferences` is added.
        waiting: Questions that nobody has reviewed.

    Raises:
        OutputError: The place is taken, or writing failed; nothing is left behind.
    """
    turns = _frame(turn_rows(messages, actions), TURNS)
    preferences, ledgers["preferences"] = build_preferences(turns)
    readers = {row["user_id"]: row["fold"] for row in messages}
    workers = [{"user_id": user, "fold": fold} for user, fold in sorted(readers.items())]
    chat = {"messages": (messages, MESSAGES), "actions": (actions, ACTIONS)}

    def tables(folder: Path) -> dict[str, int]:
        counts = write_tables(
            folder,
            turns=turns,
            conversations=(),
            preferences=preferences,
            tasks=_frame([], SCHEMAS["tasks"]),
            workers=_frame(workers, SCHEMAS["workers"]),
        )
        for config in CHAT_SCHEMAS:
            counts[config] = write_config(folder, config, _frame(*chat[config]))
        return counts

    card = imported_card(
        program,
        messages=len(messages),
        actions=Counter(row["action"] for row in actions),
        pairs=turns.height,
        readers=len(readers),
        waiting=waiting,
        ledgers=ledgers,
    )
    return write_folder(out, tables, card)


def _frame(rows: Sequence[Row], schema: pa.Schema) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_pylist(list(rows), schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame
