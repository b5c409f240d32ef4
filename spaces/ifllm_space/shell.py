"""The web application: our own routes first, then Gradio with its tabs.

Gradio runs without its Node front (SSR), which would swallow our routes. There is one worker, no
access log, and nothing of the data can be reached through Gradio's routes for files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from ifllm_hf.capture import attach, page_files
from ifllm_hf.capture.mounting import Capture
from ifllm_hf.capture.operator import can_sign_in
from ifllm_hf.capture.page_files import FreshFiles
from ifllm_hf.capture.path_prefix import PathPrefix
from ifllm_hf.capture.serving import run_server
from ifllm_hf.capture.settings import Settings
from ifllm_hf.hub.collecting import HubPush
from ifllm_space.about_links import about_data
from ifllm_space.demo_data import DemoData
from ifllm_space.explore.collected_tab import collected_tab
from ifllm_space.explore.first_screen import opening
from ifllm_space.explore.tab import turns_of
from ifllm_space.score.tab import score_tab
from ifllm_space.status_tab import status_tab
from ifllm_space.take_part_tab import about, responder_of, take_part

STATIC = Path(__file__).parent / "static"
STATIC_URL = "page"
"""Where `static/` is served; `/static` and `/assets` belong to Gradio."""

_NO_DOCS: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}

TITLE = "IFLLM: what readers look at"
IN_A_SENTENCE = (
    "Watch one person read two answers: where eyes and mouse go hints at the one they will prefer."
)


def build_app(data: DemoData, settings: Settings | None = None) -> FastAPI:
    """Return the application with all its tabs.

    Args:
        data: What Explore and Score show.
        settings: Of the operator; from the environment by default.

    Raises:
        ConfigError: The settings contradict each other, the operator's choice of who answers is
            incomplete, or the sessions' folder is in use.
    """
    settings = settings or Settings.from_environment()
    app = FastAPI(title=TITLE, **_NO_DOCS)
    app.mount(f"/{STATIC_URL}", FreshFiles(directory=STATIC), name="page")
    responder = responder_of(settings, data)
    # Before Gradio, which takes every path.
    capture = attach(app, settings=settings, responder=responder, push=HubPush)
    blocks = _blocks(data, capture)
    if settings.root_path:
        app.add_middleware(PathPrefix, root_path=settings.root_path)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        root_path=settings.root_path or None,
        ssr_mode=False,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        app_kwargs=_NO_DOCS,
        max_file_size=1,  # byte: nothing here takes a file
        allowed_paths=[],
        blocked_paths=_private_places(data, settings),
        head=_head(),
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )


def serve(data: DemoData, *, host: str, port: int) -> None:
    """Serve until interrupted."""
    run_server(build_app(data), host=host, port=port)


def _blocks(data: DemoData, capture: Capture) -> gr.Blocks:
    store, settings = capture.store, capture.store.settings
    opens = opening(data)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.HTML(
            html_template=(
                "<header class='ifllm-head'><h1>What readers look at</h1>"
                f"<p><strong>{IN_A_SENTENCE}</strong> ${{value}}</p></header>"
            ),
            value=data.said,
            js_on_load="",
        )
        if can_sign_in(settings):
            gr.LoginButton()
        with gr.Tabs():
            with gr.Tab("Explore", id="explore"):
                explored = turns_of(data, opens)
            with gr.Tab("Take part", id="take-part"):
                take_part(capture.flow)
            with gr.Tab("Score", id="score") as score:
                score_tab(data, score, explored, opens)
            with gr.Tab("About & withdraw", id="about"):
                gr.Markdown(about_data(data), elem_classes="ifllm-about")
                about(settings, store)
            collected_tab(blocks, settings)
            status_tab(blocks, settings, store)
    return blocks


def _private_places(data: DemoData, settings: Settings) -> list[str]:
    """Return folders that no route of Gradio may serve."""
    places = [data.folder, Path(__file__).parents[1], settings.sessions]
    if settings.exports:
        places.append(settings.exports)
    return [str(Path(place).resolve()) for place in places]


def _head() -> str:
    """Return what Gradio puts into the head, by script, just before it draws.

    What is inline holds from the first frame on, however slow the network is: Gradio measures once
    which tabs fit, and nothing of Explore may be seen before `page.js` knows which tab is wanted.
    """
    frame = [page_files.STATIC / "colours.css", STATIC / "page.css"]
    inline = "".join(path.read_text(encoding="utf-8") for path in frame)
    places = [
        f"{url}/{path.relative_to(folder).as_posix()}"
        for url, folder in ((page_files.STATIC_URL, page_files.STATIC), (STATIC_URL, STATIC))
        for path in sorted(folder.rglob("*.css"))
        if path not in frame
    ]
    styled = "".join(f'<link rel="stylesheet" href="{place}">' for place in places)
    root = "document.documentElement.classList"
    return (
        f"<style>{inline}</style>{styled}"
        f'<script>{root}.add("ifllm-opening")</script>'
        f'<script type="module" src="{STATIC_URL}/page.js"'
        f""" onerror="{root}.remove('ifllm-opening')"></script>"""
    )
