"""What breaks on the reader's side costs nothing that was sealed, and stores nothing twice.

In Chromium, Firefox and WebKit alike. WebKit's driver cannot turn the network off: there the server
is away instead. What answers a server or a proxy may give is in `test_capture_faults.py`.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.engines.browser import Browser
from tests.helpers.engines.recorded_page import Batches, RecordedPage, kept_batches
from tests.helpers.loopback import Loopback, Request
from tests.helpers.missing import missing
from tests.helpers.spaces.running import CaptureServer, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def lasting(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """The browser, or one of the same engine, that keeps its profile when it is killed."""
    if browser.engine != "webkit":
        yield browser
        return
    from tests.helpers.engines.webkit import LastingWebKit

    if not shutil.which("xdotool"):
        missing("xdotool")
    with_profile = LastingWebKit(tmp_path)
    yield with_profile
    with_profile.stop()


def test_a_network_that_is_away_for_a_while_costs_nothing(recorded: RecordedPage) -> None:
    browser, server = recorded.browser, recorded.server
    recorded.read()
    recorded.settle()
    browser.cut_off(server)
    recorded.read(3)
    browser.wait("capture.transport.sender.wait_ms >= 1000")  # a try has failed
    assert browser.js("capture.stats().pending") >= 3
    browser.reconnect(server)
    recorded.read()
    recorded.settle()
    assert set(recorded.stored()) >= set(recorded.sealed) and len(recorded.sealed) >= 5


def test_a_server_that_dies_in_a_write_costs_nothing(
    browser: Browser, capture_server: CaptureServer
) -> None:
    browser.load("about:blank")  # a page of an earlier test would write too
    capture_server.stop()
    capture_server.start("--die-in-write", "3")
    recorded = RecordedPage(browser, capture_server)
    recorded.read(4)
    assert capture_server.process is not None
    assert capture_server.process.wait(timeout=10) == -signal.SIGKILL
    torn = capture_server.sessions / f"{recorded.session['session']}.jsonl"
    assert not torn.read_bytes().endswith(b"\n"), "the write was not cut in two"
    recorded.note()
    acknowledged = set(recorded.acknowledged)
    assert len(acknowledged) == 2
    recorded.read()
    capture_server.start()
    assert list((capture_server.sessions / "quarantine").glob(f"{torn.stem}.*.torn"))
    browser.js("dispatchEvent(new Event('online'))")  # it would come back by itself
    recorded.settle()
    assert set(recorded.stored()) >= set(recorded.sealed) >= acknowledged


def test_a_closed_tab_delivers_its_last_moments(recorded: RecordedPage) -> None:
    recorded.read()
    recorded.settle()
    before = recorded.record()
    recorded.browser.close_tab()
    wait_until(lambda: len(recorded.events()) >= before, "the beacon arrives")

    def has_left() -> bool:
        if ["v", "pagehide"] in [event[::2] for event in recorded.events()]:
            return True
        if recorded.browser.engine == "firefox":  # it may drop the last beacon, and keeps the batch
            recorded.open()
        return False

    wait_until(has_left, "how the page was left arrives")
    assert len(recorded.events()) > before
    recorded.stored()


def test_a_tab_closed_without_network_delivers_on_the_next_visit(recorded: RecordedPage) -> None:
    browser, server = recorded.browser, recorded.server
    recorded.read()
    recorded.settle()
    browser.cut_off(server)
    recorded.read(2)
    sealed = set(recorded.sealed)
    assert len(recorded.stored()) < len(sealed)
    browser.close_tab()
    browser.reconnect(server)
    recorded.open()
    recorded.wait_stored(sealed)
    recorded.read()
    recorded.settle()
    browser.wait("drained.backlog.entries().then(left => !left.length)")
    assert {tab for tab, _ in recorded.stored()} > {tab for tab, _ in sealed}


def test_a_reload_in_the_middle_of_a_turn_costs_nothing(recorded: RecordedPage) -> None:
    browser = recorded.browser
    recorded.read()
    first = browser.js("capture.stats().tab")
    before = recorded.record()
    browser.reload()
    browser.wait("window.ready")
    recorded.read()
    recorded.settle()
    browser.wait("drained.idle(1000)")
    stored = recorded.stored()
    assert set(recorded.sealed) <= set(stored)
    assert len({tab for tab, _ in stored}) == 2
    assert sum(len(events) for (tab, _), events in stored.items() if tab == first) >= before
    assert {e[2] for events in stored.values() for e in events if e[0] == "p"} == {0}


def test_two_tabs_of_one_session_cost_nothing(recorded: RecordedPage) -> None:
    browser = recorded.browser
    first = browser.tab
    recorded.read()
    browser.new_tab()
    recorded.open()
    recorded.read()
    recorded.settle()
    browser.close_tab(then=first)
    browser.js("capture.flush()")
    recorded.note()
    stored = recorded.stored()
    assert set(recorded.sealed) <= set(stored)
    assert len({tab for tab, _ in stored}) == 2


def test_denied_storage_still_delivers(browser: Browser, capture_server: CaptureServer) -> None:
    recorded = RecordedPage(browser, capture_server, "denied")
    assert browser.js("drained.backlog.persists()") is False
    browser.cut_off(capture_server)
    recorded.read(2)
    browser.reconnect(capture_server)
    recorded.settle()
    assert set(recorded.stored()) >= set(recorded.sealed)
    recorded.record()
    before = len(recorded.stored())
    browser.close_tab()
    wait_until(lambda: len(recorded.stored_keys()) > before, "the beacon arrives")


def test_clock_jumps_are_noted_and_bend_no_time(recorded: RecordedPage) -> None:
    jumps_h = [-9000, 18_000, 2_400_000]  # behind, ahead, beyond what the schema takes
    recorded.read()
    for jump_h in jumps_h:
        recorded.browser.js(
            "hours => { const now = Date.now; Date.now = () => now() + hours * 3600000; }", jump_h
        )
        recorded.read()
    recorded.settle()
    stored = recorded.stored()
    assert set(stored) >= set(recorded.sealed)
    jumps = [e for events in stored.values() for e in events if e[0] == "e" and e[2] == "clock"]
    assert [round(jump[3]["shift_ms"] / 3_600_000) for jump in jumps] == jumps_h


class Witness(Loopback):
    """Hears of each batch that is on the browser's disk."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Batches = {}

    def answer(self, request: Request) -> None:
        tab, seq, events = json.loads(request.body())
        self.kept[tab, seq] = events
        request.send(204, b"")


def test_a_killed_browser_delivers_after_it_starts_again(
    lasting: Any, capture_server: CaptureServer
) -> None:
    """The server is away as well, so that only the disk can have kept the batches."""
    session = capture_server.new()
    with Witness() as witness:
        asked = f"fresh&seal=200&witness={witness.url}"
        address = f"{capture_server.url}?{{}}#{session['session']},{session['token']}"
        steps = itertools.cycle(range(60))

        def stored() -> Batches:
            return kept_batches(capture_server.batches(session["session"]), witness.kept, set())

        def read_until(true: Callable[[], Any], what: str) -> None:
            def read_on() -> Any:
                step = next(steps)
                lasting.move(60 + 9 * step, 160 + 2 * step)
                return true()

            wait_until(read_on, what, 30)

        lasting.open(address.format(asked))
        read_until(stored, "the page records")
        capture_server.kill()
        delivered = set(stored())
        read_until(lambda: len(set(witness.kept) - delivered) >= 3, "three batches are kept")
        sealed = set(witness.kept)
        lasting.kill()
    capture_server.start()
    assert sealed - set(stored()), "everything was delivered before the browser was killed"
    lasting.open(address.format(""))
    wait_until(lambda: sealed <= set(stored()), "the backlog is delivered", 30)


def test_a_page_that_was_left_stops_no_later_one(recorded: RecordedPage) -> None:
    browser = recorded.browser
    # Longer writes than ours, as on a slow disk: the page is left while they are under way.
    entry = "{session: 'x', tab: 'x', seq, events: ['x'.repeat(200_000)]}"
    put = f"seq => capture.transport.sender.backlog.put({entry})"
    for writes in (0, 1, 12):
        recorded.record()
        browser.js(f"void [...Array({writes}).keys()].forEach({put})")
        recorded.open()


def test_a_page_that_is_shown_again_sends_again(recorded: RecordedPage) -> None:
    browser = recorded.browser
    recorded.record()
    browser.load(
        f"{recorded.server.url}capture/take_part/collect.css"
    )  # within the site, so it may be put aside
    browser.back()
    browser.wait("window.ready")
    before = len(recorded.events())
    recorded.move()
    wait_until(
        lambda: any(event[0] == "p" for event in recorded.events()[before:]),
        "what is recorded now arrives",
    )
