"""Collected sessions in Explore: for the operator alone, built anew for every look."""

from __future__ import annotations

import gradio as gr

from ifllm_hf.capture.operator import may_see_sessions
from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import IFLLMError
from ifllm_space.demo_data import open_sessions
from ifllm_space.explore.tab import turns_of


def collected_tab(blocks: gr.Blocks, settings: Settings) -> None:
    """Build the tab; nobody but the operator ever sees it, or gets anything out of it."""
    with gr.Tab("Collected sessions", id="collected", visible=False) as tab:
        gr.Markdown("Sessions collected here. Only you see them: nothing of this tab is public.")
        look = gr.Button("Read the sessions")

        @gr.render(triggers=[look.click])
        def sessions(request: gr.Request, profile: gr.OAuthProfile | None) -> None:
            if not may_see_sessions(settings, request, profile):
                gr.Markdown("Only the operator may see collected sessions.")
                return
            try:
                data = open_sessions(settings.sessions)
            except IFLLMError as error:
                gr.Markdown(f"There is nothing to show: {error}")
                return
            turns_of(data)

    def unveil(request: gr.Request, profile: gr.OAuthProfile | None) -> gr.Tab:
        return gr.Tab(visible=may_see_sessions(settings, request, profile))

    blocks.load(unveil, None, tab, api_visibility="private")
