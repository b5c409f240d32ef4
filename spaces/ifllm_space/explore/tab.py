"""The tab Explore: pickers around a view that the page draws itself."""

from __future__ import annotations

import json

import gradio as gr

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.turn_view import turn_view
from ifllm_space.explore.usual import usual_values
from ifllm_space.pickers import TurnPickers, first_turn

VIEW = """
import(new URL('page/explore/explore.js', document.baseURI)).then((page) => {
  page.show(element, props.value);
  watch('value', () => page.show(element, props.value));
});
"""


def turns_of(data: DemoData) -> None:
    """Build the pickers and the view of some turns; call it inside `gr.Tab`."""
    first = first_turn(data.index)
    view = gr.HTML(
        value=view_of(data, first),
        html_template="<div class='ifllm-explore'></div>",
        js_on_load=VIEW,
        apply_default_css=False,
        render=False,
    )
    TurnPickers(data.index, first).build(view, lambda query_id: view_of(data, query_id))
    view.render()


def view_of(data: DemoData, query_id: int) -> str:
    """Return what the page draws of a turn, as JSON."""
    view = turn_view(data.turn(query_id), data.lines)
    view["features"] = usual_values(data.features, data.index, query_id)
    return json.dumps(view, separators=(",", ":"))
