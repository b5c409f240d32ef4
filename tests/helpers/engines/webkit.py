"""WebKitGTK's MiniBrowser, the engine of Safari as Debian builds it, on a display nobody sees."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import warnings
from pathlib import Path
from typing import Any

from tests.helpers.engines.browser import Action, Browser

_SCREEN = "3200x2400x24"
_MINI_BROWSERS = ("/usr/lib", "webkit2gtk-4.*/MiniBrowser")


class Display:
    """A screen of its own, and the environment of programs on it."""

    def __init__(self, scale: int) -> None:
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", _SCREEN, "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.environment = {
            **os.environ,
            "DISPLAY": f":{self._process.stdout.readline().strip()}",
            "GDK_BACKEND": "x11",
            "GDK_SCALE": str(scale),
            "NO_AT_BRIDGE": "1",  # no bus for assistive programs here
            # Its sandbox needs rights that containers do not give.
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
        }

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


class WebKit(Browser):
    """A MiniBrowser over WebKit's own WebDriver; it keeps nothing after it ended."""

    engine = "webkit"

    def __init__(self, driver: str, scale: int = 1) -> None:
        from selenium import webdriver
        from selenium.webdriver.webkitgtk.options import Options
        from selenium.webdriver.webkitgtk.service import Service

        self.scale = scale
        self._display = Display(scale)
        service = Service(executable_path=driver, env=self._display.environment)
        with warnings.catch_warnings():  # selenium 4.51 itself uses what it calls deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            self._driver = webdriver.WebKitGTK(options=Options(), service=service)
        self._driver.set_script_timeout(60)
        self.resize(1000, 720)

    def load(self, url: str) -> None:
        self._driver.get(url)

    def reload(self) -> None:
        self._driver.refresh()

    def back(self) -> None:
        self._driver.back()

    def resize(self, width: int, height: int) -> None:
        self._driver.set_window_rect(0, 0, width, height)
        inner = self._driver.execute_script("return [innerWidth, innerHeight]")
        self._driver.set_window_rect(0, 0, 2 * width - inner[0], 2 * height - inner[1])

    def evaluate(self, script: str) -> str:
        return str(
            self._driver.execute_async_script(f"{script}.then(arguments[arguments.length - 1])")
        )

    def perform(self, source: Action) -> None:
        if source["type"] == "pointer":  # it takes whole pixels alone
            whole = [
                {k: round(v) if k in "xy" else v for k, v in action.items()}
                for action in source["actions"]
            ]
            source = {**source, "actions": whole}
        self._driver.execute("actions", {"actions": [source]})
        if source["type"] == "wheel":
            # WebKitGTK 2.50 scrolls by the difference to the last time, unless it has forgotten it.
            self._driver.execute("clearActionState")

    def screenshot(self) -> bytes:
        return base64.b64decode(self._driver.get_screenshot_as_base64())

    @property
    def tab(self) -> str:
        return self._driver.current_window_handle

    @tab.setter
    def tab(self, tab: str) -> None:
        self._driver.switch_to.window(tab)

    def new_tab(self) -> None:
        self._driver.switch_to.new_window("window")

    def close_tab(self, then: Any = None) -> None:
        page = self.tab
        if then is None:  # the last tab would take the browser along, and what it still sends
            self.new_tab()
            then = self.tab
        self.tab = page
        self._driver.close()
        self.tab = then

    def stop(self) -> None:
        try:
            self._driver.quit()
        finally:
            self._display.stop()


class LastingWebKit:
    """A MiniBrowser as a person starts it, with a profile: no driver, and the mouse of the screen.

    Its page lies below the tool bar, about 50 px from the top of the screen.
    """

    engine = "webkit"

    def __init__(self, profile: Path) -> None:
        places = {"HOME": "", "XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache"}
        self._display = Display(1)
        self._environment = {
            **self._display.environment,
            **{name: str(profile / folder) for name, folder in places.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def command() -> str | None:
        """Return where MiniBrowser lies, which no path leads to."""
        root, pattern = _MINI_BROWSERS
        return next((str(found) for found in sorted(Path(root).rglob(pattern))), None)

    def open(self, url: str) -> None:
        command = self.command()
        assert command is not None
        self._process = subprocess.Popen(
            [command, "--geometry=1000x720", url],
            env=self._environment,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )

    def move(self, x: float, y: float) -> None:
        xdotool = shutil.which("xdotool")
        assert xdotool is not None
        subprocess.run(
            [xdotool, "mousemove", str(round(x)), str(round(y))], env=self._environment, check=True
        )

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._display.stop()
