"""A Chromium for each module of browser tests, and the servers they drive."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.spaces.application import build_space

if TYPE_CHECKING:
    from ifllm_space.demo_data import DemoData

HERE = Path(__file__).parent
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Gradio 6.31 asks pandas for an option that is on its way out.
    mark = pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting':DeprecationWarning")
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(mark)


def chromium_path() -> str:
    """Return a Chromium of this machine, or skip."""
    for name in _BROWSERS:
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not Path(own).exists():
        pytest.skip("no Chromium here; `make setup` installs one")
    return own


@pytest.fixture(scope="session")
def chromium_command() -> list[str]:
    """The Chromium of this machine, with the flags it needs here."""
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [chromium_path(), *(["--no-sandbox"] if as_root else [])]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Playwright's driver. Its event loop runs in this thread, so it must end with the module."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chromium(playwright: Any, chromium_command: list[str]) -> Iterator[Any]:
    """A headless Chromium; make a context of it for each test."""
    path, *flags = chromium_command
    browser = playwright.chromium.launch(executable_path=path, args=flags)
    yield browser
    browser.close()


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    """A fresh profile; anything that takes longer than ten seconds has failed."""
    fresh = chromium.new_context(viewport={"width": 1000, "height": 720})
    fresh.set_default_timeout(10_000)
    yield fresh
    fresh.close()


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
        script = str(HERE / "capture_app.py")
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


@pytest.fixture(scope="module")
def capture_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaptureServer]:
    """A running server for the tests of a module; who kills it starts it again."""
    server = CaptureServer(tmp_path_factory.mktemp("capture"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def space_sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Space of `space_url` would keep sessions; nobody collects there."""
    return tmp_path_factory.mktemp("space") / "sessions"


@pytest.fixture(scope="session")
def space_url(demo_data: DemoData, space_sessions: Path) -> Iterator[str]:
    """The whole Space on the made-up release, in a thread of this process."""
    import threading

    import uvicorn

    from ifllm_space.settings import Settings

    app = build_space(demo_data, Settings(sessions=space_sessions, show_sessions=True))
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the Space starts", 30)
    yield f"http://localhost:{port}/"
    server.should_exit = True
    thread.join(10)
