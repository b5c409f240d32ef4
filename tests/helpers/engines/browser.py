"""What a test does in a browser, whichever engine it is: real input, and a look at the page."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.helpers.spaces.running import CaptureServer

POLL_S = 0.03

Action = dict[str, Any]


class PageError(AssertionError):
    """A script that a test ran in the page failed there."""


class Browser(ABC):
    """One browser and the page that is driven; positions are CSS pixels of the viewport.

    Attributes:
        engine: Name of the engine.
        scale: Device pixels per CSS pixel.
        tab: The tab whose page is driven; set it to go to another.
    """

    engine: str
    scale: int
    tab: Any

    def open(self, url: str) -> None:
        """Load a page, anew if it is there already, and wait for its load event."""
        self.load("about:blank")  # another fragment alone would load nothing
        self.load(url)

    @abstractmethod
    def load(self, url: str) -> None:
        """Go to a page."""

    @abstractmethod
    def reload(self) -> None:
        """Load the page again, as a reader does."""

    @abstractmethod
    def back(self) -> None:
        """Go back to the page before, as a reader does."""

    @abstractmethod
    def resize(self, width: int, height: int) -> None:
        """Give the viewport this size."""

    @abstractmethod
    def evaluate(self, script: str) -> str:
        """Run an expression that gives a string or a promise of one."""

    @abstractmethod
    def perform(self, source: Action) -> None:
        """Perform the actions of one input source of W3C WebDriver."""

    @abstractmethod
    def screenshot(self) -> bytes:
        """Return the viewport as a PNG."""

    @abstractmethod
    def new_tab(self) -> None:
        """Open another tab before this one, and go on in it."""

    @abstractmethod
    def close_tab(self, then: Any = None) -> None:
        """Close the page as a reader does, so that it hears of it; go on in a tab, or a new one."""

    def cut_off(self, server: CaptureServer) -> None:
        """Let nothing of the page reach the server until `reconnect`; here the server is killed."""
        server.kill()

    def reconnect(self, server: CaptureServer) -> None:
        """End what `cut_off` began."""
        server.start()

    @abstractmethod
    def stop(self) -> None:
        """End the browser, whatever state it is in."""

    def js(self, expression: str, *arguments: Any) -> Any:
        """Return what an expression gives; a function is called with `arguments` first.

        Raises:
            PageError: It threw.
        """
        if arguments:
            expression = f"({expression})(...{json.dumps(arguments)})"
        found = json.loads(
            self.evaluate(
                f"(async () => {expression})()"
                ".then(v => JSON.stringify({v: v ?? null}), e => JSON.stringify({e: String(e)}))"
            )
        )
        if "e" in found:
            raise PageError(f"{self.engine}: {found['e']}")
        return found["v"]

    def wait(self, expression: str, *arguments: Any, timeout_s: float = 20) -> Any:
        """Return the first true value of an expression; fail when none comes."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if found := self.js(expression, *arguments):
                return found
            time.sleep(POLL_S)
        raise AssertionError(f"{self.engine}: did not come true in {timeout_s} s: {expression}")

    def move(self, x: float, y: float, duration_ms: int = 0) -> None:
        """Move the mouse."""
        self._mouse({"type": "pointerMove", "x": x, "y": y, "duration": duration_ms})

    def click(self, x: float, y: float) -> None:
        """Move the mouse there and click."""
        self._mouse(
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        )

    def click_on(self, element: str) -> None:
        """Scroll to the element that a JavaScript expression gives, and click in its middle."""
        x, y = self.wait(
            f"""(() => {{
              const element = {element};
              if (!element || element.disabled) return null;
              element.scrollIntoView({{block: "center", behavior: "instant"}});
              const r = element.getBoundingClientRect();
              if (!r.width || !r.height) return null;
              const at = [r.x + r.width / 2, r.y + r.height / 2];
              const hit = document.elementFromPoint(...at);
              return hit && (element.contains(hit) || hit.closest("label")?.control === element)
                ? at : null;
            }})()"""
        )
        self.click(x, y)

    def wheel(self, x: float, y: float, down_px: int) -> None:
        """Turn the wheel over a point."""
        roll = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": down_px}
        self.perform({"type": "wheel", "id": "wheel", "actions": [roll]})

    def type(self, text: str) -> None:
        """Type on the keyboard, into what has the focus."""
        keys = [{"type": kind, "value": c} for c in text for kind in ("keyDown", "keyUp")]
        self.perform({"type": "key", "id": "keyboard", "actions": keys})

    def _mouse(self, *actions: Action) -> None:
        self.perform(
            {
                "type": "pointer",
                "id": "mouse",
                "parameters": {"pointerType": "mouse"},
                "actions": list(actions),
            }
        )
