"""The same steps in Chromium, Firefox and WebKit: what is recorded and drawn is the same.

What no engine here can tell: Safari itself and iOS, a camera, a phone's fingers.
"""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from tests.helpers.engines.browser import Browser
from tests.helpers.engines.recorded_page import RecordedPage
from tests.helpers.spaces.running import Space, wait_until

pytestmark = pytest.mark.slow
SCALE = 2  # device pixels per CSS pixel, as on most screens that people read on
OFFSET = 8  # where a `p` event has it
SETTLED_S = 0.5  # a page that has just changed is busy
RESTS_S = 0.2  # long enough to be sampled

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
    const range = document.createRange();
    const origin = layer.sheet.getBoundingClientRect(), dots = devicePixelRatio;
    const paper = layer.canvas.getContext("2d");
    for (let i = 0; i < layer.length; i++) {
      const glyph = layer.glyphs[i];
      if (!glyph) continue; // a mark of Markdown
      range.setStart(glyph[0], glyph[1]);
      range.setEnd(glyph[0], glyph[2]);
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


def test_the_middle_of_forty_words_is_hit_exactly(browser: Browser, recorded: RecordedPage) -> None:
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
        lambda: offset in [event[OFFSET] for event in recorded.events() if event[0] == "p"],
        "it arrives",
    )


def test_heat_lies_on_its_glyphs(browser: Browser, space: Space) -> None:
    browser.resize(900, 800)
    browser.open(space.url)
    open_tab(browser, "Explore")
    browser.wait("!!document.querySelector('.ifllm-explore[data-query]')?.replay?.layers?.[0]?.box")
    guesses = "[...document.querySelectorAll('.ifllm-explore .ifllm-story li')].length"
    assert browser.js(guesses) == 3
    glyphs, astray, warm, bare = browser.js(HEAT)
    assert glyphs > 200 and warm > 20
    assert (astray, bare) == (0, 0)
