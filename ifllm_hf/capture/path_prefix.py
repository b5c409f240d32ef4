"""The app below a path of its host, as behind `location /app/` of a proxy.

A proxy takes the prefix off before it passes a request on, or it does not: both work.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """Takes the prefix off the path of a request where a proxy left it on."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """Serve `app` below `root_path`: `/app`, or a whole address that ends so."""
        self._app, self._prefix = app, urlsplit(root_path).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without the prefix."""
        path = scope.get("path", "")
        if self._prefix and path == self._prefix and scope["type"] == "http":
            await RedirectResponse(f"{self._prefix}/", 307)(scope, receive, send)
            return
        if self._prefix and path.startswith(f"{self._prefix}/"):
            cut: dict[str, Any] = {"path": path[len(self._prefix) :]}
            if raw := scope.get("raw_path"):
                cut["raw_path"] = raw[len(self._prefix.encode()) :]
            scope = {**scope, **cut}
        await self._app(scope, receive, send)
