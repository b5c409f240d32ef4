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


def take_part(settings: Settings, store: SessionStore, data: DemoData) -> None:
    """Build the tab in which people take part.

    Raises:
        ConfigError: The operator's choice of who answers is incomplete.
    """
    responder = make_responder(settings, data) if settings.collects else Replay(data)
    _page("collect.js", settings, store, responder)


def about(settings: Settings, store: SessionStore) -> None:
    """Build the tab that says what is kept, and deletes it on demand."""
    _page("withdraw.js", settings, store, None)


def _page(
    module: str, settings: Settings, store: SessionStore, responder: Responder | None
) -> None:
    flow = Flow(settings, store, responder)

    def step(request: Any) -> Any:
        return flow.step(request)

    gr.HTML(
        html_template=_PLACE,
        js_on_load=_START.replace("MODULE", module),
        server_functions=[step],
        apply_default_css=False,
    )
