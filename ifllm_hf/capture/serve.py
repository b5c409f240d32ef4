"""The capture server by itself, behind whatever page: `ifllm serve`.

api/v1/      what a browser sends; capture/  what it loads
/            where a participant withdraws
/status      how the collection stands, for the operator on this machine; /status.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.responses import Response

from ifllm_hf.capture.mounting import attach
from ifllm_hf.capture.operator import is_operator
from ifllm_hf.capture.path_prefix import PathPrefix
from ifllm_hf.capture.same_page import origin_of
from ifllm_hf.capture.server.pushing import PushTo
from ifllm_hf.capture.server.status import status, status_table
from ifllm_hf.capture.serving import check_address, run_server
from ifllm_hf.capture.settings import Settings, normal_root
from ifllm_hf.errors import ConfigError

_NO_DOCS: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}
_NOT_HERE = (
    "Only the operator may see this: open it on the machine that serves, by its port and not by "
    "way of a proxy."
)
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<link rel="stylesheet" href="capture/colours.css">
<link rel="stylesheet" href="capture/take_part/collect.css">
<style>
* {{ box-sizing: border-box }}
body {{ font-family: system-ui, sans-serif; max-width: 46rem; margin: 1rem auto; padding: 0 1rem }}
</style>
</head><body>{body}</body></html>"""
_WITHDRAW = """<div class="ifllm-collect">This page needs JavaScript.</div>
<script type="module">
  import { ask } from "./capture/take_part/steps.js";
  import { start } from "./capture/take_part/withdraw.js";
  start(document.querySelector(".ifllm-collect"), ask);
</script>"""


def serve(
    sessions: Path,
    *,
    host: str,
    port: int,
    origins: Sequence[str] = (),
    path_prefix: str = "",
    keep_days: int | None = None,
    push: PushTo | None = None,
) -> None:
    """Serve until interrupted; what is not said here is read from `$IFLLM_SPACE_*`.

    Args:
        sessions: Folder of the sessions; made if it is missing.
        host: Of this machine.
        port: Of this machine.
        origins: Of the pages on other hosts that may send here, beside those of the settings.
        path_prefix: Where a proxy shows the server, such as `/ifllm`.
        keep_days: Days after its last event at which a session is deleted; None: of the settings.
        push: Makes what pushes to the dataset of the settings.

    Raises:
        ConfigError: The address cannot be served, the folder cannot be written or another process
            writes there, an origin is none, or settings contradict each other.
    """
    settings = Settings.from_environment()
    settings = replace(
        settings,
        sessions=sessions,
        origins=tuple(dict.fromkeys([*settings.origins, *map(origin_of, origins)])),
        root_path=normal_root(path_prefix) or settings.root_path,
        keep_days=settings.keep_days if keep_days is None else keep_days,
    )
    settings.validate()
    check_address(host, port)
    _check_folder(sessions)
    app = build_server(settings, push=push)
    if not settings.collects:
        sys.stderr.write(
            "Nobody can take part yet, but withdraw: set $IFLLM_SPACE_CONTACT and "
            "$IFLLM_SPACE_LEGAL_BASIS.\n"
        )
    run_server(app, host=host, port=port)


def build_server(settings: Settings, *, push: PushTo | None = None) -> FastAPI:
    """Return the application: recording, and the two pages.

    Raises:
        ConfigError: See `attach`.
    """
    app = FastAPI(title="IFLLM capture", **_NO_DOCS)
    store = attach(app, settings=settings, push=push).store

    def for_operator(request: Request, answer: Callable[[], Response]) -> Response:
        if is_operator(settings, request, None):
            return answer()
        return HTMLResponse(f"<p>{_NOT_HERE}</p>", 403)

    @app.get("/")
    def withdraw() -> Response:
        return HTMLResponse(_PAGE.format(title="Withdraw", body=_WITHDRAW))

    @app.get("/status")
    def status_page(request: Request) -> Response:
        def page() -> Response:
            body = f"<h1>Status</h1>{status_table(store)}"
            return HTMLResponse(_PAGE.format(title="Status", body=body))

        return for_operator(request, page)

    @app.get("/status.json")
    def status_rows(request: Request) -> Response:
        return for_operator(request, lambda: JSONResponse(dict(status(store))))

    if settings.root_path:
        app.add_middleware(PathPrefix, root_path=settings.root_path)
    return app


def _check_folder(sessions: Path) -> None:
    """Refuse a folder that cannot be written, before anybody takes part."""
    try:
        sessions.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=sessions):
            pass
    except OSError as error:
        raise ConfigError(
            f"{sessions}: sessions cannot be kept there ({error.strerror}). Expected a folder that "
            "this user may write."
        ) from error
