"""The tabs of the collection: a page of its own inside Gradio, which asks `Flow` step by step."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.capture.taking_part.responder import Responder
from ifllm_space.demo_data import DemoData
from ifllm_space.responders import Replay, make_responder

_START = """
import(new URL('capture/take_part/MODULE', document.baseURI))
  .then((page) => page.start(element.querySelector('.ifllm-collect'), (step) => server.step(step)));
"""
_PLACE = "<div class='ifllm-collect'>This page needs JavaScript.</div>"


def responder_of(settings: Settings, data: DemoData) -> Responder:
    """Return who answers; while nobody can take part, no model is asked.

    Raises:
        ConfigError: The operator's choice is incomplete.
    """
    return make_responder(settings, data) if settings.collects else Replay(data)


def take_part(flow: Flow) -> None:
    """Build the tab in which people take part."""
    _page("collect.js", flow)


def about(settings: Settings, store: SessionStore) -> None:
    """Build the tab that says what is kept, and deletes it on demand."""
    _page("withdraw.js", Flow(settings, store, None))


def _page(module: str, flow: Flow) -> None:
    def step(request: Any) -> Any:
        return flow.step(request)

    gr.HTML(
        html_template=_PLACE,
        js_on_load=_START.replace("MODULE", module),
        server_functions=[step],
        apply_default_css=False,
    )
