"""What a browser loads of us: plain ES modules, served as they lie here.

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
    """Serve the recorder and the pages of taking part."""
    app.mount(f"{prefix}/{STATIC_URL}", FreshFiles(directory=STATIC), name="capture")
