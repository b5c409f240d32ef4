"""Firefox over WebDriver BiDi, which it speaks by itself: no driver program is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.helpers.engines.browser import Action, Browser

if TYPE_CHECKING:
    from tests.helpers.spaces.running import CaptureServer

_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_ANSWER_S = 60


class Firefox(Browser):
    """A headless Firefox with a profile of its own."""

    engine = "firefox"

    def __init__(self, command: str, profile: Path, scale: int = 1) -> None:
        self.scale = scale
        self._command = [
            *(command, "--headless", "--no-remote", "--profile", str(profile)),
            *("--remote-debugging-port", "0"),
        ]
        profile.mkdir(parents=True, exist_ok=True)
        self._size = (1000, 720)
        self._start()

    def _start(self) -> None:
        from websocket import create_connection

        self._process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self._process.stderr is not None
        address = next(filter(None, map(_LISTENING.search, self._process.stderr)), None)
        assert address, "Firefox ended before it listened"
        self._socket = create_connection(
            f"{address[1]}/session", timeout=_ANSWER_S, suppress_origin=True
        )
        self._sent = 0
        self._send("session.new", capabilities={})
        self.tab = self._send("browsingContext.getTree")["contexts"][0]["context"]
        self.resize(*self._size)

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._sent:
                assert answer["type"] == "success", f"{method}: {answer['message']}"
                result: dict[str, Any] = answer["result"]
                return result

    def load(self, url: str) -> None:
        if self._process.poll() is not None:
            self._start()
        self._send("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def reload(self) -> None:
        self._send("browsingContext.reload", context=self.tab, wait="complete")

    def back(self) -> None:
        self._send("browsingContext.traverseHistory", context=self.tab, delta=-1)

    def resize(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._send(
            "browsingContext.setViewport",
            context=self.tab,
            viewport={"width": width, "height": height},
            devicePixelRatio=self.scale,
        )

    def evaluate(self, script: str) -> str:
        answer = self._send(
            "script.evaluate", expression=script, target={"context": self.tab}, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return str(answer["result"]["value"])

    def perform(self, source: Action) -> None:
        self._send("input.performActions", context=self.tab, actions=[source])

    def screenshot(self) -> bytes:
        shot = self._send("browsingContext.captureScreenshot", context=self.tab)
        return base64.b64decode(shot["data"])

    def new_tab(self) -> None:
        self.tab = self._send("browsingContext.create", type="tab")["context"]

    def close_tab(self, then: Any = None) -> None:
        page, self.tab = self.tab, then
        if then is None:  # the last tab would take the browser along, and what it still sends
            self.new_tab()
        self._send("browsingContext.close", context=page, promptUnload=False)

    def cut_off(self, server: CaptureServer) -> None:
        """Turn the network off, and let the server be."""
        self._network({"type": "offline"})

    def reconnect(self, server: CaptureServer) -> None:
        self._network(None)

    def _network(self, conditions: dict[str, str] | None) -> None:
        self._send(
            "emulation.setNetworkConditions",
            networkConditions=conditions,
            userContexts=["default"],
        )

    def kill(self) -> None:
        """End it as a crash would; `load` starts it again, with its profile."""
        first = psutil.Process(self._process.pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._end()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._end()

    def _end(self) -> None:
        self._process.wait(20)
        self._socket.close()
        assert self._process.stderr is not None
        self._process.stderr.close()
