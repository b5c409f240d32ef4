"""The tab Explore: buttons above a view that the page draws itself, lists of turns below it."""

from __future__ import annotations

import json

import gradio as gr

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.first_screen import Opening
from ifllm_space.explore.turn_view import turn_view
from ifllm_space.explore.usual import usual_values
from ifllm_space.pickers import Pickers, TurnPickers, first_turn

_VIEW = """
import(new URL('page/explore/explore.js', document.baseURI)).then((page) => {
  const ask = ASK;
  page.show(element, props.value, ask);
  watch('value', () => page.show(element, props.value, ask));
});
"""


def turns_of(data: DemoData, opens: Opening | None = None) -> Pickers:
    """Build the pickers and the view of some turns; call it inside `gr.Tab`.

    Args:
        data: The turns.
        opens: What the page opens with: the address then names the turn that is shown, and the
            first one plays by itself. None for turns that have no address.

    Returns:
        Its lists and its view.
    """
    first = first_turn(data.index) if opens is None else opens.query_id
    view = gr.HTML(
        value=view_of(data, first, opens),
        html_template="<div class='ifllm-explore'></div>",
        js_on_load=_VIEW.replace(
            "ASK", "null" if opens is None else "(turn) => trigger('submit', { turn })"
        ),
        apply_default_css=False,
        render=False,
    )
    pickers = TurnPickers(data.index, first, data.reader_names)
    walk = pickers.buttons()
    view.render()
    return pickers.build(
        view,
        lambda query_id: view_of(data, query_id, opens),
        walk,
        None if opens is None else lambda asked: view_of(data, first, opens, unknown=asked),
    )


def view_of(
    data: DemoData, query_id: int, opens: Opening | None = None, unknown: str | None = None
) -> str:
    """Return what the page draws of a turn, as JSON.

    Args:
        data: The turns.
        query_id: The turn.
        opens: What the page opens with.
        unknown: What an address asked for, if there is no such turn and this one is shown instead.
    """
    turn = data.turn(query_id)
    view = turn_view(turn, data.lines)
    view["reader_name"] = data.reader_names[turn["user_id"]]
    view["features"] = usual_values(data.features, data.index, query_id)
    if opens is not None:
        view["guess"] = opens.guess(query_id)
        view["rule"] = opens.rule if query_id == opens.query_id else None
    if unknown is not None:
        view["notice"] = f"There is no turn {unknown[:20]} here. This is the one we open with."
    return json.dumps(view, separators=(",", ":"))
