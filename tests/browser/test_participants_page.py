"""What a participant meets: the way in, the code, the past, what went wrong, the way back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.spaces.accessibility import serious_faults
from tests.helpers.spaces.application import build_space
from tests.helpers.spaces.running import free_port, wait_until
from tests.helpers.spaces.taking_part import agree, rate

if TYPE_CHECKING:
    from ifllm_space.demo_data import DemoData

PANEL = "https://panel.example/done?study=7"
CODE = ".ifllm-collect [data-code] >> visible=true"


class Talking:
    """Answers with what it was asked, and fails where a question says so."""

    name, said, costs, free_questions = "talking", "A test answers.", False, True

    def questions(self, kind: str) -> list[str]:
        return []

    def answer(self, question: str, histories: Sequence[Any]) -> Any:
        from ifllm_hf.capture.taking_part.responder import ModelAnswer, ModelAnswers

        error = "busy" if "fail" in question else None
        words = f"Of {question} " + "much can be said. " * 200
        return ModelAnswers(
            tuple(ModelAnswer("" if error else words, "m", error=error) for _ in histories)
        )


class Meeting:
    """A Space in this process, whose sessions a test reads."""

    def __init__(self, url: str, sessions: Path) -> None:
        self.url, self.sessions = url, sessions

    def lines(self, session_id: str) -> list[dict[str, Any]]:
        file = self.sessions / f"{session_id}.jsonl"
        return [json.loads(line) for line in file.read_bytes().splitlines()]

    def events(self, session_id: str) -> list[list[Any]]:
        batches = (line for line in self.lines(session_id) if line["type"] == "batch")
        return [event for batch in batches for event in batch["events"]]


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, demo_data: DemoData) -> Iterator[Meeting]:
    import uvicorn

    from ifllm_hf.capture.settings import Settings
    from ifllm_space import take_part_tab

    sessions = tmp_path_factory.mktemp("meeting") / "sessions"
    people = {"contact": "lab@example.org", "legal_basis": "a test", "completion_url": PANEL}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take_part_tab, "make_responder", lambda *_: Talking())
        app = build_space(demo_data, Settings(sessions=sessions, **people))
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the Space starts", 30)
    yield Meeting(f"http://localhost:{port}/", sessions)
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def page(meeting: Meeting, context: Any) -> Iterator[Any]:
    context.set_default_timeout(20_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{meeting.url}?tab=take-part")
    page.get_by_role("heading", name="Take part").wait_for()
    yield page
    assert faults == []


def ask(page: Any, question: str) -> None:
    page.get_by_label("What do you want to know?").fill(question)
    page.get_by_role("button", name="Ask").click()


def me(page: Any) -> dict[str, Any]:
    kept: dict[str, Any] = page.evaluate("JSON.parse(sessionStorage['ifllm-session'])")
    return kept


def check_accessibility(page: Any) -> None:
    assert serious_faults(page, ".ifllm-collect") == []


def test_the_link_leads_to_taking_part_and_past_no_heat(meeting: Meeting, context: Any) -> None:
    phone = context.new_page()
    phone.set_viewport_size({"width": 390, "height": 844})
    phone.set_extra_http_headers({"X-Forwarded-For": "192.0.2.1"})  # not the operator's browser
    phone.add_init_script(
        """new MutationObserver(() => {
          const heat = document.querySelector(".ifllm-heat");
          if (heat?.checkVisibility({ visibilityProperty: true })) window.seenHeat = true;
        }).observe(document, { childList: true, subtree: true });"""
    )
    # Gradio is there long before our own files are, as on a slow network.
    phone.route("**/page/page.*", lambda route: (phone.wait_for_timeout(1500), route.continue_()))
    phone.goto(f"{meeting.url}?tab=take-part")
    phone.get_by_role("heading", name="Take part").wait_for()
    assert phone.evaluate("window.seenHeat") is None
    assert phone.get_by_text("5 questions, about 10 minutes").is_visible()
    # Who comes without the link finds all tabs on a phone, none behind three dots.
    for name in ("Explore", "Take part", "Score", "About & withdraw"):
        assert phone.get_by_role("tab", name=name).is_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.goto(f"{meeting.url}?tab=about")
    phone.get_by_role("heading", name="Withdraw").wait_for()


def test_who_closes_the_tab_keeps_the_session_and_the_right_to_delete(
    meeting: Meeting, page: Any, context: Any
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("I am 18").check()
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("heading", name="Your code").wait_for()  # before any question
    code = page.locator(CODE).inner_text()
    check_accessibility(page)
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == code
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    assert code in Path(saved.value.path()).read_text()
    session = me(page)["session"]
    page.close()

    again = context.new_page()
    again.goto(meeting.url)
    again.get_by_role("heading", name="Welcome back").wait_for()
    check_accessibility(again)
    again.get_by_role("button", name="Go on").click()
    again.get_by_role("heading", name="Your first question").wait_for()
    assert me(again)["session"] == session
    again.get_by_role("tab", name="About & withdraw").click()
    listed = again.locator(".ifllm-own li")
    assert code in listed.inner_text() and "0 questions" in listed.inner_text()
    listed.get_by_role("button", name="Delete this session").click()
    check_accessibility(again)
    listed.get_by_role("button", name="Keep it").click()
    assert (meeting.sessions / f"{session}.jsonl").exists()
    listed.get_by_role("button", name="Delete this session").click()
    listed.get_by_role("button", name="for good").click()
    again.get_by_text("Your session is deleted.").wait_for()
    assert listed.count() == 0 and not (meeting.sessions / f"{session}.jsonl").exists()


def test_the_past_is_seen_and_a_typed_question_survives(meeting: Meeting, page: Any) -> None:
    agree(page)
    assert page.locator(".ifllm-past").count() == 0
    ask(page, "What is a map?")
    page.locator(".ifllm-pair").wait_for()
    rate(page)
    past = page.get_by_role("region", name="The conversation so far")
    assert past.is_visible() and "Of What is a map?" in past.inner_text()
    check_accessibility(page)
    ask(page, "please fail")
    page.get_by_text("The model is busy").wait_for()
    assert page.get_by_label("What do you want to know?").input_value() == "please fail"
    assert past.is_visible()
    ask(page, "And in Python?")
    page.locator(".ifllm-pair").wait_for()
    assert page.get_by_text("Question 2 of 5").is_visible()
    page.get_by_text("The conversation so far").click()
    assert past.is_visible() and "fail" not in past.inner_text()
    check_accessibility(page)


def test_nothing_is_recorded_while_another_tab_hides_the_pair(meeting: Meeting, page: Any) -> None:
    page.get_by_role("tab", name="Score").click()  # its answers are no answers of a session
    page.locator(".ifllm-score[data-turn]").wait_for()
    page.get_by_role("tab", name="Take part").click()
    agree(page, kind="two answers side")
    session = me(page)["session"]
    ask(page, "What is a map?")
    page.locator(".ifllm-pair").wait_for()

    def move(times: int) -> None:
        for step in range(times):
            page.mouse.move(200 + 30 * step, 400 + 10 * step)
            page.wait_for_timeout(60)

    move(6)
    page.get_by_role("tab", name="Explore").click()
    left = page.evaluate("performance.now()")
    page.wait_for_selector(".ifllm-explore[data-query]")
    move(6)
    page.mouse.wheel(0, 300)
    page.mouse.click(300, 500)
    page.keyboard.press("Tab")
    page.wait_for_timeout(1300)  # a pointer at rest is told once a second
    came = page.evaluate("performance.now()")
    page.evaluate("window.scrollTo(0, 0)")
    page.get_by_role("tab", name="Take part").click()
    move(6)
    rate(page)
    page.wait_for_timeout(100)
    # A frame to draw the other tab, and one to draw this one again.
    events = meeting.events(session)
    away = [event for event in events if left + 50 < event[1] < came]
    assert away == []
    hidden = [event[2] for event in events if event[0] == "v"]
    assert hidden == ["hidden", "visible"]
    points = [event[1] for event in events if event[0] == "p" and event[2] == 0]
    assert sum(t < left for t in points) > 3 and sum(t > came for t in points) > 3
    for event in events:
        if event[0] == "l":
            assert set(event[2]["boxes"]) == ({"A", "B"} if event[2]["turn"] == 0 else set())


def test_after_the_announced_questions_come_the_end_and_the_panel(
    meeting: Meeting, page: Any
) -> None:
    agree(page, kind="one answer")
    who = me(page)
    for number in range(5):
        page.get_by_text(f"Question {number + 1} of 5").wait_for()
        ask(page, f"What is map {number}?")
        page.locator("input[name=likert_a][value='4']").check()
        if number:
            page.locator("input[name=better_than_previous][value=true]").check()
        page.get_by_role("button", name="Send the rating").click()
    page.get_by_text("all 5 questions").wait_for()
    page.get_by_role("button", name="One more question").click()
    page.get_by_text("Question 6", exact=True).wait_for()
    # What the server refuses is counted, and the panel hears a code and nothing else.
    refusal = {"ok": False, "error": "malformed", "reason": "events/0", "retry": False}
    page.route("**/api/v1/events", lambda route: route.fulfill(status=400, json=refusal))
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    said = page.locator(".ifllm-collect >> visible=true").inner_text()
    assert "refused by the server" in said and "Everything has arrived" not in said
    link = page.get_by_role("link", name="panel")
    href = link.get_attribute("href")
    assert href.startswith(f"{PANEL}&code=") and link.get_attribute("rel") == "noreferrer"
    assert not any(who[name] in href for name in ("session", "token", "code"))
    check_accessibility(page)
    # A reload costs nobody the way back; a finished session is nothing to come back to.
    page.reload()
    page.get_by_role("heading", name="Take part").wait_for()
    assert page.get_by_role("link", name="panel").get_attribute("href") == href
    page.goto(meeting.url)
    page.wait_for_selector(".ifllm-explore[data-query]")


def test_a_session_that_is_not_there_keeps_nobody_from_beginning_anew(
    meeting: Meeting, page: Any, chromium: Any
) -> None:
    agree(page)
    mine = me(page)
    file = meeting.sessions / f"{mine['session']}.jsonl"
    page.goto("about:blank")
    file.rename(file.with_suffix(".moved"))
    page.goto(f"{meeting.url}?tab=take-part")
    page.get_by_text("cannot be found just now").wait_for()
    assert page.get_by_role("button", name="Begin anew").is_visible()
    file.with_suffix(".moved").rename(file)
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("heading", name="Your first question").wait_for()

    page.goto("about:blank")  # or an open page hears of it before it is loaded again
    elsewhere = chromium.new_context()
    other = elsewhere.new_page()
    other.goto(f"{meeting.url}?tab=about")
    other.get_by_label("Withdrawal code").fill(mine["code"])
    other.get_by_role("button", name="Delete my session").click()
    other.get_by_text("is deleted").wait_for()
    elsewhere.close()
    page.goto(f"{meeting.url}?tab=take-part")
    page.get_by_role("heading", name="Deleted").wait_for()
    assert page.evaluate("localStorage.getItem('ifllm-own-sessions')") is None
    page.get_by_role("button", name="Begin anew").click()
    page.get_by_role("heading", name="Take part").wait_for()


def test_what_an_earlier_visit_left_is_sent_from_any_tab(
    meeting: Meeting, page: Any, context: Any
) -> None:
    agree(page)
    session = me(page)["session"]
    ask(page, "What is a map?")
    page.locator(".ifllm-pair").wait_for()
    context.set_offline(True)
    x = 311
    page.mouse.move(x, 500)
    page.wait_for_timeout(150)
    page.close()
    assert not any(event[0] == "p" and event[4] == x for event in meeting.events(session))
    context.set_offline(False)
    other = context.new_page()
    other.goto(f"{meeting.url}?tab=explore")
    wait_until(
        lambda: any(event[0] == "p" and event[4] == x for event in meeting.events(session)),
        "the batch arrives",
    )
