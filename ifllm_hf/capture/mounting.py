"""Recording on any FastAPI application: its routes, and what a browser loads.

    from fastapi import FastAPI
    from ifllm_hf.capture import attach
    from ifllm_hf.capture.settings import Settings

    app = FastAPI()
    attach(app, "sessions", settings=Settings(contact="lab@example.org", legal_basis="ethics 12/3"))

Then `capture/record/capture.js` is the recorder, and `api/v1/` takes what it sends.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI

from ifllm_hf.capture.cross_origin import NamedOrigins
from ifllm_hf.capture.fetch_webgazer import mount_webgazer
from ifllm_hf.capture.page_files import STATIC_URL, mount_static
from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.server.pushing import PushTo
from ifllm_hf.capture.server.routes import make_router
from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.flow import Flow
from ifllm_hf.capture.taking_part.responder import Responder
from ifllm_hf.errors import ConfigError


@dataclass(frozen=True)
class Capture:
    """What records on an application.

    Attributes:
        store: Where sessions are kept; open until this process ends, or `store.close()`.
        flow: What answers the steps of taking part.
    """

    store: SessionStore
    flow: Flow


def attach(
    app: FastAPI,
    sessions: str | os.PathLike[str] | None = None,
    *,
    settings: Settings | None = None,
    responder: Responder | None = None,
    push: PushTo | None = None,
    prefix: str = "",
) -> Capture:
    """Record on an application; before anything is mounted that takes every path.

    Without an operator's contact and legal basis nobody can take part, and a folder of sessions is
    opened only where it exists already, so that its participants can still withdraw.

    Args:
        app: Of anything.
        sessions: Folder of the sessions; default: `settings.sessions`.
        settings: Of the operator; default: `$IFLLM_SPACE_*`.
        responder: Answers the questions of participants (step `ask`). Without one, the page brings
            its own answers along (step `turn`).
        push: Makes what pushes to `settings.hub_dataset`: `ifllm_hf.hub.collecting.HubPush`.
        prefix: Of all paths: empty, or as `/ifllm` where the application has an `/api/v1` itself.

    Raises:
        ConfigError: Settings contradict each other, the folder is in use, the Hub repository has no
            valid name, or `prefix` is no path.
    """
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigError(f"prefix is {prefix!r}. Expected a path such as /ifllm, or nothing.")
    settings = settings or Settings.from_environment()
    if sessions is not None:
        settings = replace(settings, sessions=Path(sessions))
    settings.validate()
    store = SessionStore(settings, push=push)
    flow = Flow(settings, store, responder, answers_of_page=responder is None)
    if settings.collects or settings.sessions.exists():
        store.start()
        atexit.register(store.close)
    mount_static(app, prefix)
    mount_webgazer(app, settings, prefix)
    app.include_router(make_router(store, flow.step, prefix))
    if settings.origins:
        places = tuple(f"{prefix}/{place}/" for place in ("api/v1", STATIC_URL, "webgazer"))
        app.add_middleware(NamedOrigins, origins=settings.origins, places=places)
    return Capture(store, flow)
