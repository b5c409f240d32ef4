"""Chromium by Playwright, with a profile that outlives it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.helpers.engines.browser import Action, Browser

if TYPE_CHECKING:
    from tests.helpers.spaces.running import CaptureServer


class Chromium(Browser):
    """A headless Chromium."""

    engine = "chromium"

    def __init__(self, playwright: Any, command: list[str], profile: Path, scale: int = 1) -> None:
        self.scale = scale
        self._playwright, self._command, self._profile = playwright, command, profile
        self._size = (1000, 720)
        self._start()

    def _start(self) -> None:
        path, *flags = self._command
        self._context = self._playwright.chromium.launch_persistent_context(
            self._profile,
            executable_path=path,
            args=flags,
            viewport=dict(zip(("width", "height"), self._size, strict=True)),
            device_scale_factor=self.scale,
        )
        self.tab = self._context.pages[0]
        self._killed = False

    def load(self, url: str) -> None:
        if self._killed:
            self._start()
        self.tab.goto(url)

    def reload(self) -> None:
        self.tab.reload()

    def back(self) -> None:
        self.tab.go_back()

    def resize(self, width: int, height: int) -> None:
        self._size = (width, height)
        self.tab.set_viewport_size({"width": width, "height": height})

    def evaluate(self, script: str) -> str:
        return str(self.tab.evaluate(script))

    def perform(self, source: Action) -> None:
        mouse, keyboard = self.tab.mouse, self.tab.keyboard
        for action in source["actions"]:
            match action["type"]:
                case "pointerMove":
                    mouse.move(action["x"], action["y"])
                    if action.get("duration"):
                        self.tab.wait_for_timeout(action["duration"])
                case "pointerDown":
                    mouse.down()
                case "pointerUp":
                    mouse.up()
                case "scroll":
                    mouse.move(action["x"], action["y"])
                    mouse.wheel(action["deltaX"], action["deltaY"])
                case "keyDown":
                    keyboard.press(action["value"])
                case "keyUp":
                    pass

    def screenshot(self) -> bytes:
        shot: bytes = self.tab.screenshot()
        return shot

    def new_tab(self) -> None:
        self.tab = self._context.new_page()

    def close_tab(self, then: Any = None) -> None:
        page, self.tab = self.tab, then
        if then is None:
            self.new_tab()
        with page.expect_event("close"):
            page.close(run_before_unload=True)

    def cut_off(self, server: CaptureServer) -> None:
        """Turn the network off, and let the server be."""
        self._context.set_offline(True)

    def reconnect(self, server: CaptureServer) -> None:
        self._context.set_offline(False)

    def kill(self) -> None:
        """End it as a crash would; `load` starts it again, with its profile."""
        for process in psutil.process_iter(["cmdline"]):
            if f"--user-data-dir={self._profile}" in (process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._killed = True

    def stop(self) -> None:
        if not self._killed:
            self._context.close()
