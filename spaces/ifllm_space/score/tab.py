"""The tab Score: a reader's turn or your own, scored without and with behaviour."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import polars as pl

from ifllm_hf.errors import DataError, IFLLMError
from ifllm_space.demo_data import DemoData
from ifllm_space.explore.first_screen import Opening
from ifllm_space.pickers import QUIET, Pickers, TurnPickers, first_turn
from ifllm_space.score.recording import MAX_CHARS, own_turn
from ifllm_space.score.score_view import score_view
from ifllm_space.score.trained_reward import load_trained

VIEW = """
import(new URL('page/score/score.js', document.baseURI)).then((page) => {
  const show = () => page.show(element, props.value, (said) => trigger('submit', said));
  show();
  watch('value', show);
});
"""
READER, OWN = "What a reader did", "Two answers of my own"
EXAMPLE = (
    "Why is the sky blue?",
    "Air scatters short waves of light more than long ones. That is why blue light reaches us from "
    "all sides, while red light passes almost straight through.",
    "The sky is blue because it reflects the sea.",
)


def score_tab(data: DemoData, tab: gr.Tab, explored: Pickers, opens: Opening) -> None:
    """Build the tab; call it inside `gr.Tab`.

    Args:
        data: The turns.
        tab: The tab itself: when it is opened, it follows Explore.
        explored: What chooses the turn that Explore shows.
        opens: What both begin with.
    """
    try:
        reward = data.reward
    except DataError as error:
        gr.Markdown(f"There is nothing to score with: {error}")
        return
    model = load_trained(data.model)
    pairs = data.index.filter(pl.col("kind") == "pairwise")
    ids = pairs["query_id"]
    first = opens.query_id if opens.query_id in ids else first_turn(pairs)

    def viewed(turn: dict[str, Any], fold: int | None) -> dict[str, Any]:
        return score_view(turn, reward, fold, model)

    def of_reader(query_id: int) -> str:
        turn = data.turn(query_id)
        return _json(
            viewed(turn, turn["fold"]), of=query_id, who=data.reader_names[turn["user_id"]]
        )

    def of_own(prompt: str, left: str, right: str) -> str:
        with _said_on_screen():
            return _json(viewed(own_turn(prompt, left, right), None), of=None)

    def recorded(event: gr.EventData) -> str:
        said: dict[str, Any] = event._data or {}
        with _said_on_screen():
            if said.get("of") is None:
                texts, fold = [str(said.get(name, "")) for name in ("prompt", "a", "b")], None
            else:
                turn = data.turn(int(said["of"]))
                texts = [turn["prompt"] or "", turn["response_a"] or "", turn["response_b"] or ""]
                fold = turn["fold"]
            own = own_turn(texts[0], texts[1], texts[2], said.get("ticks"))
            return _json(viewed(own, fold), of=said.get("of"))

    view = gr.HTML(
        value=of_reader(first),
        html_template="<div class='ifllm-score'></div>",
        js_on_load=VIEW,
        apply_default_css=False,
        render=False,
    )
    what = gr.Radio([READER, OWN], value=READER, label="Score")
    with gr.Column() as picking:
        pickers = TurnPickers(pairs, first, data.reader_names)
        chosen = pickers.build(view, of_reader, pickers.buttons())
    with gr.Column(visible=False) as writing:
        boxes = [
            gr.Textbox(text, label=label, lines=lines, max_lines=12, max_length=MAX_CHARS)
            for text, label, lines in zip(
                EXAMPLE, ("Question", "Answer A", "Answer B"), (1, 4, 4), strict=True
            )
        ]
        score = gr.Button("Score these answers", variant="primary")
    view.render()

    what.change(
        lambda chosen: (gr.Column(visible=chosen == READER), gr.Column(visible=chosen == OWN)),
        what,
        [picking, writing],
        **QUIET,
    )
    followed = gr.State(first)  # the turn of Explore that this tab last looked at

    def follow(shown: int, before: int) -> tuple[Any, ...]:
        if shown == before or shown not in ids:
            return (*(gr.skip() for _ in chosen.parts), shown)
        return (*chosen.moved(shown), shown)

    tab.select(follow, [explored.turn, followed], [*chosen.parts, followed], **QUIET)
    score.click(of_own, boxes, view, **QUIET)
    view.submit(recorded, None, view, **QUIET)


def _json(view: dict[str, Any], *, of: int | None, who: str = "You") -> str:
    """Return what the page draws; `of` names the turn whose texts these are, `who` its reader."""
    return json.dumps({**view, "of": of, "reader_name": who}, separators=(",", ":"))


@contextmanager
def _said_on_screen() -> Iterator[None]:
    """Turn an error that a visitor can act on into a notice."""
    try:
        yield
    except IFLLMError as error:
        raise gr.Error(str(error), print_exception=False) from error
