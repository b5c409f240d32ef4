"""A Chromium for each module of browser tests, and the servers they drive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.missing import missing
from tests.helpers.spaces.application import build_space
from tests.helpers.spaces.running import CaptureServer, Space, free_port, wait_until

if TYPE_CHECKING:
    from ifllm_space.demo_data import DemoData
    from tests.helpers.engines.browser import Browser
    from tests.helpers.engines.recorded_page import RecordedPage

HERE = Path(__file__).parent
SCALE = 2  # device pixels per CSS pixel, as on most screens that people read on
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Gradio 6.31 asks pandas for an option and a keyword that are on their way out.
    mark = pytest.mark.filterwarnings(
        "ignore:'future.no_silent_downcasting':DeprecationWarning",
        "ignore:The copy keyword is deprecated:DeprecationWarning",
    )
    ours = [item for item in items if HERE in item.path.parents]
    # Files that ask for the same running Space go to one process, which starts it once.
    groups = {item.path: item.path.name for item in ours}
    for item in ours:
        for space in {"space", "space_url"} & set(getattr(item, "fixturenames", ())):
            groups[item.path] = space
    for item in ours:
        item.add_marker(pytest.mark.browser)
        item.add_marker(mark)
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))


def chromium_path() -> str:
    """Return a Chromium of this machine, or skip."""
    for name in _BROWSERS:
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not Path(own).exists():
        missing("chromium")
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
    # Nothing plays by itself: what a test looks at stays as it is.
    still = {"viewport": {"width": 1000, "height": 720}, "reduced_motion": "reduce"}
    fresh = chromium.new_context(**still)
    fresh.set_default_timeout(10_000)
    yield fresh
    fresh.close()


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser of each engine, on a profile that outlives it where the driver allows that."""
    profile = tmp_path_factory.mktemp(request.param)
    made: Browser
    match request.param:
        case "chromium":
            from tests.helpers.engines.chromium import Chromium

            playwright = request.getfixturevalue("playwright")
            command = request.getfixturevalue("chromium_command")
            made = Chromium(playwright, command, profile, SCALE)
        case "firefox":
            from tests.helpers.engines.firefox import Firefox

            firefox = shutil.which("firefox-esr") or shutil.which("firefox")
            made = Firefox(firefox or missing("firefox-esr"), profile, SCALE)
        case _:
            from tests.helpers.engines.webkit import WebKit

            if not shutil.which("Xvfb"):
                missing("xvfb")
            driver = shutil.which("WebKitWebDriver")
            made = WebKit(driver or missing("webkit2gtk-driver"), SCALE)
    yield made
    made.stop()


@pytest.fixture
def recorded(browser: Browser, capture_server: CaptureServer) -> RecordedPage:
    """A page that records, in each engine."""
    from tests.helpers.engines.recorded_page import RecordedPage

    browser.resize(1000, 720)
    return RecordedPage(browser, capture_server)


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

    from ifllm_hf.capture.settings import Settings

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


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory, prepared_small: Path) -> Iterator[Space]:
    """The app as an operator runs it, with somebody to take part."""
    folder = tmp_path_factory.mktemp("space")
    (folder / "webgazer").mkdir()
    (folder / "webgazer" / "webgazer.js").touch()
    running = Space(
        folder,
        prepared_small,
        contact="lab@example.org",
        legal_basis="a test",
        webgazer=str(folder / "webgazer"),
    )
    yield running
    running.stop()
