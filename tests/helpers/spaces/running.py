"""Servers of the Space as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = 15) -> Any:
    """Return the first true value; fail, and say of what, when none comes."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen in {timeout_s} s: {what}")


class Space:
    """`spaces/app.py` as an operator runs it."""

    def __init__(self, folder: Path, data: Path, **settings: str) -> None:
        self.sessions = folder / "sessions"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}/"
        self.log = folder / "log.txt"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IFLLM_SPACE_")}
        environment["IFLLM_SPACE_SESSIONS"] = str(self.sessions)
        environment |= {f"IFLLM_SPACE_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, str(ROOT / "spaces" / "app.py"), "--data", str(data)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)], env=environment, stdout=log, stderr=log
            )
        wait_until(self._answers, "the app answers", 180)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


class CaptureServer:
    """`capture_app.py` as a process that can be killed and started again on its port and folder."""

    def __init__(self, folder: Path) -> None:
        self.sessions = folder / "sessions"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}/"
        self.settings: dict[str, Any] = {}
        self.output = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        script = str(ROOT / "tests" / "browser" / "capture_app.py")
        command = [sys.executable, script, str(self.sessions), str(self.port), *arguments]
        command += ["--settings", json.dumps(self.settings)]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(self._answers, f"the server starts: {self.output.read_text()[-2000:]}")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.output.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)

    @staticmethod
    def wait(true: Callable[[], Any], what: str, timeout_s: float = 15) -> Any:
        return wait_until(true, what, timeout_s)

    def post(self, route: str, value: Any) -> dict[str, Any]:
        body = json.dumps(value).encode()
        request = urllib.request.Request(self.url + route, body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            said: dict[str, Any] = json.load(answer)
        return said

    def new(self) -> dict[str, str]:
        return self.post("new", {})

    def batches(self, session: str) -> list[dict[str, Any]]:
        """Return the batches on disk, whole lines only."""
        text = (self.sessions / f"{session}.jsonl").read_bytes()
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        return [b for b in map(json.loads, lines) if b["type"] == "batch"]
