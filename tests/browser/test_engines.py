"""The same steps in Chromium, Firefox and WebKit: what is recorded, kept and drawn is the same.

What no engine here can tell: Safari itself and iOS, a camera, a phone's fingers.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from tests.helpers.engines.browser import Browser
from tests.helpers.missing import missing
from tests.helpers.spaces.running import CaptureServer, Space, wait_until

pytestmark = pytest.mark.slow
SCALE = 2  # device pixels per CSS pixel, as on most screens that people read on
OFFSET = 8  # where a `p` event has it
SETTLED_S = 0.5  # a page that has just changed is busy
RESTS_S = 0.2  # long enough to be sampled
SEALED_S = 3  # a batch is sealed every two seconds

TABS = """[...document.querySelectorAll("button[role=tab]")].filter(b => b.offsetParent)"""
BUTTON = """[...document.querySelectorAll(".ifllm-collect:not([hidden]) button")]
  .find(b => b.textContent.trim() === {name!r})"""
LABEL = """[...document.querySelectorAll(".ifllm-collect:not([hidden]) label")]
  .find(l => l.textContent.includes({text!r}))?.querySelector("input")"""

# Words in the part of box A that is on the screen: the middle of a glyph, and its offset.
GLYPHS = """(count) => {
  const box = [...document.querySelectorAll("[data-response=A]")].find(b => b.offsetParent);
  const edge = box.getBoundingClientRect();
  const range = document.createRange(), found = [];
  for (const run of box.querySelectorAll("[data-s]")) {
    const text = run.firstChild;
    for (const word of text.data.matchAll(/[a-z]{4,}/gi)) {
      const at = word.index + Math.floor(word[0].length / 2);
      range.setStart(text, at);
      range.setEnd(text, at + 1);
      const r = [...range.getClientRects()].find(r => r.width > 0);
      const top = Math.max(0, edge.top) + 2, bottom = Math.min(innerHeight, edge.bottom) - 2;
      if (!r || r.top < top || r.bottom > bottom) continue;
      found.push([r.x + r.width / 2, r.y + r.height / 2, Number(run.dataset.s) + at]);
    }
  }
  return found.slice(0, count);
}"""

# At the end of the turn: [glyphs, of them with a box that is not theirs, glyphs that the pointer
# rested on, of them without a line under them].
HEAT = """(() => {
  const replay = document.querySelector(".ifllm-explore").replay;
  replay.seek(replay.end);
  const count = [0, 0, 0, 0];
  for (const [side, layer] of replay.layers.entries()) {
    const node = layer.run.firstChild, range = document.createRange();
    const origin = layer.sheet.getBoundingClientRect(), dots = devicePixelRatio;
    const paper = layer.canvas.getContext("2d");
    for (let i = 0; i < layer.length; i++) {
      range.setStart(node, layer.starts[i]);
      range.setEnd(node, layer.starts[i + 1]);
      const r = [...range.getClientRects()].find(r => r.width > 0);
      if (!r) continue;
      count[0] += 1;
      const right = [r.left - origin.left, r.top - origin.top, r.right - origin.left,
        r.bottom - origin.top];
      const drawn = layer.box.subarray(4 * i, 4 * i + 4);
      if (right.some((v, k) => Math.abs(v - drawn[k]) > 0.5)) count[1] += 1;
      if (!(replay.dwell.ms.mouse[side][i] > 0)) continue;
      count[2] += 1;
      const dot = [(right[0] + right[2]) / 2, right[3] + 1.5].map(v => Math.round(v * dots));
      if (!paper.getImageData(...dot, 1, 1).data[3]) count[3] += 1;
    }
  }
  return count;
})()"""


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def browser(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
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

            command = shutil.which("firefox-esr") or shutil.which("firefox")
            made = Firefox(command or missing("firefox-esr"), profile, SCALE)
        case _:
            from tests.helpers.engines.webkit import WebKit

            if not shutil.which("Xvfb"):
                missing("xvfb")
            driver = shutil.which("WebKitWebDriver")
            made = WebKit(driver or missing("webkit2gtk-driver"), SCALE)
    yield made
    made.stop()


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


@pytest.fixture
def recorded(browser: Browser, capture_server: CaptureServer) -> Callable[[], list[list[Any]]]:
    """Open a page that records; gives the events that have arrived."""
    session = capture_server.new()
    browser.resize(1000, 720)
    browser.open(f"{capture_server.url}#{session['session']},{session['token']}")
    browser.wait("window.ready")

    def events() -> list[list[Any]]:
        return [e for b in capture_server.batches(session["session"]) for e in b["events"]]

    return events


def open_tab(browser: Browser, name: str) -> None:
    browser.click_on(f"{TABS}.find(b => b.textContent.trim() === {name!r})")


def press(browser: Browser, name: str) -> None:
    browser.click_on(BUTTON.format(name=name))


def tick(browser: Browser, text: str) -> None:
    browser.click_on(LABEL.format(text=text))


def test_every_tab_opens_without_an_error(browser: Browser, space: Space) -> None:
    browser.resize(1200, 800)
    browser.open(space.url)
    browser.wait(f"{TABS}.length > 2")
    browser.js(
        """(window.faults = [],
        addEventListener("error", e => faults.push(String(e.message))),
        addEventListener("unhandledrejection", e => faults.push(String(e.reason))), 1)"""
    )
    names = browser.js(f"{TABS}.map(b => b.textContent.trim())")
    assert names[:3] == ["Explore", "Take part", "Score"] and len(names) > 3
    for name in names:
        open_tab(browser, name)
        browser.wait(
            """[...document.querySelectorAll("[role=tabpanel]")]
            .some(p => p.offsetParent && p.innerText.trim().length > 40)"""
        )
    assert browser.js("faults") == []


def test_a_whole_session_with_real_input(browser: Browser, space: Space, tmp_path: Path) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    browser.resize(1200, 900)
    browser.open(f"{space.url}?tab=take-part")
    tick(browser, "I am 18")
    tick(browser, "I have read this")
    press(browser, "Go on")
    tick(browser, "two answers")
    press(browser, "Begin")
    press(browser, "To the questions")
    browser.click_on("document.querySelector('input[name=question]')")
    press(browser, "Ask")
    browser.wait("!!document.querySelector('.ifllm-pair')?.offsetParent")
    glyphs = browser.wait(f"({GLYPHS})(12)")
    time.sleep(SETTLED_S)
    for x, y, _ in glyphs:
        browser.move(x, y)
        time.sleep(RESTS_S)
    box = browser.js(
        """(r => [r.x + r.width / 2, r.y + r.height / 2])
        (document.querySelector(".ifllm-pair [data-response=B]").getBoundingClientRect())"""
    )
    browser.wheel(*box, 120)
    for name, value in (("likert_a", 2), ("likert_b", 5), ("preference", "b")):
        browser.click_on(f"document.querySelector('input[name={name}][value=\"{value}\"]')")
    press(browser, "Send the rating")
    press(browser, "Finish")
    browser.click_on("document.querySelector('.ifllm-collect:not([hidden]) textarea')")
    browser.type("That maps are old.")
    press(browser, "Finish")
    code = browser.wait("document.querySelector('[data-code]')?.innerText")
    assert len(code.replace("-", "")) == 26

    (file,) = set(space.sessions.glob("s_*.jsonl")) - before
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    prepare(folder, tmp_path / "ifllm", progress=False)
    (turn,) = pl.read_parquet(
        config_files(tmp_path / "ifllm", "pairwise"), hive_partitioning=False
    ).to_dicts()
    assert (turn["likert_a"], turn["likert_b"], turn["preference"]) == (2, 5, "b")
    assert turn["reading_end_source"] == "rating_zone"
    read = [
        char
        for on, char, phase in zip(turn["mouse_on"], turn["mouse_char"], turn["phase"], strict=True)
        if on == "a" and phase == "reading"
    ]
    answer = turn["response_a"].encode("utf-16-le")
    aims = [len(answer[: 2 * offset].decode("utf-16-le")) for _, _, offset in glyphs]
    assert set(aims) <= set(read)


def test_the_middle_of_forty_words_is_hit_exactly(
    browser: Browser, recorded: Callable[[], list[list[Any]]]
) -> None:
    browser.resize(1400, 700)
    browser.wheel(200, 150, 100)
    browser.wait("document.querySelector('[data-response=A]').scrollTop > 50")
    browser.js("scrollTo(0, 40)")  # WebKitGTK's driver rolls the page late, if at all
    glyphs = browser.js(GLYPHS, 40)
    assert len(glyphs) == 40
    hits = browser.js(
        """(points) => points.map(([x, y]) => hits.hit(x, y))
        .map(h => [h.response, h.offset, h.distance])""",
        [[x, y] for x, y, _ in glyphs],
    )
    assert hits == [["A", offset, 0] for _, _, offset in glyphs]
    x, y, offset = glyphs[20]  # and so it is recorded
    browser.move(x, y, duration_ms=300)
    wait_until(
        lambda: offset in [event[OFFSET] for event in recorded() if event[0] == "p"], "it arrives"
    )


def test_what_was_not_sent_outlives_the_browser(
    browser: Browser, lasting: Any, capture_server: CaptureServer
) -> None:
    session = capture_server.new()
    address = f"{capture_server.url}#{session['session']},{session['token']}"

    def arrived() -> int:
        return len(capture_server.batches(session["session"]))

    def read_until(true: Callable[[], bool], what: str) -> None:
        steps = itertools.cycle(range(60))

        def read_on() -> bool:
            step = next(steps)
            lasting.move(60 + 9 * step, 160 + 2 * step)
            return true()

        wait_until(read_on, what, 30)

    lasting.open(address)
    read_until(lambda: arrived() > 0, "the page records")
    capture_server.stop()
    before, end = arrived(), time.monotonic() + SEALED_S
    # A page that can be asked need not be waited for.
    next_seq = lasting.js("capture.stats().sealed") if lasting is browser else None

    def sealed() -> bool:
        if lasting is not browser:
            return time.monotonic() > end
        lasting.js("capture.transport.seal()")
        kept = lasting.js("capture.transport.sender.backlog.entries()")
        return any(entry["seq"] >= next_seq for entry in kept)

    read_until(sealed, "a batch is sealed")
    lasting.kill()
    assert arrived() == before
    capture_server.start()
    lasting.open(address)
    wait_until(lambda: arrived() > before, "the backlog arrives", 30)


def test_a_server_that_dies_in_a_write_costs_nothing(
    browser: Browser, capture_server: CaptureServer
) -> None:
    browser.load("about:blank")  # a page of an earlier test would write too
    capture_server.stop()
    capture_server.start("--die-in-write", "2")
    session = capture_server.new()
    browser.open(f"{capture_server.url}#{session['session']},{session['token']}")
    browser.wait("window.ready")
    for step in itertools.count():
        browser.move(60 + 9 * (step % 60), 60 + 5 * (step % 40))
        browser.js("capture.transport.seal()")
        if capture_server.process is None or capture_server.process.poll() is not None:
            break
        assert step < 400, "no batch was written"
    browser.move(200, 200)
    browser.js("new Promise(done => setTimeout(done, 200))")
    browser.js("capture.transport.seal()")
    capture_server.start()
    browser.js("dispatchEvent(new Event('online'))")
    browser.wait("capture.stats().pending === 0", timeout_s=30)
    batches = capture_server.batches(session["session"])
    assert [batch["seq"] for batch in batches] == list(range(browser.js("capture.stats().sealed")))


def test_a_page_that_was_left_stops_no_later_one(
    browser: Browser, recorded: Callable[[], list[list[Any]]]
) -> None:
    address = browser.js("location.href")
    # Longer writes than ours, as on a slow disk: the page is left while they are under way.
    entry = "{session: 'x', tab: 'x', seq, events: ['x'.repeat(200_000)]}"
    put = f"seq => capture.transport.sender.backlog.put({entry})"
    for writes in (0, 1, 12):
        browser.move(300, 200)
        browser.wait("capture.transport.events.length > 0")
        browser.js(f"void [...Array({writes}).keys()].forEach({put})")
        browser.open(address)
        browser.wait("window.ready")


def test_a_page_that_is_shown_again_sends_again(
    browser: Browser, recorded: Callable[[], list[list[Any]]], capture_server: CaptureServer
) -> None:
    browser.move(300, 200)
    browser.wait("capture.transport.events.length > 0")
    browser.load(f"{capture_server.url}page/page.css")  # within the site, so it may be put aside
    browser.js("void setTimeout(() => history.back(), 50)")
    browser.wait("window.ready")
    before = len(recorded())
    browser.move(320, 220)
    wait_until(
        lambda: any(event[0] == "p" for event in recorded()[before:]),
        "what is recorded now arrives",
    )


def test_a_closed_tab_delivers_its_last_moments(
    browser: Browser, recorded: Callable[[], list[list[Any]]]
) -> None:
    address = browser.js("location.href")
    browser.move(300, 200)
    browser.wait("capture.transport.events.length > 0")
    before = browser.js("capture.stats().events")
    browser.close_tab()
    wait_until(lambda: len(recorded()) >= before, "the beacon arrives")
    # Firefox may drop a beacon of the very end; it is not lost.
    browser.open(address)
    wait_until(
        lambda: ["v", "pagehide"] in [event[::2] for event in recorded()], "the backlog arrives"
    )


def test_heat_lies_on_its_glyphs(browser: Browser, space: Space) -> None:
    browser.resize(900, 800)
    browser.open(space.url)
    open_tab(browser, "Explore")
    browser.wait("!!document.querySelector('.ifllm-explore[data-query]')?.replay?.layers?.[0]?.box")
    glyphs, astray, warm, bare = browser.js(HEAT)
    assert glyphs > 200 and warm > 20
    assert (astray, bare) == (0, 0)
