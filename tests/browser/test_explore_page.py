"""Explore in a real browser: what is drawn is what was recorded, by mouse, keyboard and phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.first_screen import opening
from tests.helpers.made_up_sessions import write_sessions
from tests.helpers.spaces.accessibility import serious_faults

VIEW = ".ifllm-explore"
REPLAY = "document.querySelector('.ifllm-explore').replay"


def opened(context: Any, url: str, theme: str = "light", turn: str | None = None) -> Any:
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "request", lambda request: page.faults.append(request.url) if not _own(request) else None
    )
    page.goto(f"{url}?{urlencode({'__theme': theme} | ({'turn': turn} if turn else {}))}")
    page.wait_for_selector(f"{VIEW}[data-query]", timeout=30_000)
    return page


def _own(request: Any) -> bool:
    return request.url.startswith(("http://localhost:", "data:", "blob:"))


@pytest.fixture
def page(context: Any, space_url: str) -> Iterator[Any]:
    page = opened(context, space_url)
    yield page
    assert page.faults == []  # no error of a script, no request to anybody else


def shown(page: Any) -> int:
    return int(page.get_attribute(VIEW, "data-query"))


# What stands where each character of an answer is drawn; null for marks of Markdown.
SAID = f"""() => {REPLAY}.layers.map((layer) => [
  Array.from({{ length: layer.length }}, (_, i) => {{
    const glyph = layer.glyphs[i];
    return glyph ? glyph[0].data.slice(glyph[1], glyph[2]) : null;
  }}),
  layer.length,
])"""


def test_texts_ratings_and_preference_are_shown(page: Any, demo_data: DemoData) -> None:
    turn = demo_data.turn(shown(page))
    opens = opening(demo_data)
    assert turn["query_id"] == opens.query_id
    assert opens.rule in page.locator(VIEW).inner_text()
    for side, (said, n) in enumerate(page.evaluate(SAID)):
        text = turn[f"response_{'ab'[side]}"]
        shown_chars = {i: said[i] for i in range(n) if said[i] is not None}
        assert all(text[i] == char for i, char in shown_chars.items())
        assert sum(not char.isspace() for char in shown_chars.values()) > 0.8 * len(text.split())
    liked = page.locator(f"{VIEW} .ifllm-liked")
    assert liked.count() == 1
    assert f"Answer {turn['preference'].upper()}" in liked.inner_text()
    assert f"{turn['likert_a']} of 5" in page.locator(f"{VIEW} .ifllm-answer").first.inner_text()


def test_colour_rests_where_the_features_say(page: Any, demo_data: DemoData) -> None:
    known = demo_data.features.row(by_predicate=pl.col("query_id") == shown(page), named=True)
    for channel in ("gaze", "mouse"):
        sums = page.evaluate(
            f"{REPLAY}.dwell.ms['{channel}'].map(v => v.reduce((x, y) => x + y, 0))"
        )
        for side, ms in zip("ab", sums, strict=True):
            assert ms == pytest.approx(known[f"{channel}_dwell_ms_{side}"], abs=2)


PIXELS = """([channel, below]) => {
  const replay = document.querySelector('.ifllm-explore').replay;
  const values = replay.smoothed(channel);
  let side = 0, char = 0, most = -1;
  values.forEach((v, s) => v.forEach((x, i) => {
    const box = replay.layers[s].box;
    if (x > most && box[4 * i + 2] > box[4 * i]) { most = x; side = s; char = i; }
  }));
  const layer = replay.layers[side];
  const [left, top, right, bottom] = layer.box.subarray(4 * char, 4 * char + 4);
  const scale = window.devicePixelRatio;
  const x = Math.round((left + right) / 2 * scale);
  const y = Math.round((below ? bottom + 2 : (top + bottom) / 2) * scale);
  return [...layer.canvas.getContext('2d').getImageData(x, y, 1, 1).data];
}"""


def test_most_looked_at_is_orange_and_most_pointed_at_is_underlined_blue(page: Any) -> None:
    red, green, blue, alpha = page.evaluate(PIXELS, ["gaze", False])
    assert alpha > 60 and red > green > blue
    red, green, blue, alpha = page.evaluate(PIXELS, ["mouse", True])
    assert alpha > 60 and blue > green > red
    page.get_by_label("Mouse", exact=True).first.uncheck()
    red, green, blue, alpha = page.evaluate(PIXELS, ["mouse", True])
    assert not (alpha > 60 and blue > red)


# Other engines give the first glyph of a wrapped line a second rectangle, without width, at the end
# of the line before: its bounding box is then two lines high.
TWO_LINES_HIGH = """
const rects = Range.prototype.getClientRects;
const bounding = Range.prototype.getBoundingClientRect;
const before = (range) => {
  if (!range.startOffset || range.startContainer !== range.endContainer) return null;
  const other = range.cloneRange();
  other.setStart(range.startContainer, range.startOffset - 1);
  other.setEnd(range.startContainer, range.startOffset);
  const [a, b] = [bounding.call(other), bounding.call(range)];
  return a.bottom <= b.top + 1 && b.width ? new DOMRect(a.right, a.top, 0, a.height) : null;
};
Range.prototype.getClientRects = function () {
  const extra = before(this);
  return extra ? [extra, ...rects.call(this)] : rects.call(this);
};
Range.prototype.getBoundingClientRect = function () {
  const [extra, at] = [before(this), bounding.call(this)];
  if (!extra) return at;
  window.wrapped = (window.wrapped ?? 0) + 1;
  return new DOMRect(at.left, extra.top, extra.right - at.left, at.bottom - extra.top);
};
"""

GLYPHS = f"""() => {REPLAY}.layers.flatMap((layer) => {{
  const of = (i) => [...layer.box.subarray(4 * i, 4 * i + 4)];
  return Array.from({{ length: layer.length }}, (_, i) => [layer.top(i), ...of(i)]);
}})"""


def test_heat_stands_where_glyphs_are_however_an_engine_boxes_them(
    page: Any, context: Any, space_url: str
) -> None:
    right = page.evaluate(GLYPHS)
    heights = [bottom - top for _, left, top, right_px, bottom in right if right_px > left]
    assert max(heights) < 1.5 * min(heights)
    context.add_init_script(TWO_LINES_HIGH)
    other = opened(context, space_url)
    assert other.evaluate(GLYPHS) == right
    other.evaluate(
        f"""() => {{
          const range = document.createRange();
          for (const [node, start, end] of {REPLAY}.layers[0].glyphs.filter(Boolean)) {{
            range.setStart(node, start); range.setEnd(node, end); range.getBoundingClientRect();
          }}
        }}"""
    )
    assert other.evaluate("window.wrapped") > 3  # the page met such glyphs


@pytest.mark.parametrize("width", [390, 320])
def test_no_column_is_cut_on_a_phone(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(f"{VIEW} .ifllm-features summary").click()
    cut = """[...document.querySelectorAll(".ifllm-explore .ifllm-wide")]
      .map((table) => table.scrollWidth - table.clientWidth)"""
    assert page.evaluate(cut) == [0, 0]


def test_gaze_is_spread_as_far_as_a_webcam_is_off(page: Any) -> None:
    def reach() -> int:
        """Characters with any gaze on them."""
        return int(
            page.evaluate(
                f"{REPLAY}.smoothed('gaze').flatMap(v => [...v]).filter(x => x > 0).length"
            )
        )

    wide = reach()
    assert page.evaluate(f"{REPLAY}.errorChars") == 139
    page.locator(VIEW).get_by_label("Gaze drawn").select_option(label="as recorded")
    assert reach() < wide
    assert "1.4 to 2.9 lines" in page.locator(f"{VIEW} .ifllm-legend").inner_text()
    assert "100 to 200 px" in page.locator(f"{VIEW} .ifllm-how").text_content()


def test_smoothing_keeps_the_sum_and_the_middle(page: Any) -> None:
    found = page.evaluate(
        """async () => {
          const { smooth } = await import(new URL('page/explore/dwell.js', document.baseURI));
          const one = new Float32Array(401); one[200] = 1000;
          const edge = new Float32Array(50); edge[0] = 10; edge[49] = 5;
          const s = smooth(one, 20);
          let variance = 0;
          s.forEach((v, i) => { variance += v / 1000 * (i - 200) ** 2; });
          return [s.reduce((x, y) => x + y), s.indexOf(Math.max(...s)), Math.sqrt(variance),
                  smooth(edge, 30).reduce((x, y) => x + y)];
        }"""
    )
    assert found[0] == pytest.approx(1000, rel=1e-3) and found[1] == 200
    assert found[2] == pytest.approx(20, rel=0.05)
    assert found[3] == pytest.approx(15, rel=1e-3)


def test_heat_at_a_moment_counts_what_was_before_it(page: Any) -> None:
    both = page.evaluate(
        f"""() => {{
          const replay = {REPLAY};
          const total = () => replay.dwell.ms.mouse.flatMap(v => [...v]).reduce((x, y) => x + y, 0);
          replay.seek(replay.end / 3); const third = total();
          replay.seek(replay.end); const all = total();
          replay.seek(replay.end / 3); const back = total();
          replay.seek(0); return [third, all, back, total()];
        }}"""
    )
    third, everything, back, nothing = both
    assert third == back and nothing == 0 and third < everything


def test_replay_by_keyboard(page: Any) -> None:
    page.locator(VIEW).get_by_label("Speed").select_option("16")
    button = page.locator(f"{VIEW} .ifllm-play")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{REPLAY}.playing && {REPLAY}.t > 500")
    assert button.inner_text() == "Pause"
    page.keyboard.press("Enter")
    assert button.inner_text() == "Play"
    at = page.evaluate(f"{REPLAY}.t")
    slider = page.locator(VIEW).get_by_label("Moment")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{REPLAY}.t") > at
    page.keyboard.press("Home")
    assert page.evaluate(f"{REPLAY}.t") == 0
    page.keyboard.press("End")
    assert page.evaluate(f"{REPLAY}.t === {REPLAY}.end")
    assert "the whole turn" in slider.get_attribute("aria-valuetext")


def test_click_on_the_timeline_seeks(page: Any) -> None:
    line = page.locator(f"{VIEW} .ifllm-timeline")
    line.scroll_into_view_if_needed()
    box = line.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 30)
    t, end = page.evaluate(f"[{REPLAY}.t, {REPLAY}.end]")
    assert 0.4 * end < t < 0.6 * end


def test_buttons_walk_through_the_turns(page: Any, demo_data: DemoData) -> None:
    ids = demo_data.index["query_id"].to_list()
    here = ids.index(shown(page))
    for name, want in (
        ("Next turn", here + 1),
        ("Previous turn", here),
        ("Previous turn", here - 1),
    ):
        page.get_by_role("button", name=name).first.click()
        page.wait_for_function(f"document.querySelector('{VIEW}').dataset.query === '{ids[want]}'")
        assert page.url.endswith(f"turn={ids[want]}")
    reader = demo_data.index.row(here - 1, named=True)["user_id"]
    said = page.locator(VIEW).inner_text()
    assert demo_data.reader_names[reader] in said and reader not in said


def test_address_names_a_turn(context: Any, space_url: str, demo_data: DemoData) -> None:
    other = int(demo_data.index["query_id"][0])
    page = opened(context, space_url, turn=str(other))
    assert shown(page) == other
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text(f"{space_url}?turn={other}").wait_for()
    page = opened(context, space_url, turn="<b>no</b>")
    assert shown(page) == opening(demo_data).query_id
    assert "no turn <b>no</b> here" in page.locator(f"{VIEW} .ifllm-notice").inner_text()
    assert "turn=" not in page.url


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_first_screen_plays_once_and_shows_what_is_what(
    chromium: Any, space_url: str, size: tuple[int, int]
) -> None:
    context = chromium.new_context(viewport=dict(zip(("width", "height"), size, strict=True)))
    try:
        page = opened(context, space_url)
        page.wait_for_function(f"{REPLAY}.playing && {REPLAY}.t > 0")
        for part in (".ifllm-play", ".ifllm-legend", ".ifllm-story", ".ifllm-answer"):
            box = page.locator(f"{VIEW} {part}").first.bounding_box()
            assert box["y"] >= 0 and (
                part == ".ifllm-answer" or box["y"] + box["height"] <= size[1]
            )
            assert box["y"] < size[1]
        page.mouse.wheel(0, 10)
        page.wait_for_function(f"!{REPLAY}.playing && {REPLAY}.t < {REPLAY}.end")
        before = shown(page)
        page.get_by_role("button", name="Next turn").first.click()
        page.wait_for_function(f"document.querySelector('{VIEW}').dataset.query !== '{before}'")
        assert not page.evaluate(f"{REPLAY}.playing")
    finally:
        context.close()


def test_reader_is_picked_by_keyboard(page: Any, demo_data: DemoData) -> None:
    before = shown(page)
    here = demo_data.turn(before)["user_id"]
    other = next(name for user, name in demo_data.reader_names.items() if user != here)
    page.get_by_role("button", name="Choose a reader").first.click()
    picker = page.get_by_role("combobox", name="Reader").first
    picker.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type(f"{other} (")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('{VIEW}').dataset.query !== '{before}'")
    assert other in page.locator(f"{VIEW} .ifllm-question").inner_text()


def test_hostile_text_stays_text(page: Any) -> None:
    evil = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    found = page.evaluate(
        """async ([selector, evil]) => {
          const { show } = await import(new URL('page/explore/explore.js', document.baseURI));
          const root = document.querySelector(selector);
          const answer = { text: evil, model: evil, likert: 3, liked: true, side: 'a' };
          const view = { query_id: evil, reader: evil, conversation: evil, turn: 1, domain: evil,
            prompt: evil, answers: [answer], preference: null, better_than_previous: null,
            reading_end_source: null, tick_cap_ms: 1000,
            gaze_error: [1, 2, 3].map(() => ({ px: 1, lines: 1, chars: 1 })),
            ticks: { t_ms: [], phase: [], gaze: {on: [], char: []}, mouse: {on: [], char: []} },
            features: [{ name: evil, says: evil, formula: evil, unit: evil, values: [1], own: 1,
              others: 1, everyone: [1, 1, 1] }] };
          show(root.parentElement, JSON.stringify(view));
          await new Promise(r => setTimeout(r, 200));
          return [root.textContent.split(evil).length - 1,
                  root.querySelectorAll('img, script').length, window.hacked ?? null];
        }""",
        [VIEW, evil],
    )
    assert found[0] >= 5 and found[1:] == [0, None]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(context: Any, space_url: str, theme: str) -> None:
    page = opened(context, space_url, theme)
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert serious_faults(page) == []


# Everything that has words must lie inside the page, and nothing may need to scroll sideways.
OUTSIDE = """(root) => [...document.querySelectorAll(root + ' *')]
  .filter(e => e.checkVisibility() && e.getClientRects().length && !e.closest('.ifllm-wide'))
  .filter(e => {
    const r = e.getBoundingClientRect();
    return r.left < -1 || r.right > innerWidth + 1;
  })
  .map(e => e.outerHTML.slice(0, 120))"""


def test_fits_a_phone(chromium: Any, space_url: str) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, reduced_motion="reduce"
    )
    try:
        page = opened(context, space_url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate(OUTSIDE, VIEW) == []
        boxes = page.locator(f"{VIEW} .ifllm-answer").evaluate_all(
            "e => e.map(x => x.getBoundingClientRect().top)"
        )
        assert boxes[1] > boxes[0] + 100  # one below the other
        size = page.locator(f"{VIEW} .ifllm-text").first.evaluate(
            "e => parseFloat(getComputedStyle(e).fontSize)"
        )
        assert size >= 16
        page.locator(f"{VIEW} .ifllm-play").tap()
        page.wait_for_function(f"{REPLAY}.t > 0")
        assert serious_faults(page) == []
        page.goto(f"{space_url}?tab=about")
        page.get_by_role("link", name="arXiv:2606.20482").wait_for()
        assert serious_faults(page, ".ifllm-about") == []
    finally:
        context.close()


def test_operator_on_this_machine_sees_the_collected_sessions(
    page: Any, space_sessions: Path
) -> None:
    page.get_by_role("tab", name="Collected sessions").click()
    read = page.get_by_role("button", name="Read the sessions")
    read.click()
    page.get_by_text("There is nothing to show").wait_for()
    write_sessions(space_sessions, 1)
    try:
        read.click()
        page.wait_for_function(f"document.querySelectorAll('{VIEW}[data-query]').length === 2")
        assert "There is nothing to show" not in page.content()
    finally:
        shutil.rmtree(space_sessions)


def test_strangers_are_not(page: Any, context: Any, space_url: str) -> None:
    stranger = context.browser.new_context(extra_http_headers={"x-forwarded-for": "10.0.0.7"})
    try:
        other = opened(stranger, space_url)
        other.wait_for_timeout(500)
        assert other.get_by_role("tab", name="Collected sessions").count() == 0
    finally:
        stranger.close()
