"""Score in a real browser: a reader's turn, your own mouse, your own answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_space.demo_data import DemoData
from ifllm_space.explore.first_screen import opening
from tests.helpers.spaces.accessibility import serious_faults

VIEW = ".ifllm-score"
REPLAY = "document.querySelector('.ifllm-score').replay"
SAYS = [
    "The mouse stayed on B during the last tenth of reading: +8 points for B",
    "The eyes were on A for 5.5 s and on B for 3.5 s of the first nine tenths of reading: "
    "+1 point for A",
]
WITH_TRAINED = """async ([root, says]) => {
  const { show } = await import(new URL('page/score/score.js', document.baseURI));
  const element = document.querySelector(root);
  const view = structuredClone(element.replay.view);
  view.rewards.model = { name: 'tiny', text: 0.5, behavior: 0.6, says, tokens: [] };
  show(element.parentElement, JSON.stringify(view), () => {});
}"""


def opened(context: Any, url: str, theme: str = "light") -> Any:
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(f"{url}?__theme={theme}")
    page.get_by_role("tab", name="Score").click()
    page.wait_for_selector(f"{VIEW}[data-turn]", timeout=30_000)
    return page


@pytest.fixture
def page(context: Any, space_url: str) -> Iterator[Any]:
    page = opened(context, space_url)
    yield page
    assert page.faults == []


def bars(page: Any) -> list[list[int]]:
    """The two rewards: percent for A, percent for B."""
    texts = page.locator(f"{VIEW} .ifllm-bar").evaluate_all(
        "bars => bars.map(b => [...b.querySelectorAll('.ifllm-side')].map(s => s.textContent))"
    )
    return [[int(side.split()[1]) for side in sides] for sides in texts]


def record(page: Any, *sides: str) -> None:
    """Read the middle of the named answers with the mouse, one after the other."""
    page.get_by_role("button", name="Record my own mouse").click()
    for side in sides:
        box = page.locator(f"{VIEW} [data-response={side}]")
        box.scroll_into_view_if_needed()
        place = box.bounding_box()
        for step in range(8):
            page.mouse.move(place["x"] + 30 + 12 * step, place["y"] + 30 + 6 * step)
            page.wait_for_timeout(60)
    page.get_by_role("button", name="Stop and score").click()


def wait_for_own(page: Any) -> None:
    page.wait_for_function(f"document.querySelector('{VIEW}').dataset.turn.startsWith('you')")


def test_both_rewards_say_what_they_are(page: Any, demo_data: DemoData) -> None:
    text, both = bars(page)
    assert sum(text) == sum(both) == 100
    said = page.locator(VIEW).inner_text()
    assert "from the words alone" in said and "towards the end of reading" in said
    assert f"fitted on {demo_data.reward.trained_on.pairs} pairs" in said
    assert "made-up data" in said
    turn = demo_data.turn(opening(demo_data).query_id)
    reader = demo_data.reader_names[turn["user_id"]]
    assert f"{reader} preferred {turn['preference'].upper()}." in said
    moved = page.locator(f"{VIEW} .ifllm-lead").inner_text()
    assert f"Words alone guess {'A' if text[0] > text[1] else 'B'} ({max(text)} %)" in moved
    assert "What moved it most: " in moved and moved.endswith(("for A.", "for B."))


def test_it_opens_on_the_turn_of_explore(page: Any) -> None:
    def shown() -> str:
        return str(page.get_attribute(".ifllm-explore", "data-query"))

    assert page.get_attribute(VIEW, "data-turn").endswith(f" {shown()}")
    page.get_by_role("tab", name="Explore").click()
    before = shown()
    page.get_by_role("button", name="Surprise me").first.click()
    page.wait_for_function(f"document.querySelector('.ifllm-explore').dataset.query !== '{before}'")
    page.get_by_role("tab", name="Score").click()
    page.wait_for_function(f"document.querySelector('{VIEW}').dataset.turn.endsWith(' {shown()}')")


def test_reward_follows_the_replay(page: Any) -> None:
    at_end = bars(page)
    page.evaluate(f"{REPLAY}.seek({REPLAY}.end / 4)")
    early = bars(page)
    assert "had reading ended at" in page.locator(f"{VIEW} .ifllm-bar").nth(1).inner_text()
    assert early[0] == at_end[0]  # the words stay what they are
    seen = set()
    for part in range(20):
        page.evaluate(f"{REPLAY}.seek({REPLAY}.end * {part} / 20)")
        seen.add(bars(page)[1][1])
    assert len(seen) > 2
    page.evaluate(f"{REPLAY}.seek({REPLAY}.end)")
    assert bars(page) == at_end


COLOURED = """(root) => document.querySelector(root).replay.layers.map(layer => {
  const { width, height } = layer.canvas;
  const data = layer.canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let n = 0;
  for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
  return n;
})"""


def test_words_and_passages_that_moved_it_are_coloured_and_listed(page: Any) -> None:
    heat = page.evaluate(COLOURED, VIEW)
    colour = page.locator(VIEW).get_by_label("Colour")
    colour.select_option(label="words that moved the text reward")
    words = page.evaluate(COLOURED, VIEW)
    colour.select_option(label="passages where behaviour moved it")
    passages = page.evaluate(COLOURED, VIEW)
    assert max(words) > 0 and max(passages) > 0
    assert len({tuple(heat), tuple(words), tuple(passages)}) == 3
    lists = page.locator(f"{VIEW} .ifllm-moved section")
    assert lists.count() == 3
    for k in range(3):
        assert "points for" in lists.nth(k).inner_text()


def test_own_mouse_is_scored_and_never_stored(page: Any, space_sessions: Path) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    text, _ = bars(page)
    record(page, "A", "B")
    wait_for_own(page)
    said = page.locator(VIEW).inner_text()
    assert "is not stored" in said and "your own mouse" in said
    assert bars(page)[0] == text  # the same words
    assert sum('"ticks"' in body for body in sent) == 1  # once, when it was stopped
    on = page.evaluate(f"{REPLAY}.view.ticks.mouse.on")
    assert {0, 1} <= set(on) and on.index(0) < on.index(1)
    assert page.evaluate(f"{REPLAY}.view.ticks.gaze.on.every(on => on === -2)")
    assert not space_sessions.exists()


def test_recorded_character_is_the_one_under_the_mouse(page: Any) -> None:
    page.get_by_role("button", name="Record my own mouse").click()
    page.locator(f"{VIEW} [data-response=B]").scroll_into_view_if_needed()
    x, y = page.evaluate(
        f"""() => {{
          const layer = {REPLAY}.layers[1];
          const range = document.createRange();
          const [node, start, end] = layer.glyphs[40];
          range.setStart(node, start);
          range.setEnd(node, end);
          const r = range.getBoundingClientRect();
          return [(r.left + r.right) / 2, (r.top + r.bottom) / 2];
        }}"""
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(150)
    page.get_by_role("button", name="Stop and score").press("Enter")  # the mouse stays
    wait_for_own(page)
    mouse = page.evaluate(f"{REPLAY}.view.ticks.mouse")
    assert (mouse["on"][-1], mouse["char"][-1]) == (1, 40)


def test_mouse_that_was_on_no_answer_is_not_scored(page: Any) -> None:
    page.get_by_role("button", name="Record my own mouse").click()
    page.mouse.move(5, 5)
    page.wait_for_timeout(80)
    page.get_by_role("button", name="Stop and score").click()
    page.get_by_text("The mouse was never on an answer").wait_for()
    assert max(page.evaluate(COLOURED, VIEW)) > 0  # the reader's colours are back
    assert not page.get_attribute(VIEW, "data-turn").startswith("you")


def test_own_answers_are_scored_as_text_and_then_read(page: Any) -> None:
    evil = "<img src=x onerror='window.hacked=1'> The sky scatters blue light."
    page.get_by_label("Two answers of my own").check()
    page.get_by_role("textbox", name="Question").fill("Why is the sky blue?")
    page.get_by_role("textbox", name="Answer A").fill(evil)
    page.get_by_role("textbox", name="Answer B").fill(
        "Because of the sea. 🙂 It mirrors the water."
    )
    page.get_by_role("button", name="Score these answers").click()
    wait_for_own(page)
    assert "Nobody has read these answers yet." in page.locator(VIEW).inner_text()
    assert "no behaviour to score" in page.locator(f"{VIEW} .ifllm-bar").nth(1).inner_text()
    assert page.locator(f"{VIEW} [data-response=A]").evaluate("e => e.textContent") == evil
    record(page, "B")
    page.wait_for_function(f"{REPLAY}.view.rewards.behavior !== null")
    assert bars(page)[1][1] > bars(page)[0][1]  # made-up readers end on what they like
    assert page.evaluate("window.hacked ?? null") is None


def test_empty_answer_is_refused_in_words(page: Any) -> None:
    page.get_by_label("Two answers of my own").check()
    page.get_by_role("textbox", name="Answer A").fill("")
    page.get_by_role("button", name="Score these answers").click()
    page.get_by_text("An answer is empty").first.wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault(context: Any, space_url: str, theme: str) -> None:
    page = opened(context, space_url, theme)
    page.get_by_label("Two answers of my own").check()
    page.get_by_role("button", name="Score these answers").wait_for()
    assert serious_faults(page) == []


def test_fits_a_phone(chromium: Any, space_url: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    try:
        page = opened(context, space_url)
        page.evaluate(WITH_TRAINED, [VIEW, SAYS])
        under = page.locator(f"{VIEW} .ifllm-bar").nth(3).locator("li")
        assert under.all_inner_texts() == SAYS
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        outside = page.evaluate(
            """(root) => [...document.querySelectorAll(root + ' *')]
              .filter(e => e.checkVisibility() && e.getClientRects().length)
              .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
              .map(e => e.outerHTML.slice(0, 120))""",
            VIEW,
        )
        assert outside == []
    finally:
        context.close()
