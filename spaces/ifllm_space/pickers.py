"""Reader, conversation, turn: three lists that follow each other, and two buttons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import polars as pl

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""How every event of ours is bound: no public endpoint, no flicker."""


@dataclass(frozen=True)
class TurnPickers:
    """The lists over some turns.

    Attributes:
        index: `DemoData.index` or a part of it.
        first: The turn shown first.
    """

    index: pl.DataFrame
    first: int

    def build(self, view: gr.HTML, value_of: Callable[[int], str]) -> None:
        """Make the components; `view` gets `value_of(query_id)` whenever another turn is chosen."""
        start = self._place(self.first)
        look: dict[str, Any] = {"interactive": True, "min_width": 240}
        with gr.Row():
            reader = gr.Dropdown(self.readers(), value=start["user_id"], label="Reader", **look)
            conversation = gr.Dropdown(
                self.conversations(start["user_id"]),
                value=start["conversation_id"],
                label="Conversation",
                **look,
            )
            turn = gr.Dropdown(
                self.turns(start["conversation_id"]), value=self.first, label="Turn", **look
            )
        with gr.Row():
            back = gr.Button("Turn before", size="sm")
            on = gr.Button("Turn after", size="sm")

        def moved(query_id: int) -> tuple[Any, Any, Any, str]:
            place = self._place(query_id)
            user_id, conversation_id = place["user_id"], place["conversation_id"]
            return (
                user_id,
                gr.Dropdown(self.conversations(user_id), value=conversation_id),
                gr.Dropdown(self.turns(conversation_id), value=query_id),
                value_of(query_id),
            )

        def step(query_id: int, by: int) -> tuple[Any, Any, Any, str]:
            ids = self.index["query_id"]
            return moved(ids[((ids.index_of(query_id) or 0) + by) % len(ids)])

        everything = [reader, conversation, turn, view]
        reader.input(
            lambda name: moved(self._first("user_id", name))[1:], reader, everything[1:], **QUIET
        )
        conversation.input(
            lambda name: moved(self._first("conversation_id", name))[2:],
            conversation,
            everything[2:],
            **QUIET,
        )
        turn.input(value_of, turn, view, **QUIET)
        back.click(lambda query_id: step(query_id, -1), turn, everything, **QUIET)
        on.click(lambda query_id: step(query_id, 1), turn, everything, **QUIET)

    def readers(self) -> list[tuple[str, str]]:
        """Return the choices of readers: what is shown, and the id."""
        counted = self.index.group_by("user_id", maintain_order=True).len()
        return [(f"{user} ({_count(n, 'turn')})", user) for user, n in counted.iter_rows()]

    def conversations(self, user_id: str) -> list[tuple[str, str]]:
        """Return the choices of a reader's conversations."""
        counted = (
            self.index.filter(pl.col("user_id") == user_id)
            .group_by("conversation_id", maintain_order=True)
            .agg(pl.len(), pl.col("domain").first(), pl.col("kind").first())
        )
        return [
            (f"{domain or 'No topic'} ({_count(n, 'turn')}, {kind})", name)
            for name, n, domain, kind in counted.iter_rows()
        ]

    def turns(self, conversation_id: str) -> list[tuple[str, int]]:
        """Return the choices of a conversation's turns."""
        rows = self.index.filter(pl.col("conversation_id") == conversation_id)
        return [
            (f"{turn}: {_short(prompt)}", query_id)
            for query_id, turn, prompt in rows.select("query_id", "turn", "prompt").iter_rows()
        ]

    def _place(self, query_id: int) -> dict[str, Any]:
        return self.index.row(by_predicate=pl.col("query_id") == query_id, named=True)

    def _first(self, column: str, value: str) -> int:
        return int(self.index.filter(pl.col(column) == value)["query_id"][0])


def first_turn(index: pl.DataFrame) -> int:
    """Return a turn worth seeing first: two answers, a preference, the most ticks up to 1500."""
    ticks = pl.col("ticks")
    rank = pl.when(ticks <= 1500).then(ticks).otherwise(0)
    liked = (pl.col("kind") == "pairwise") & pl.col("preference").is_in(["a", "b"])
    return int(index.select(pl.col("query_id").sort_by(liked * 10_000 + rank).last()).item())


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _short(text: str | None, length: int = 60) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= length else text[: length - 1] + "…"
