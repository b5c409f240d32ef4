"""What a browser loads of us: plain ES modules, served as they lie here.

static/ifllm.js    the one tag of a page that an adapter fits, adapters/*.json
static/pages/      reads pages that are not ours
static/record/     the recorder, what sends, gaze; `capture.js` is what a page calls
static/consent/    asks on pages that are not ours
static/take_part/  the pages from consent to thanks, which call it
static/dom.js      makes elements
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
ADAPTERS = Path(__file__).parent / "adapters"
STATIC_URL = "capture"
"""Where `static/` is served. Modules find `api/v1/` beside it, below whatever prefix."""


class FreshFiles(StaticFiles):
    """Static files that a browser asks for again: modules import each other by plain names."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Answer with a tag that costs one short request when nothing changed."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def mount_static(app: FastAPI, prefix: str = "") -> None:
    """Serve the recorder, the adapters and the pages of taking part."""
    adapters = FreshFiles(directory=ADAPTERS)
    app.mount(f"{prefix}/{STATIC_URL}/adapters", adapters, name="adapters")
    app.mount(f"{prefix}/{STATIC_URL}", FreshFiles(directory=STATIC), name="capture")
