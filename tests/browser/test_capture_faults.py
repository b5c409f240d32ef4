"""Whatever a server or a proxy answers costs no batch, but a withdrawal costs them all.

What breaks on the reader's side is in `test_engines_faults.py`, in three engines.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.helpers.engines.recorded_page import kept_batches

IDLE = "window.capture?.stats().pending === 0"


class Reader:
    """A page whose sealed batches and acknowledgements are noted outside of it."""

    def __init__(self, context: Any, server: Any) -> None:
        self.server, self.context = server, context
        self.session = server.new()
        self.sealed: dict[tuple[str, int], list[Any]] = {}
        self.acknowledged: set[tuple[str, int]] = set()
        self.open()

    def open(self) -> Any:
        self.page = self.context.new_page()
        self.page.expose_binding(
            "onSealed", lambda _, tab, seq, events: self.sealed.update({(tab, seq): events})
        )
        self.page.on("response", self._note)
        self.page.goto(f"{self.server.url}#{self.session['session']},{self.session['token']}")
        self.page.wait_for_function("window.ready")
        return self.page

    def _note(self, response: Any) -> None:
        if response.url.endswith("/events") and response.status == 200:
            sent = response.request.post_data_json
            self.acknowledged.add((sent["tab"], sent["seq"]))

    def read(self, batches: int = 1) -> None:
        """Move over the answers until that many more batches are sealed."""
        before = self.page.evaluate("capture.stats().sealed")
        for step in range(400):
            self.page.mouse.move(40 + 9 * (step % 90), 40 + 7 * (step % 30))
            if step % 20 == 19:
                self.page.evaluate("capture.transport.seal()")
                if self.page.evaluate("capture.stats().sealed") >= before + batches:
                    return
        raise AssertionError("no batch was sealed")

    def settle(self) -> None:
        self.page.wait_for_function(IDLE, timeout=20_000)

    def stored_keys(self) -> list[tuple[str, int]]:
        return [(b["tab"], b["seq"]) for b in self.server.batches(self.session["session"])]

    def stored(self) -> dict[tuple[str, int], list[Any]]:
        """Check every promise about the file; return its batches."""
        batches = self.server.batches(self.session["session"])
        return kept_batches(batches, self.sealed, self.acknowledged)


@pytest.fixture
def reader(context: Any, capture_server: Any) -> Reader:
    return Reader(context, capture_server)


def test_withdrawal_stops_the_page_and_empties_its_backlog(reader: Reader) -> None:
    reader.read()
    reader.settle()
    file = reader.server.sessions / f"{reader.session['session']}.jsonl"
    assert file.exists()
    reader.context.set_offline(True)
    reader.read(2)
    assert reader.server.post("api/v1/withdraw", {"code": reader.session["code"]})["complete"]
    reader.context.set_offline(False)
    reader.page.wait_for_function("refusals.includes('gone')")
    reader.page.wait_for_function(
        "capture.transport.sender.backlog.entries().then(left => !left.length)"
    )
    before = reader.page.evaluate("capture.stats().events")
    reader.page.mouse.move(50, 60)
    reader.page.wait_for_timeout(100)
    assert reader.page.evaluate("capture.stats().events") == before
    assert not file.exists()


def test_batch_is_kept_until_it_is_durable(reader: Reader) -> None:
    """The server has a Hub that has not taken it yet; then it loses its disk, then all is well."""
    page = reader.page
    durable: dict[str, list[int]] = {"durable": [], "missing": []}
    page.route("**/api/v1/durable", lambda route: route.fulfill(json={"ok": True, **durable}))

    def stored_here(route: Any) -> None:
        sent = route.request.post_data_json
        said = {"ok": True, "tab": sent["tab"], "seq": sent["seq"]}
        route.fulfill(json={**said, "duplicate": False, "durable": False})

    page.route("**/api/v1/events", stored_here)
    page.evaluate("clearInterval(capture.transport.timer)")
    reader.read(3)
    reader.settle()
    keys = sorted(reader.sealed)
    seqs = [seq for _, seq in keys]
    left = "drained.backlog.entries().then(all => all.map(e => [e.seq, e.stored]))"
    page.wait_for_function("capture.stats().waiting === 3")
    assert page.evaluate(left) == [[seq, True] for seq in seqs]
    page.unroute("**/api/v1/events")
    durable.update(durable=seqs[:1], missing=seqs[1:2])
    page.evaluate("capture.transport.sender.askDurable()")
    reader.settle()
    page.wait_for_function("capture.stats().waiting === 1")
    assert page.evaluate(left) == [[seqs[2], True]]
    assert reader.stored_keys() == keys[1:2]
    durable.update(durable=[], missing=seqs[2:])
    page.reload()  # the next visit asks by itself
    page.wait_for_function("window.ready")
    reader.server.wait(lambda: keys[2] in reader.stored_keys(), "what is missing is sent again")


def test_no_address_reaches_log_or_disk(reader: Reader) -> None:
    reader.read()
    reader.settle()
    for body in (b"{}", b"\xff", b"[]" * 200_000):
        request = urllib.request.Request(
            f"{reader.server.url}api/v1/events", body, {"X-Forwarded-For": "203.0.113.7"}
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request)
    addresses = re.compile(rb"127\.0\.0\.1|::1|203\.0\.113\.\d+")
    for file in [reader.server.output, *reader.server.sessions.rglob("*")]:
        if file.is_file():
            assert not addresses.search(file.read_bytes()), file.name


# What servers and proxies answered elsewhere, by the reason that the page counts it under.
ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("http_403", {"status": 403, "content_type": "text/html", "body": "<h1>Forbidden</h1>"}),
    ("http_413", {"status": 413, "body": "<html>413 Request Entity Too Large</html>"}),
    ("http_404", {"status": 404, "json": {"detail": "Not Found"}}),
    ("http_405", {"status": 405, "json": {"detail": "Method Not Allowed"}}),
    ("http_410", {"status": 410, "body": "Gone"}),
    ("http_502", {"status": 502, "body": "<html>Bad Gateway</html>"}),
    ("http_524", {"status": 524, "body": ""}),
    ("http_200", {"status": 200, "body": "<html>Checking your browser</html>"}),
    ("http_200", {"status": 200, "json": {"ok": True}}),  # somebody else's health check
    ("http_200", {"status": 200, "json": {"ok": False, "error": "gone"}}),  # not our status
    ("http_204", {"status": 204, "body": ""}),
    ("http_400", {"status": 400, "body": "null"}),
    ("cross_site", {"status": 403, "json": {"ok": False, "error": "cross_site", "retry": False}}),
    ("malformed", {"status": 400, "json": {"ok": False, "error": "malformed", "retry": False}}),
    ("size", {"status": 413, "json": {"ok": False, "error": "size", "retry": False}}),
    ("token", {"status": 403, "json": {"ok": False, "error": "token", "retry": False}}),
    ("full", {"status": 413, "json": {"ok": False, "error": "full", "retry": False}}),
    ("off", {"status": 403, "json": {"ok": False, "error": "off", "retry": False}}),
    ("rate", {"status": 429, "json": {"ok": False, "error": "rate", "retry": True}}),
    ("missing", {"status": 503, "json": {"ok": False, "error": "missing", "retry": True}}),
]
NOW = "capture.transport.sender.wait_ms = 0"
SEND = "() => { dispatchEvent(new Event('online')); return capture.transport.sender.idle(3000); }"


def test_no_refusal_but_a_withdrawal_costs_a_batch(reader: Reader) -> None:
    """Whatever stands between page and server, and whatever the server says, keeps the backlog."""
    page, answer = reader.page, dict(ANSWERS)["http_403"]
    page.route("**/api/v1/events", lambda route: route.fulfill(**answer))
    page.evaluate("clearInterval(capture.transport.timer)")
    reader.read()
    for reason, fields in ANSWERS:
        answer = fields
        page.evaluate(NOW)
        assert page.evaluate(SEND) is False, f"{reason} counts as delivered"
        said = page.evaluate("capture.transport.refused()")
        assert said == {"count": 1, "reasons": {reason: 1}}
        left = page.evaluate("drained.backlog.entries()")
        assert [e["seq"] for e in left] == [0], f"{reason} deleted a batch"
    reader.read(2)  # those behind it meet the same and are kept as well
    page.evaluate(NOW)
    page.evaluate(SEND)
    page.wait_for_function("capture.transport.refused().count === 3")
    page.reload()  # and a page later it is known before anything is sent again
    page.wait_for_function("window.ready")
    assert page.evaluate("capture.transport.refused()") == {"count": 3, "reasons": {"missing": 3}}
    page.unroute("**/api/v1/events")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_function("capture.transport.refused().count === 0")
    assert set(reader.stored()) >= set(reader.sealed) and len(reader.sealed) >= 3


def test_redirect_to_a_login_page_costs_no_batch(reader: Reader) -> None:
    page = reader.page
    page.route(
        "**/api/v1/events",
        lambda route: route.fulfill(status=302, headers={"Location": reader.server.url}),
    )
    reader.read()
    page.wait_for_function("capture.transport.refused().reasons.redirect > 0")
    page.unroute("**/api/v1/events")
    page.evaluate("dispatchEvent(new Event('online'))")
    reader.settle()
    assert set(reader.stored()) >= set(reader.sealed)


def test_a_batch_that_is_refused_for_itself_holds_up_no_other(reader: Reader) -> None:
    page = reader.page
    page.evaluate("clearInterval(capture.transport.timer)")
    page.evaluate("capture.transport.push(['e', 1, 'gaze_error', 'x'.repeat(300000)])")
    page.evaluate("capture.transport.seal()")
    reader.read(2)
    page.wait_for_function("capture.stats().acknowledged >= 2")
    assert page.evaluate("capture.transport.refused()") == {"count": 1, "reasons": {"size": 1}}
    assert page.evaluate("drained.backlog.entries().then(all => all.length)") == 1


def test_an_event_that_does_not_fit_is_counted_and_the_rest_kept(reader: Reader) -> None:
    page = reader.page
    page.evaluate("clearInterval(capture.transport.timer)")
    bad = [["p", 1], ["f", -1, 1], ["zz", 1]]
    page.evaluate("bad => bad.map(event => capture.transport.push(event))", bad)
    reader.read()
    reader.settle()
    (batch,) = reader.server.batches(reader.session["session"])
    sent = reader.sealed[batch["tab"], batch["seq"]]
    assert batch["events"] == [event for event in sent if event not in bad]
    assert sum(batch["refused"].values()) == 3
    for _ in range(2):
        said = page.evaluate("capture.transport.refused()")
        assert said == {"count": 3, "reasons": batch["refused"]}
        page.reload()
        page.wait_for_function("window.ready")


def test_a_page_that_was_put_aside_sends_again(reader: Reader) -> None:
    """As after the back button in Firefox: what was under way never answers."""
    page = reader.page
    reader.read()
    reader.settle()
    page.evaluate("() => { window.real = fetch; window.fetch = () => new Promise(() => {}); }")
    reader.read(2)
    page.wait_for_timeout(100)
    page.evaluate("() => { window.fetch = real; }")
    assert page.evaluate("capture.flush(300)") is False
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    reader.settle()
    assert set(reader.stored()) >= set(reader.sealed)
