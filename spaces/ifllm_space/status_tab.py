"""How the collection stands: a tab for the operator alone."""

from __future__ import annotations

import gradio as gr

from ifllm_hf.capture.operator import is_operator
from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.server.status import status_table
from ifllm_hf.capture.settings import Settings


def status_tab(blocks: gr.Blocks, settings: Settings, store: SessionStore) -> None:
    """Build the tab; nobody but the operator ever sees it, or gets anything out of it."""
    with gr.Tab("Status", id="status", visible=False) as tab:
        shown = gr.HTML("", apply_default_css=False)
        look = gr.Button("Look again")

    def render(request: gr.Request, profile: gr.OAuthProfile | None) -> str:
        if not is_operator(settings, request, profile):
            return "<p>Only the operator may see this.</p>"
        return status_table(store)

    def unveil(request: gr.Request, profile: gr.OAuthProfile | None) -> gr.Tab:
        return gr.Tab(visible=is_operator(settings, request, profile))

    gr.on([look.click, tab.select], render, None, shown, api_visibility="private")
    blocks.load(unveil, None, tab, api_visibility="private")
