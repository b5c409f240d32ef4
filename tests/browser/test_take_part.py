"""Somebody takes part in a real browser; it ends with a preference pair that TRL takes as it is."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.collected import CollectedSessions, open_sessions
from ifllm_hf.data.sessions.session_file import Session, read_session
from tests.helpers.spaces.accessibility import serious_faults
from tests.helpers.spaces.running import Space
from tests.helpers.spaces.taking_part import agree, ask, finish, rate

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# The n-th word of an answer that is on the screen: its middle, and where it stands in the source.
WORD = """([box, n]) => {
  const answer = document.querySelector(`.ifllm-pair [data-response="${box}"]`);
  const frame = answer.getBoundingClientRect();
  const words = [];
  for (const span of answer.querySelectorAll("[data-s]")) {
    for (const match of span.textContent.matchAll(/[a-z]{3,}/g)) {
      const range = document.createRange();
      range.setStart(span.firstChild, match.index);
      range.setEnd(span.firstChild, match.index + match[0].length);
      const at = range.getBoundingClientRect();
      if (range.getClientRects().length !== 1 || at.bottom > frame.bottom - 5) continue;
      words.push({ x: at.x + at.width / 2, y: at.y + at.height / 2, word: match[0],
                   first: Number(span.dataset.s) + match.index });
    }
  }
  return words[n % words.length];
}"""

FOCUSED = "document.activeElement.name || document.activeElement.innerText"


@pytest.fixture
def page(space: Space, context: Any) -> Any:
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(f"{space.url}?tab=take-part")
    page.get_by_role("heading", name="Take part").wait_for()
    yield page
    assert page.faults == []


def check_accessibility(page: Any, part: str = ".ifllm-collect:not([hidden])") -> None:
    assert serious_faults(page, part) == []


def session_of(space: Space, before: set[Path]) -> Path:
    (file,) = set(space.sessions.glob("s_*.jsonl")) - before
    return file


def read(space: Space, before: set[Path]) -> tuple[Session, CollectedSessions]:
    """Return the session that came since, and a folder of it alone."""
    file = session_of(space, before)
    opened = open_sessions(space.sessions)
    opened.sessions = [known for known in opened.sessions if known.session_id == file.stem]
    session = read_session(file)
    assert session is not None
    return session, opened


def test_from_consent_to_a_pair_for_trl(space: Space, page: Any, tmp_path: Path) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    check_accessibility(page)
    assert page.get_by_role("button", name="Go on").is_disabled()
    page.get_by_label("I am 18").check()
    assert page.get_by_role("button", name="Go on").is_disabled()
    assert set(space.sessions.glob("s_*.jsonl")) == before  # nothing without consent
    page.get_by_label("I am 18").uncheck()
    agree(page)
    check_accessibility(page)
    ask(page)
    page.mouse.move(5, 5)  # the button was where an answer may be now, and a check takes its time
    check_accessibility(page)

    begins = page.locator(".ifllm-pair [data-response=A] [data-s]").first.get_attribute("data-s")
    page.wait_for_timeout(500)  # the check above kept the page busy; a sample needs a free moment
    moved, moved_s = [], []
    for step in range(12):
        box = "B" if step % 3 else "A"  # this reader looks at B twice as often
        word = page.evaluate(WORD, [box, 7 * step])
        page.mouse.move(word["x"], word["y"])
        moved_s.append(time.monotonic())
        page.wait_for_timeout(250)
        moved.append((box.lower(), word))
    # On a machine that stood still while the mouse was at A.
    rests_s = [later - at for at, later in pairwise(moved_s)]
    page.wait_for_timeout(1000 * max(0.0, 2 * sum(rests_s[::3]) - sum(rests_s)))
    scrolled = page.get_by_role("region", name="Answer A").evaluate(
        "box => { box.scrollTo(0, box.scrollHeight); return box.scrollTop }"
    )
    page.wait_for_timeout(500)
    rate(page)
    code = finish(page, look=check_accessibility)
    assert len(code.replace("-", "")) == 26

    file = session_of(space, before)
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    report = prepare(folder, tmp_path / "ifllm", progress=False)
    assert report.ledgers["total"]["seen"] == report.ledgers["total"]["kept"] + sum(
        report.ledgers["total"]["dropped"].values()
    )
    files = {c: config_files(tmp_path / "ifllm", c) for c in ("pairwise", "preferences", "tasks")}
    (turn,) = pl.read_parquet(files["pairwise"], hive_partitioning=False).to_dicts()
    assert (turn["likert_a"], turn["likert_b"], turn["preference"]) == (2, 5, "b")
    assert turn["reading_end_source"] == "rating_zone"

    # Every word that the pointer rested on is there, as exactly that character, while reading.
    ticks = [
        (on, char)
        for on, char, phase in zip(turn["mouse_on"], turn["mouse_char"], turn["phase"], strict=True)
        if phase == "reading" and char is not None
    ]
    for side, word in moved:
        answer = turn[f"response_{side}"]
        units = answer.encode("utf-16-le")[: 2 * word["first"]]
        first = len(units.decode("utf-16-le"))
        assert answer[first : first + len(word["word"])] == word["word"]
        inside = range(first, first + len(word["word"]))
        assert any(on == side and char in inside for on, char in ticks), (word, inside, ticks)
    # The clicks on the rating are not reading.
    rating = [phase for phase in turn["phase"] if phase != "reading"]
    assert rating and turn["phase"].index("reading") == 0

    (pair,) = pl.read_parquet(files["preferences"], hive_partitioning=False).to_dicts()
    assert (pair["chosen"], pair["rejected"]) == (turn["response_b"], turn["response_a"])
    assert isinstance(pair["prompt"], str) and pair["confidence"] == 1.0
    (task,) = pl.read_parquet(files["tasks"], hive_partitioning=False).to_dicts()
    assert task["finished"] and task["summary"] == "That maps are old."

    from ifllm_hf.behavior.features.table import behavior_features, read_turns

    (features,) = behavior_features(read_turns(tmp_path / "ifllm")).to_dicts()
    assert features["mouse_dwell_ms_b"] > features["mouse_dwell_ms_a"] > 0
    # Answer A was on screen from its beginning, and after the scroll to its end.
    shown = [first for first in turn["visible_from_char_a"] if first is not None]
    assert shown[0] == int(begins) and features["visible_ms_a"] > 3000
    assert features["visible_depth_a"] == pytest.approx(1, abs=0.02)
    assert scrolled in [y for y in turn["scroll_y_px_a"] if y is not None] or scrolled == 0

    # Nothing of it tells who or where: no address, no full name of the browser.
    text = file.read_text("utf-8")
    agent = page.evaluate("navigator.userAgent")
    assert "127.0.0.1" not in text and agent not in text


def test_a_webcam_is_validated_before_and_after(space: Space, context: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    context.set_default_timeout(20_000)
    page = context.new_page()
    # The eyes follow the circle, 60 px off; while reading they rest on answer B.
    page.add_init_script(
        """window.ifllmGaze = () => {
          const target = document.querySelector(".ifllm-target, .ifllm-pair [data-response=B]");
          if (!target) return null;
          const { left, top, width } = target.getBoundingClientRect();
          const circle = target.matches(".ifllm-target");
          return { x: left + (circle ? width / 2 + 60 : 60), y: top + (circle ? width / 2 : 40) };
        }"""
    )
    page.goto(space.url)
    page.get_by_role("tab", name="Take part").click()
    agree(page, webcam=True)
    page.locator("button.ifllm-target").wait_for()
    check_accessibility(page, ".ifllm-targets")
    for _ in range(9):
        circle = page.locator("button.ifllm-target[aria-label='look here and press']")
        circle.click()
    ask(page)
    page.wait_for_timeout(700)
    rate(page, "tie")
    finish(page)
    records = [
        json.loads(line) for line in session_of(space, before).read_text("utf-8").splitlines()
    ]
    validations = [record for record in records if record["type"] == "calibration"]
    assert [v["when"] for v in validations] == ["before", "after"]
    for validation in validations:
        assert validation["mean_px"] == pytest.approx(60, abs=3)
        assert validation["share_within_200_px"] == 1.0
        assert 5 < validation["samples_per_s"] < 40
        assert validation["mouse_leak"] == pytest.approx(0, abs=0.02)
        assert len(validation["points"]) == 5
    events = [e for r in records if r["type"] == "batch" for e in r["events"]]
    phases = [e[3]["phase"] for e in events if e[0] == "e" and e[2] == "calibration_point"]
    assert phases == ["calibration"] * 9 + ["validation"] * 10
    gaze = [e for e in events if e[0] == "g" and e[2] is not None]
    assert sum(e[3] == "B" and e[10] == 1 for e in gaze) > 5
    opened = open_sessions(space.sessions)
    assert 0 < opened.turns["calibration_score"].drop_nulls()[-1] < 100


def test_the_leak_check_finds_gaze_that_follows_the_mouse(space: Space, context: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    context.set_default_timeout(20_000)
    page = context.new_page()
    # Like a WebGazer that learns from the mouse: 30 % of the way goes where the mouse moves.
    page.add_init_script(
        """let mouse = null;
        document.addEventListener("mousemove", (event) => {
          mouse = event.isTrusted ? null : { x: event.clientX, y: event.clientY, t: Date.now() };
        });
        window.ifllmGaze = () => {
          const [x, y] = [innerWidth / 2, innerHeight / 2];
          if (!mouse || Date.now() - mouse.t > 60) return { x, y };
          return { x: x + 0.3 * (mouse.x - x), y: y + 0.3 * (mouse.y - y) };
        }"""
    )
    page.goto(space.url)
    page.get_by_role("tab", name="Take part").click()
    agree(page, webcam=True)
    for _ in range(9):
        page.locator("button.ifllm-target[aria-label='look here and press']").click()
    page.get_by_role("heading", name="Your first question").wait_for()
    lines = session_of(space, before).read_bytes().splitlines()
    (validation,) = (r for r in map(json.loads, lines) if r["type"] == "calibration")
    assert validation["mouse_leak"] == pytest.approx(0.3, abs=0.1)


def test_a_reload_in_the_middle_of_a_turn_goes_on(space: Space, page: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    agree(page, kind="one answer")
    ask(page)
    page.get_by_text("Question 1 of 5").wait_for()
    shown = page.locator(".ifllm-pair [data-response=A]").inner_text()
    page.wait_for_timeout(300)
    page.goto(space.url)  # the session that this tab keeps opens its tab by itself
    page.locator(".ifllm-pair[data-turn='0']").wait_for()
    assert page.locator(".ifllm-pair [data-response=A]").inner_text() == shown
    page.locator("input[name=likert_a][value='4']").check()
    page.get_by_role("button", name="Send the rating").click()
    ask(page)
    page.get_by_text("Question 2 of 5").wait_for()
    page.locator("input[name=likert_a][value='5']").check()
    page.get_by_role("button", name="Send the rating").click()
    page.get_by_role("heading", name="Another question").wait_for()
    finish(page)
    session, opened = read(space, before)
    (conversation,) = opened.conversations()
    assert conversation.kind == "pointwise"
    assert len(set(conversation.ticks["page_load"].to_pylist())) >= 1
    # What is replayed goes on from nothing: there is no answer before.
    assert session.ratings[1]["better_than_previous"] is None


def test_a_lost_connection_costs_nothing(space: Space, page: Any, context: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    agree(page)
    ask(page)
    context.set_offline(True)
    word = page.evaluate(WORD, ["A", 0])
    page.mouse.move(word["x"], word["y"])
    page.wait_for_timeout(150)
    page.locator("input[name=likert_a][value='2']").check()
    page.locator("input[name=likert_b][value='5']").check()
    page.locator("input[name=preference][value=tie]").check()
    page.get_by_role("button", name="Send the rating").click()
    page.get_by_role("alert").get_by_text("tries again").wait_for(timeout=3000)
    context.set_offline(False)
    page.get_by_role("heading", name="Another question").wait_for()
    finish(page)
    session, opened = read(space, before)
    assert session.ratings[0]["preference"] == "tie"
    (conversation,) = opened.conversations()
    assert conversation.ticks["mouse_char"].drop_null()[0].as_py() >= 0


def test_the_keyboard_alone_is_enough(space: Space, page: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if name in page.evaluate(FOCUSED):
                return
        raise AssertionError(f"Tab never came to {name}")

    page.locator(".ifllm-consent").focus()
    for box in ("adult", "agree"):
        tab_to(box)
        page.keyboard.press("Space")
    tab_to("Go on")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Before you begin").wait_for()
    tab_to("Begin")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your code").wait_for()
    tab_to("To the questions")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your first question").wait_for()
    tab_to("question")
    page.keyboard.press("Space")
    tab_to("Ask")
    page.keyboard.press("Enter")
    page.locator(".ifllm-pair").wait_for()
    for name in ("likert_a", "likert_b", "preference"):
        tab_to(name)
        page.keyboard.press("Space")
    tab_to("Send the rating")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Another question").wait_for()
    finish(page)
    session, _ = read(space, before)
    assert session.ratings[0]["preference"] == "a" and session.end


def test_the_code_deletes_the_session(space: Space, page: Any) -> None:
    before = set(space.sessions.glob("s_*.jsonl"))
    agree(page)
    page.get_by_role("heading", name="Your first question").wait_for()
    file = session_of(space, before)
    page.get_by_text("Your withdrawal code").click()
    code = page.locator("[data-code]").inner_text()
    page.get_by_role("tab", name="About & withdraw").click()
    page.get_by_label("Withdrawal code").fill(code)
    page.get_by_role("button", name="Delete my session").click()
    page.get_by_text("Your session is deleted.").wait_for()
    check_accessibility(page)
    assert not file.exists()
    assert code not in "".join(p.read_text() for p in space.sessions.glob("*.txt"))


def test_it_is_off_by_default(tmp_path: Path, prepared_small: Path, context: Any) -> None:
    off = Space(tmp_path, prepared_small)
    try:
        page = context.new_page()
        page.goto(off.url)
        page.get_by_role("tab", name="Take part").click()
        page.get_by_role("heading", name="Taking part is off").wait_for(timeout=20_000)
        page.get_by_role("tab", name="About & withdraw").click()
        page.get_by_text("Nothing is collected here").wait_for()
        assert not off.sessions.exists()
    finally:
        off.stop()
