"""The tab Explore: pickers of Gradio around a view that the page draws itself."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import polars as pl

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.turn_view import turn_view
from ifllm_space.explore.usual import usual_values

VIEW = """
import(new URL('page/explore.js', document.baseURI)).then((page) => {
  page.show(element, props.value);
  watch('value', () => page.show(element, props.value));
});
"""


def explore_tab(data: DemoData) -> None:
    """Build the tab; call it inside `gr.Tab`."""
    first = first_turn(data.index)
    start = _place(data.index, first)
    with gr.Row():
        reader = gr.Dropdown(
            readers(data.index),
            value=start["user_id"],
            label="Reader",
            interactive=True,
            min_width=240,
        )
        conversation = gr.Dropdown(
            conversations(data.index, start["user_id"]),
            value=start["conversation_id"],
            label="Conversation",
            interactive=True,
            min_width=240,
        )
        turn = gr.Dropdown(
            turns(data.index, start["conversation_id"]),
            value=first,
            label="Turn",
            interactive=True,
            min_width=240,
        )
    with gr.Row():
        back = gr.Button("Turn before", size="sm")
        on = gr.Button("Turn after", size="sm")
    view = gr.HTML(
        value=view_of(data, first),
        html_template="<div class='ifllm-explore'></div>",
        js_on_load=VIEW,
        elem_id="explore-view",
        apply_default_css=False,
    )

    def chose_reader(user_id: str) -> tuple[Any, Any, str]:
        return _moved(data, _first_of(data.index, "user_id", user_id))[1:]

    def chose_conversation(conversation_id: str) -> tuple[Any, str]:
        return _moved(data, _first_of(data.index, "conversation_id", conversation_id))[2:]

    def step(query_id: int, by: int) -> tuple[Any, Any, Any, str]:
        ids = data.index["query_id"]
        here = ids.index_of(query_id) or 0
        return _moved(data, ids[(here + by) % len(ids)])

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    everything = [reader, conversation, turn, view]
    reader.input(chose_reader, reader, everything[1:], **quiet)
    conversation.input(chose_conversation, conversation, everything[2:], **quiet)
    turn.input(lambda query_id: view_of(data, query_id), turn, view, **quiet)
    back.click(lambda query_id: step(query_id, -1), turn, everything, **quiet)
    on.click(lambda query_id: step(query_id, 1), turn, everything, **quiet)


def view_of(data: DemoData, query_id: int) -> str:
    """Return what the page draws of a turn, as JSON."""
    view = turn_view(data.turn(query_id))
    view["features"] = usual_values(data.features, data.index, query_id)
    return json.dumps(view, separators=(",", ":"))


def first_turn(index: pl.DataFrame) -> int:
    """Return a turn worth seeing first: two answers, a preference, the most ticks up to 1500."""
    ticks = pl.col("ticks")
    rank = pl.when(ticks <= 1500).then(ticks).otherwise(0)
    liked = (pl.col("kind") == "pairwise") & pl.col("preference").is_in(["a", "b"])
    return int(index.select(pl.col("query_id").sort_by(liked * 10_000 + rank).last()).item())


def readers(index: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the choices of readers: what is shown, and the id."""
    counted = index.group_by("user_id", maintain_order=True).len()
    return [(f"{user} ({_count(n, 'turn')})", user) for user, n in counted.iter_rows()]


def conversations(index: pl.DataFrame, user_id: str) -> list[tuple[str, str]]:
    """Return the choices of a reader's conversations."""
    counted = (
        index.filter(pl.col("user_id") == user_id)
        .group_by("conversation_id", maintain_order=True)
        .agg(pl.len(), pl.col("domain").first(), pl.col("kind").first())
    )
    return [
        (f"{domain or 'No topic'} ({_count(n, 'turn')}, {kind})", name)
        for name, n, domain, kind in counted.iter_rows()
    ]


def turns(index: pl.DataFrame, conversation_id: str) -> list[tuple[str, int]]:
    """Return the choices of a conversation's turns."""
    rows = index.filter(pl.col("conversation_id") == conversation_id)
    return [
        (f"{turn}: {_short(prompt)}", query_id)
        for query_id, turn, prompt in rows.select("query_id", "turn", "prompt").iter_rows()
    ]


def _moved(data: DemoData, query_id: int) -> tuple[Any, Any, Any, str]:
    """Return updates of all three pickers and the view."""
    place = _place(data.index, query_id)
    return (
        place["user_id"],
        gr.Dropdown(conversations(data.index, place["user_id"]), value=place["conversation_id"]),
        gr.Dropdown(turns(data.index, place["conversation_id"]), value=query_id),
        view_of(data, query_id),
    )


def _place(index: pl.DataFrame, query_id: int) -> dict[str, Any]:
    return index.row(by_predicate=pl.col("query_id") == query_id, named=True)


def _first_of(index: pl.DataFrame, column: str, value: str) -> int:
    return int(index.filter(pl.col(column) == value)["query_id"][0])


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _short(text: str | None, length: int = 60) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= length else text[: length - 1] + "…"
