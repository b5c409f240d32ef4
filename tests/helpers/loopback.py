"""A server on 127.0.0.1, in a thread of this process: what other servers of the tests play on.

class Echo(Loopback):
def answer(self, request: Request) -> None:
request.send(200, request.body())

with Echo() as server:
urllib.request.urlopen(server.url)
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Request(BaseHTTPRequestHandler):
    """What was asked, and ways to answer it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms until its headers are acknowledged

    def respond(self) -> None:
        self.server.loopback.answer(self)

    def _any(self) -> None:
        self.respond()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass

    def body(self) -> bytes:
        """Return the content, chunked or not."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send(self, status: int, data: bytes, headers: dict[str, str | None] | None = None) -> None:
        """Answer; a header that is None is left out, `Content-Length` too."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_json(
        self, value: Any, status: int = 200, headers: dict[str, str | None] | None = None
    ) -> None:
        data = json.dumps(value).encode()
        self.send(status, data, {"Content-Type": "application/json", **(headers or {})})


class _Server(ThreadingHTTPServer):
    loopback: Loopback

    def handle_error(self, *args: Any) -> None:
        """A client that hangs up is part of the tests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*args)


class Loopback:
    """Runs inside `with`. `requests` is what was asked, as far as `answer` notes it.

    `mishaps` are for `answer` to take from the left, one per request.
    """

    handler: type[Request] = Request
    path = "/"

    def __init__(self, mishaps: Iterable[str] = ()) -> None:
        self.requests: list[Any] = []
        self.mishaps = deque(mishaps)
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), self.handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def mishap(self) -> str:
        """Return what shall befall this request: nothing, if nothing is left."""
        return self.mishaps.popleft() if self.mishaps else ""

    def answer(self, request: Request) -> None:
        raise NotImplementedError
