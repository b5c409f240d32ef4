"""What the recorder says of a reader, each event checked against what the test did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

Events = Callable[..., list[list[Any]]]
NOTICED = """async () => {
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
  const {recorder} = capture;
  while (recorder.moved && recorder.pointer || recorder.pageChanged || recorder.viewChanged
      || recorder.selectionChanged || recorder.scrolled.size) {
    await new Promise(done => setTimeout(done, 5));
  }
}"""


def noticed(page: Any) -> None:
    """Wait until the recorder has looked at everything that happened."""
    page.evaluate(NOTICED)


@pytest.fixture
def page(context: Any, capture_server: Any) -> Iterator[Any]:
    """A recording page; at the end the server must have taken every event as valid."""
    session = capture_server.new()
    page = context.new_page()
    page.add_init_script("window.log = []")
    page.goto(f"{capture_server.url}#{session['session']},{session['token']}")
    page.wait_for_function("window.ready")
    page.evaluate(
        """() => {
          const sink = capture.recorder.sink;
          capture.recorder.sink = event => { log.push(event); sink(event); };
        }"""
    )
    yield page
    if not page.is_closed():
        logged = page.evaluate("log")  # before the flush: what comes later need not be stored yet
        assert page.evaluate("capture.flush()")
        assert page.evaluate("refusals") == []
        stored = [e for b in capture_server.batches(session["session"]) for e in b["events"]]
        assert [e for e in stored if e in logged] == logged


@pytest.fixture
def events(page: Any) -> Events:
    """Events of a kind since the test began, without kind and time."""

    def of(kind: str) -> list[list[Any]]:
        return [event[2:] for event in page.evaluate("log") if event[0] == kind]

    return of


def centre(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_pointer_carries_turn_answer_and_character(page: Any, events: Events) -> None:
    for name in ("A", "B"):
        x, y = centre(page, f"[data-response={name}] [data-s]")
        page.mouse.move(x, y)
        noticed(page)
    page.mouse.move(500, 600)
    noticed(page)
    seen = events("p")
    assert [(e[0], e[1]) for e in seen[:3]] == [(0, "A"), (0, "B"), (0, None)]
    for _, _, x, y, rx, ry, offset, distance, buttons, kind in seen[:2]:
        assert page.evaluate("([x, y]) => hits.hit(x, y).offset", [x, y]) == offset
        assert 0 < rx < 500 and 0 < ry < 300 and distance >= 0
        assert (buttons, kind) == (0, "mouse")
    assert seen[2][4:8] == [None] * 4


def test_samples_at_forty_hertz_and_once_a_second_at_rest(page: Any) -> None:
    page.evaluate(
        """async () => {
          const start = performance.now();
          for (let i = 0; performance.now() - start < 1000; i++) {
            document.body.dispatchEvent(new PointerEvent('pointermove',
              {clientX: 50 + i % 400, clientY: 80, bubbles: true, pointerType: 'mouse'}));
            await new Promise(done => setTimeout(done, 4));
          }
        }"""
    )
    times = [e[1] for e in page.evaluate("log") if e[0] == "p"]
    # At most; how few a busy machine gets to is no matter of this test.
    assert 2 <= len(times) <= 42
    page.wait_for_function(
        f"log.filter(e => e[0] === 'p').length >= {len(times) + 3}", timeout=20_000
    )
    rest = [e[1] for e in page.evaluate("log") if e[0] == "p"][len(times) :]
    # A sample is stamped when it has been taken, so a slow one makes the next interval shorter.
    assert all(b - a > 800 for a, b in zip(rest, rest[1:], strict=False))


def test_frames_are_taken_at_forty_hertz_from_the_first_move_on(page: Any) -> None:
    """On a clock of our own: two bursts of frames at 60 Hz, with a rest between them."""
    bursts = page.evaluate(
        """async () => {
          const {Recorder} = await import('./capture/record/recorder.js');
          await capture.stop();
          let now = 5000, asked = [], times = [];
          const [clock, frame] = [performance.now, window.requestAnimationFrame];
          performance.now = () => now;
          window.requestAnimationFrame = act => asked.push(act);
          const recorder = new Recorder(event => { if (event[0] === 'p') times.push(event[1]); });
          recorder.start();
          const bursts = [];
          for (const start of [5000, 5700]) {
            times = [];
            for (let i = 0; i < 12; i++) {
              now = start + 1000 * i / 60;
              document.body.dispatchEvent(new PointerEvent('pointermove',
                {clientX: 50 + i, clientY: 80, bubbles: true, pointerType: 'mouse'}));
              const acts = asked;
              asked = [];
              acts.forEach(act => act(now));
            }
            bursts.push(times.map(t => Math.round(60 * (t - start) / 1000)));
          }
          performance.now = clock;
          window.requestAnimationFrame = frame;
          await recorder.stop();
          return bursts;
        }"""
    )
    assert bursts == [[0, 2, 3, 5, 6, 8, 9, 11]] * 2


def test_page_at_rest_is_asked_for_no_frame(page: Any) -> None:
    page.mouse.move(*centre(page, "[data-s]"))
    noticed(page)
    page.evaluate(
        """() => {
          window.frames_asked = 0;
          const real = window.requestAnimationFrame;
          window.requestAnimationFrame = act => { frames_asked += 1; return real(act); };
        }"""
    )
    before = len(page.evaluate("log"))
    page.wait_for_function(f"log.length >= {before + 2}", polling=200)
    assert page.evaluate("frames_asked") == 0
    assert {event[0] for event in page.evaluate("log")[before:]} == {"p"}  # the heartbeat alone
    page.mouse.move(100, 100)
    page.wait_for_function("frames_asked >= 1", polling=50)


def test_what_lies_over_an_answer_hides_it(page: Any, events: Events) -> None:
    x, y = centre(page, "[data-response=A] [data-s]")
    page.mouse.move(x, y)
    noticed(page)
    page.evaluate(
        """() => {
          const sheet = document.createElement('div');
          sheet.id = 'sheet';
          sheet.style.cssText = 'position: fixed; inset: 0';
          document.body.append(sheet);
        }"""
    )
    page.mouse.move(x + 1, y)
    noticed(page)
    assert [event[1] for event in events("p")[-2:]] == ["A", None]
    page.evaluate("document.getElementById('sheet').remove()")
    page.mouse.move(x, y)
    noticed(page)
    assert events("p")[-1][1] == "A"


def test_dragged_mouse_is_where_it_is_and_not_where_it_was_pressed(
    page: Any, events: Events
) -> None:
    """A captured pointer names the element it was pressed on, wherever it goes."""
    page.evaluate(
        """() => document.querySelector('[data-response=A]').addEventListener('pointerdown',
          event => event.currentTarget.setPointerCapture(event.pointerId))"""
    )
    page.mouse.move(*centre(page, "[data-response=A] [data-s]"))
    page.mouse.down()
    for step in (0, 3):
        x, y = centre(page, "[data-response=B] [data-s]")
        page.mouse.move(x + step, y)
        noticed(page)
    dragged = events("p")[-1]
    page.mouse.up()
    assert dragged[1] == "B" and dragged[8] == 1
    assert dragged[6] == page.evaluate("([x, y]) => hits.hit(x, y).offset", dragged[2:4])


def test_scrolled_answer_and_what_of_it_is_visible(page: Any, events: Events) -> None:
    before = page.evaluate("hits.visibleOffsets(document.querySelector('[data-response=A]'))")
    x, y = centre(page, "[data-response=A]")
    page.mouse.move(x, y)
    page.mouse.wheel(0, 400)
    page.wait_for_function("document.querySelector('[data-response=A]').scrollTop === 400")
    noticed(page)
    assert ["A", 400, 0] in events("s")
    turn, name, first, last = events("w")[-1]
    assert (turn, name) == (0, "A") and first > before[0] and last > before[1]
    # The truth: every unit of text whose rectangle overlaps the box.
    truth = page.evaluate(
        """() => {
          const box = document.querySelector('[data-response=A]');
          const edge = box.getBoundingClientRect();
          const top = edge.top + box.clientTop, bottom = top + box.clientHeight;
          const range = document.createRange();
          const seen = [];
          for (const run of box.querySelectorAll('[data-s]')) {
            for (let i = 0; i < run.firstChild.length; i++) {
              range.setStart(run.firstChild, i);
              range.setEnd(run.firstChild, i + 1);
              const r = range.getBoundingClientRect();
              if (r.bottom > top && r.top < bottom) seen.push(Number(run.dataset.s) + i);
            }
          }
          return [Math.min(...seen), Math.max(...seen)];
        }"""
    )
    assert [first, last] == truth


def test_window_scroll_moves_text_under_a_resting_pointer(page: Any, events: Events) -> None:
    x, y = centre(page, "[data-response=A]")
    page.mouse.move(x, y)
    noticed(page)
    page.evaluate("window.scrollTo(0, 100)")
    noticed(page)
    assert ["window", 100, 0] in events("s")
    first, last = events("p")[0], events("p")[-1]
    assert first[2:4] == last[2:4] and last[5] == pytest.approx(first[5] + 100, abs=0.2)
    assert last[6] > first[6]


def test_layout_is_of_the_page_and_comes_again_when_it_changes(page: Any, events: Events) -> None:
    page.set_viewport_size({"width": 800, "height": 600})
    noticed(page)
    page.evaluate("window.scrollTo(0, 50)")
    noticed(page)
    (layout,) = events("l")[-1]
    assert (layout["vw"], layout["vh"], layout["turn"], layout["dpr"]) == (800, 600, 0, 1)
    box = page.locator("[data-response=B]").bounding_box()
    left, top, width, height, inner = layout["boxes"]["B"]
    assert (left, top) == (pytest.approx(box["x"]), pytest.approx(box["y"] + 50))
    assert (width, height) == (pytest.approx(box["width"], abs=0.1), 324) and inner > 324
    assert set(layout["controls"]) == {"preference", "submit"}
    count = len(events("l"))
    page.evaluate("window.scrollTo(0, 90)")
    noticed(page)
    assert len(events("l")) == count, "scrolling changes no layout"


def test_end_of_reading_is_exact(page: Any, events: Events) -> None:
    x, y = centre(page, "[data-response=A]")
    page.mouse.move(x, y)
    page.get_by_label("b", exact=True).hover()
    page.get_by_label("b", exact=True).click()
    page.get_by_role("button").click()
    page.mouse.move(x, y)
    noticed(page)
    assert events("r") == [
        [0, "enter", "preference", None, "pointer"],
        [0, "choose", "preference", "b", "pointer"],
        [0, "leave", "preference", None, "pointer"],
        [0, "enter", "submit", None, "pointer"],
        [0, "choose", "submit", None, "pointer"],
        [0, "leave", "submit", None, "pointer"],
    ]
    log = page.evaluate("log")
    entered, *_, left = [e[1] for e in log if e[0] == "r"]
    assert all(e[3] is None for e in log if e[0] == "p" and entered < e[1] < left)
    pressed = [e for e in events("p") if e[8] == 1]
    assert len(pressed) == 2, "each press is a sample of its own"


def test_rating_by_keyboard(page: Any, events: Events) -> None:
    for _ in range(5):  # answers that scroll can be reached as well
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('[data-control]') !== null"):
            break
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert events("r") == [
        [0, "enter", "preference", None, "keyboard"],
        [0, "choose", "preference", "a", "keyboard"],
        [0, "choose", "preference", "b", "keyboard"],
        [0, "leave", "preference", None, "keyboard"],
        [0, "enter", "submit", None, "keyboard"],
    ]


def test_selection_in_source_offsets(page: Any, events: Events) -> None:
    page.evaluate(
        """() => {
          const text = document.querySelector('[data-response=B] [data-s]').firstChild;
          document.getSelection().setBaseAndExtent(text, 3, text, 12);
        }"""
    )
    noticed(page)
    page.evaluate("document.getSelection().removeAllRanges()")
    noticed(page)
    assert events("c") == [[0, "B", 3, 12], [0, None, None, None]]


def test_new_turn_is_noticed_by_itself(page: Any, events: Events) -> None:
    page.evaluate("document.querySelector('main').remove()")
    noticed(page)
    page.mouse.move(100, 100)
    noticed(page)
    page.evaluate(
        """document.body.insertAdjacentHTML('afterbegin', `<main data-turn="1">
          <div data-response="A"><p><span data-s="5">only answer</span></p></div></main>`)"""
    )
    noticed(page)
    page.mouse.move(*centre(page, "[data-s]"))
    noticed(page)
    assert ["shown", {"turn": 1}] in events("e")
    assert events("p")[0][:2] == [None, None]
    turn, name, *_, offset, _, _, _ = events("p")[-1]
    assert (turn, name) == (1, "A") and 5 <= offset < 16
    assert [1, "A", 5, 15] in events("w")


def test_scripted_gaze_is_mapped_like_the_pointer(page: Any, events: Events) -> None:
    x, y = centre(page, "[data-response=A] [data-s]")
    page.evaluate(
        """async ([x, y]) => {
          let timer;
          const samples = [{x, y, valid: true, age_ms: 20}, {x: null, y: null, valid: false,
            age_ms: null}, {x: NaN, y: 1e9, valid: true, age_ms: -5}];
          await capture.setGaze({
            name: 'scripted', version: '1',
            start: async onSample => {
              let i = 0;
              const next = () => {
                onSample(samples[i++ % 3]);
                timer = setTimeout(next, 40);  // never two at once, as after a busy moment
              };
              next();
            },
            stop: async () => clearTimeout(timer),
          });
        }""",
        [x, y],
    )
    page.wait_for_function("log.filter(e => e[0] === 'g').length >= 3")
    page.evaluate("capture.setGaze(null)")
    page.wait_for_timeout(100)
    first, second, third = events("g")[:3]
    assert first[:4] == [0, "A", pytest.approx(x, abs=0.06), pytest.approx(y, abs=0.06)]
    assert first[6] == page.evaluate("([x, y]) => hits.hit(x, y).offset", [x, y])
    assert first[8:] == [1, 20]
    assert second == [0, *[None] * 7, 0, None]
    assert third == [0, *[None] * 7, 0, 0]
    names = [e[0] for e in events("e")]
    assert names == ["gaze_start", "gaze_stop"]
    count = len(events("g"))
    page.wait_for_timeout(150)
    assert len(events("g")) == count


def test_camera_that_fails_is_said_and_the_mouse_goes_on(page: Any, events: Events) -> None:
    page.evaluate(
        """capture.setGaze({name: 'webgazer', version: '3.5.3', stop: async () => {},
          start: async () => { throw new DOMException('no camera', 'NotAllowedError'); }})"""
    )
    page.mouse.move(100, 100)
    noticed(page)
    assert events("e") == [["gaze_error", {"provider": "webgazer", "reason": "NotAllowedError"}]]
    assert events("p")


def test_window_without_focus_is_known(page: Any, context: Any, events: Events) -> None:
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    assert events("f") == [[0], [1]]


def test_stopped_recorder_says_nothing(page: Any, events: Events) -> None:
    assert page.evaluate("capture.stop()")
    count = len(page.evaluate("log"))
    page.mouse.move(200, 200)
    page.evaluate("window.scrollTo(0, 10)")
    page.wait_for_timeout(100)
    assert len(page.evaluate("log")) == count
    assert events("e")[-1] == ["stop", {}]


def test_fingers_tap_and_scroll(chromium: Any, capture_server: Any) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    session = capture_server.new()
    page = context.new_page()
    page.goto(f"{capture_server.url}#{session['session']},{session['token']}")
    page.wait_for_function("window.ready")
    x, y = centre(page, "[data-response=A] [data-s]")
    page.touchscreen.tap(x, y)
    devtools = context.new_cdp_session(page)
    for kind, at in [("Start", 250), *(("Move", 250 - 10 * step) for step in range(1, 16))]:
        points = [{"x": 195, "y": at}]
        devtools.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
        page.wait_for_timeout(16)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    noticed(page)
    assert page.evaluate("document.querySelector('[data-response=A]').scrollTop") > 50
    page.evaluate("capture.flush()")
    stored = [e for b in capture_server.batches(session["session"]) for e in b["events"]]
    context.close()
    touches = [e for e in stored if e[0] == "p"]
    assert {e[-1] for e in touches} == {"touch"}
    assert touches[0][3] == "A" and touches[0][8] is not None and touches[0][10] == 1
    assert len({e[5] for e in touches}) > 2, "the finger's way is known while the page scrolls"
    assert [e for e in stored if e[0] == "s" and e[2] == "A"]
