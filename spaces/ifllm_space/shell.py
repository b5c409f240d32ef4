"""The web application: our own routes first, then Gradio with its tabs.

Gradio runs without its Node front (SSR), which would swallow our routes. There is one worker, no
access log, and nothing of the data can be reached through Gradio's routes for files.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.tab import explore_tab
from ifllm_space.score.tab import score_tab

STATIC = Path(__file__).parent / "static"
STATIC_URL = "page"
"""Where `static/` is served; `/static` and `/assets` belong to Gradio."""

TITLE = "IFLLM: what readers look at"


class FreshFiles(StaticFiles):
    """Static files that a browser asks for again: modules import each other by plain names."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Answer with a tag that costs one short request when nothing changed."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def build_app(data: DemoData) -> FastAPI:
    """Return the application with all its tabs."""
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount(f"/{STATIC_URL}", FreshFiles(directory=STATIC), name="page")
    collection = _collection(app)
    blocks = _blocks(data, collection)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        ssr_mode=False,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        allowed_paths=[],
        blocked_paths=_private_places(data, collection),
        head=_head(),
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )


def serve(data: DemoData, *, host: str, port: int) -> None:
    """Serve until interrupted. No access log: it would keep addresses."""
    uvicorn.run(
        build_app(data), host=host, port=port, workers=1, access_log=False, proxy_headers=False
    )


def _blocks(data: DemoData, collection: MutableMapping[str, Any]) -> gr.Blocks:
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.HTML(
            html_template=(
                "<header class='ifllm-head'><h1>What readers look at</h1><p>${value}</p></header>"
            ),
            value=data.said,
            js_on_load="",
        )
        with gr.Tabs():
            with gr.Tab("Explore", id="explore"):
                explore_tab(data)
            with gr.Tab("Score", id="score"):
                score_tab(data)
            if collection:
                with gr.Tab("Take part", id="take-part"):
                    collection["take_part"](collection["settings"], collection["store"], data)
                with gr.Tab("About & withdraw", id="about"):
                    collection["about"](collection["settings"], collection["store"])
    return blocks


def _collection(app: FastAPI) -> dict[str, Any]:
    """Attach the routes of the collection, which must stand before Gradio takes every path."""
    if not (find_spec("ifllm_space.collect") and find_spec("ifllm_space.collect.tab")):
        return {}
    from ifllm_space.collect.tab import about, take_part
    from ifllm_space.server import attach
    from ifllm_space.settings import Settings

    settings = Settings.from_environment()
    store = attach(app, settings)
    return {"settings": settings, "store": store, "take_part": take_part, "about": about}


def _private_places(data: DemoData, collection: MutableMapping[str, Any]) -> list[str]:
    """Return folders that no route of Gradio may serve."""
    places = [data.folder, Path(__file__).parents[1]]
    if collection:
        places.append(collection["settings"].sessions)
    return [str(Path(place).resolve()) for place in places]


def _head() -> str:
    styles = sorted(path.name for path in STATIC.glob("*.css"))
    return "".join(f'<link rel="stylesheet" href="{STATIC_URL}/{name}">' for name in styles)
