"""An application on a port of this machine, as the Space and `ifllm serve` have it."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from ifllm_hf.errors import ConfigError

_LAST_REQUESTS_S = 5
_ANY = ("0.0.0.0", "::", "127.0.0.1")


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be served, before anything else is done.

    Raises:
        ConfigError: The port is taken, or the host is none of this machine's.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: cannot be served ({error.strerror}); name another --port or --host, "
            "or stop what runs there"
        ) from error


def run_server(app: FastAPI, *, host: str, port: int) -> None:
    """Serve until interrupted, in one process. No access log: it would keep addresses."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        # An open page of Gradio holds a stream that ends with the page alone.
        timeout_graceful_shutdown=_LAST_REQUESTS_S,
    )
    with suppress(KeyboardInterrupt):  # uvicorn has shut down by then
        _Server(config).run()


class _Server(uvicorn.Server):
    """Says where it is once it can be reached."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host = self.config.host
            name = "localhost" if host in _ANY else host
            sys.stderr.write(f"Open http://{name}:{self.config.port}\n")
