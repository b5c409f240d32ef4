"""Reader, conversation, turn: three lists that follow each other, and three buttons."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import polars as pl

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""How every event of ours is bound: no public endpoint, no flicker."""

Moved = tuple[Any, Any, Any, str]
"""What leads to another turn sets: the three lists and the view."""


@dataclass(frozen=True)
class Pickers:
    """What `TurnPickers.build` made.

    Attributes:
        parts: The lists of readers, conversations and turns, and the view.
        moved: What they are set to when a turn is chosen.
    """

    parts: list[Any]
    moved: Callable[[int], Moved]

    @property
    def turn(self) -> gr.Dropdown:
        """The list whose value is the turn shown."""
        shown: gr.Dropdown = self.parts[2]
        return shown


@dataclass(frozen=True)
class TurnPickers:
    """The lists over some turns.

    Attributes:
        index: `DemoData.index` or a part of it.
        first: The turn shown first.
        names: What each reader is called.
    """

    index: pl.DataFrame
    first: int
    names: Mapping[str, str]

    def buttons(self) -> list[gr.Button]:
        """Make the buttons that lead to other turns, in a row; `build` binds them."""
        with gr.Row(elem_classes="ifllm-walk"):
            return [
                gr.Button(name, size="sm", min_width=90)
                for name in ("Previous turn", "Next turn", "Surprise me")
            ]

    def build(
        self,
        view: gr.HTML,
        value_of: Callable[[int], str],
        buttons: Sequence[gr.Button],
        unknown: Callable[[str], str] | None = None,
    ) -> Pickers:
        """Make the lists, and bind them and the buttons.

        Args:
            view: Gets `value_of(query_id)` whenever another turn is chosen.
            value_of: What the page draws of a turn.
            buttons: Of `buttons`.
            unknown: What it draws if an address asks for a turn that is not there; None where no
                address does.
        """
        start = self._place(self.first)
        look: dict[str, Any] = {"interactive": True, "min_width": 240}
        with gr.Accordion("Choose a reader, a conversation, a turn", open=False), gr.Row():
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
        everything = [reader, conversation, turn, view]
        reader.input(
            lambda name: self._moved(self._first("user_id", name), value_of)[1:],
            reader,
            everything[1:],
            **QUIET,
        )
        conversation.input(
            lambda name: self._moved(self._first("conversation_id", name), value_of)[2:],
            conversation,
            everything[2:],
            **QUIET,
        )
        turn.input(value_of, turn, view, **QUIET)
        for button, by in zip(buttons, (-1, 1, None), strict=True):

            def walk(query_id: int, by: int | None = by) -> Moved:
                return self._moved(self.beside(query_id, by), value_of)

            button.click(walk, turn, everything, **QUIET)
        if unknown is not None:

            def asked(event: gr.EventData) -> Moved:
                wanted = str((event._data or {}).get("turn", ""))
                if (
                    wanted.isdecimal()
                    and len(wanted) < 19
                    and int(wanted) in self.index["query_id"]
                ):
                    return self._moved(int(wanted), value_of)
                return (*self._moved(self.first, value_of)[:3], unknown(wanted))

            view.submit(asked, None, everything, **QUIET)
        return Pickers(everything, lambda query_id: self._moved(query_id, value_of))

    def beside(self, query_id: int, by: int | None) -> int:
        """Return the turn so many places on, round the end; None: another recorded pair."""
        ids = self.index["query_id"]
        if by is not None:
            return int(ids[((ids.index_of(query_id) or 0) + by) % len(ids)])
        worth = (pl.col("kind") == "pairwise") & (pl.col("ticks") > 0)
        others = self.index.filter(worth, pl.col("query_id") != query_id)["query_id"]
        return int(random.choice(others.to_list() or [query_id]))

    def _moved(self, query_id: int, value_of: Callable[[int], str]) -> Moved:
        place = self._place(query_id)
        user_id, conversation_id = place["user_id"], place["conversation_id"]
        return (
            user_id,
            gr.Dropdown(self.conversations(user_id), value=conversation_id),
            gr.Dropdown(self.turns(conversation_id), value=query_id),
            value_of(query_id),
        )

    def readers(self) -> list[tuple[str, str]]:
        """Return the choices of readers: what is shown, and the id."""
        counted = self.index.group_by("user_id", maintain_order=True).len()
        return [
            (f"{self.names[user]} ({_count(n, 'turn')})", user) for user, n in counted.iter_rows()
        ]

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
