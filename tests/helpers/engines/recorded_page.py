"""A page that records in any engine; its batches are noted outside of it and held to the server."""

from __future__ import annotations

import itertools
from typing import Any

from tests.helpers.engines.browser import Browser
from tests.helpers.spaces.running import CaptureServer, wait_until

Key = tuple[str, int]
Batches = dict[Key, list[Any]]
MOVES = 5  # of the mouse, for a batch


def kept_batches(stored: list[dict[str, Any]], sealed: Batches, acknowledged: set[Key]) -> Batches:
    """Check every promise about the file of a session; return its batches.

    Args:
        stored: Batches as they lie on the server's disk.
        sealed: Batches that the browser sealed, as far as they are known.
        acknowledged: Batches of which the server said that it has them.
    """
    keys = [(b["tab"], b["seq"]) for b in stored]
    assert len(keys) == len(set(keys)), "a batch is stored twice"
    kept = dict(zip(keys, (b["events"] for b in stored), strict=True))
    assert acknowledged <= set(kept), "an acknowledged batch is lost"
    for key in set(kept) & set(sealed):
        assert kept[key] == sealed[key], "a batch was changed on its way"
    for tab in {tab for tab, _ in kept}:
        seqs = sorted(seq for t, seq in kept if t == tab)
        assert seqs == list(range(len(seqs))), f"batches of {tab} are missing: {seqs}"
        times = [e[1] for seq in seqs for e in kept[tab, seq]]
        assert times == sorted(times), "time runs backwards"
    return kept


class RecordedPage:
    """The page of `capture_app.py` with a session of its own."""

    def __init__(self, browser: Browser, server: CaptureServer, asked: str = "fresh") -> None:
        self.browser, self.server = browser, server
        self.session = server.new()
        self.sealed: Batches = {}
        self.acknowledged: set[Key] = set()
        self._places = itertools.cycle((40 + 9 * i % 810, 40 + 7 * i % 210) for i in range(90))
        self.open(asked)

    def address(self, asked: str = "") -> str:
        return f"{self.server.url}?{asked}#{self.session['session']},{self.session['token']}"

    def open(self, asked: str = "") -> None:
        self.browser.open(self.address(asked))
        self.browser.wait("window.ready")

    def move(self) -> None:
        """Move the mouse to another place of the answers."""
        self.browser.move(*next(self._places))

    def read(self, batches: int = 1) -> None:
        """Move over the answers until that many more batches are sealed."""
        for _ in range(batches):
            before = self.browser.js("capture.stats().sealed")
            for _ in range(MOVES):
                self.move()
            self.browser.wait(
                "before => (capture.transport.seal(), capture.stats().sealed > before)", before
            )
        self.note()

    def record(self) -> int:
        """Move until something is recorded that is not sealed; return all events of the page."""
        self.move()
        self.browser.wait("capture.transport.events.length > 0")
        events: int = self.browser.js("capture.stats().events")
        return events

    def note(self, when: str = "true") -> None:
        """Take over what the page noted, at a moment when an expression is true."""
        sealed, acknowledged = self.browser.wait(
            f"({when}) && [sealed.splice(0), acknowledged.splice(0)]"
        )
        self.sealed |= {(tab, seq): events for tab, seq, events in sealed}
        self.acknowledged |= {(tab, seq) for tab, seq in acknowledged}

    def settle(self) -> None:
        """Wait until the server has everything."""
        self.note("capture.stats().pending === 0")

    def stored_keys(self) -> list[Key]:
        return [(b["tab"], b["seq"]) for b in self.server.batches(self.session["session"])]

    def stored(self) -> Batches:
        """Check every promise about the file; return its batches."""
        batches = self.server.batches(self.session["session"])
        return kept_batches(batches, self.sealed, self.acknowledged)

    def events(self) -> list[list[Any]]:
        """Return the events that have arrived."""
        return [e for b in self.server.batches(self.session["session"]) for e in b["events"]]

    def wait_stored(self, keys: set[Key]) -> None:
        """Wait until the server has some batches."""
        wait_until(lambda: keys <= set(self.stored_keys()), "the backlog is delivered", 30)
