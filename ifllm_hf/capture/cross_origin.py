"""Pages on other hosts that may load the recorder from here, and send here."""

from __future__ import annotations

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class NamedOrigins:
    """Answers CORS for some paths and the origins that an operator named; all else is as it was.

    No cookie is read here, so none is allowed.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], places: tuple[str, ...]) -> None:
        """Let pages of `origins` see what lies below `places`, paths that end in `/`."""
        self._app, self._places = app, places
        self._with_cors = CORSMiddleware(
            app,
            allow_origins=tuple(origins),
            allow_methods=("GET", "POST"),
            allow_headers=("Content-Type",),
            expose_headers=("Retry-After",),  # when a refused batch may come again
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        ours = scope["type"] == "http" and scope["path"].startswith(self._places)
        await (self._with_cors if ours else self._app)(scope, receive, send)
