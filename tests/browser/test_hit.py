"""The character under a point: exact on every word of real answers, however the page is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ifllm_hf.data.raw.csv_tables import QUERY_LOGS
from ifllm_hf.data.rendered.markdown_source import render_markdown

MADE_UP = """# Ünïcode & *emphasis* with `code`

A first paragraph with **bold words**, a [link](https://example.org) and &amp; an entity; it is long
enough to break over several lines on every screen that we try.

- Emoji: 👍🏽 thumbs, 👨‍👩‍👧‍👦 family, 🇩🇪 flag, e\u0301 accent, 🙂🙃 twins
- *Nested*
  1. one
  2. two \\* escaped

| Language | Typing   | Since 🗓️ |
|:---------|:--------:|---------:|
| Python   | dynamic  |     1991 |
| Rust     | static ✅ |     2015 |

```python
def f(x):  # a very long line of code that has to be scrolled sideways to be read to its very end
    return x ** 2
```

> A quotation. 混ぜた文字 and العربية in one line.
"""
SCREENS = {
    "80 %": {"viewport": {"width": 1250, "height": 900}, "device_scale_factor": 0.8},
    "100 %": {"viewport": {"width": 1000, "height": 720}},
    "125 %": {"viewport": {"width": 800, "height": 576}, "device_scale_factor": 1.25},
    "150 %": {"viewport": {"width": 667, "height": 480}, "device_scale_factor": 1.5},
    "390 px": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 3,
        "is_mobile": True,
        "has_touch": True,
    },
}
# For every word: the middle glyph is looked for by its own rectangle, scrolled into view, and hit.
EVERY_WORD = """async html => {
  const box = document.querySelector('[data-response=A]');
  box.innerHTML = html;
  box.scrollTop = 0;
  const range = document.createRange();
  const letters = new Intl.Segmenter(undefined, {granularity: 'grapheme'});
  const found = [];
  for (const run of box.querySelectorAll('[data-s]')) {
    const text = run.firstChild;
    for (const word of text.data.matchAll(/\\S+/g)) {
      const glyphs = [...letters.segment(word[0])];
      const glyph = glyphs[Math.floor(glyphs.length / 2)];
      const start = word.index + glyph.index;
      const rectangle = () => {
        range.setStart(text, start);
        range.setEnd(text, start + glyph.segment.length);
        return [...range.getClientRects()].find(r => r.width > 0 && r.height > 0);
      };
      let r = rectangle();
      if (!r) { found.push([word[0], 'no rectangle']); continue; }
      const inside = () => {
        const x = r.left + r.width / 2, y = r.top + r.height / 2;
        return document.elementFromPoint(x, y)?.closest('[data-s]') === run;
      };
      if (!inside()) {
        const edge = box.getBoundingClientRect();
        box.scrollTop += r.top - edge.top - box.clientHeight / 2;
        const pre = run.closest('pre');
        r = rectangle();
        if (pre) pre.scrollLeft += r.left - pre.getBoundingClientRect().left - pre.clientWidth / 2;
        box.scrollLeft += rectangle().left - edge.left - box.clientWidth / 2;
        r = rectangle();
        window.scrollBy(0, r.top - innerHeight / 2);
        window.scrollBy(rectangle().left - innerWidth / 2, 0);
        r = rectangle();
      }
      const x = r.left + r.width / 2, y = r.top + r.height / 2;
      const hit = hits.hit(x, y);
      const edge = box.getBoundingClientRect();
      const right = Number(run.dataset.s) + start;
      const ok = hit.response === 'A' && hit.offset === right && hit.distance === 0
        && Math.abs(hit.rx - (x - edge.left - box.clientLeft + box.scrollLeft)) < 0.01
        && Math.abs(hit.ry - (y - edge.top - box.clientTop + box.scrollTop)) < 0.01;
      found.push([word[0], ok ? null : `expected ${right}, hit ${JSON.stringify(hit)}`]);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module", params=list(SCREENS))
def page(request: Any, chromium: Any, capture_server: Any) -> Iterator[Any]:
    context = chromium.new_context(**SCREENS[request.param])
    page = context.new_page()
    page.goto(capture_server.url)
    page.wait_for_function("window.ready")
    yield page
    context.close()


def words_hit(page: Any, source: str) -> int:
    """Hit every word of an answer; return how many there were."""
    found = page.evaluate(EVERY_WORD, render_markdown(source))
    wrong = [(word, why) for word, why in found if why]
    assert not wrong, f"{len(wrong)} of {len(found)} words: {wrong[:5]}"
    return len(found)


def test_made_up_answer_with_everything(page: Any) -> None:
    assert words_hit(page, MADE_UP) > 80


def test_browser_without_caret_positions(page: Any) -> None:
    """Older Safari knows ranges alone."""
    known = "Document.prototype.caretPositionFromPoint"
    page.evaluate(f"() => {{ window.saved = {known}; {known} = undefined; }}")
    try:
        assert words_hit(page, MADE_UP) > 80
    finally:
        page.evaluate(f"() => {{ {known} = window.saved; }}")


def test_page_that_is_zoomed_by_its_own_style(page: Any) -> None:
    page.evaluate("document.documentElement.style.zoom = 1.3")
    try:
        assert words_hit(page, MADE_UP) > 80
    finally:
        page.evaluate("document.documentElement.style.zoom = ''")


def test_blank_between_and_beside_words_tells_its_distance(page: Any) -> None:
    """The caret of a blank is the nearest letter's; only the distance says that nobody read it."""
    page.evaluate(EVERY_WORD, render_markdown("Short.\n\nNext paragraph"))
    far = page.evaluate(
        """() => {
          const box = document.querySelector('[data-response=A]');
          box.scrollTop = 0;
          const r = box.querySelector('[data-s]').getBoundingClientRect();
          const at = (x, y) => hits.hit(r.left + x, r.top + y);
          return [at(r.width + 100, 5), at(5, r.height + 9), at(-6, 5)];
        }"""
    )
    beside, below, before = far
    assert (beside["offset"], beside["distance"]) == (5, pytest.approx(100, abs=0.5))
    assert below["distance"] >= 8
    assert (before["offset"], before["distance"]) == (0, pytest.approx(6, abs=0.5))


def test_twenty_real_answers(page: Any, release_cells: Any) -> None:
    logs = release_cells[QUERY_LOGS]
    answers = sorted({*logs["llm_response_1"], *logs["llm_response_2"]} - {None, ""})
    tables = [a for a in answers if "|--" in a or "| --" in a]
    emoji = [a for a in answers if any(char > "\uffff" for char in a)]
    chosen = tables[:: max(1, len(tables) // 4)][:4] + emoji[:: max(1, len(emoji) // 4)][:4]
    chosen += answers[:: len(answers) // 12][:12]
    assert len(chosen) == 20
    assert sum(words_hit(page, answer) for answer in chosen) > 2000
