"""Consent on a page that is not ours: nothing before yes, and the way out at the same place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from ifllm_hf.capture import attach
from tests.helpers.capture.session_store import make_settings
from tests.helpers.spaces.accessibility import serious_faults
from tests.helpers.spaces.running import free_port, wait_until

# The page's own styles and keys would spoil a panel that stood in the page itself.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A chat</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>button { display: none !important; font-size: 3px } * { color: #eee }</style>
<main style="background: #222"><h1>Chat</h1>
<div data-turn="0"><div data-response="A" style="height: 300px">Some words to read.</div></div>
</main>
<script type="module">
  const { consent } = await import("./capture/consent/consent.js");
  window.told = [];
  window.keys = 0;
  document.addEventListener("keydown", () => (window.keys += 1));
  window.asks = (more = {}) => consent({
    onyes: async (me, gone) => {
      told.push("yes");
      const { startCapture } = await import("./capture/record/capture.js");
      window.capture = await startCapture({ ...me, onrefused: (e) => e === "gone" && gone() });
    },
    onend: async (me, how) => { told.push(how); await capture.stop(); },
    ...more,
  });
  window.asks().then((me) => (window.answer = me ?? "no"));
</script></html>"""

KEPT = """async () => ({
  cookies: document.cookie, local: Object.keys(localStorage), session: Object.keys(sessionStorage),
  databases: (await indexedDB.databases()).map(({ name }) => name), caches: await caches.keys(),
})"""
NOTHING = {"cookies": "", "local": [], "session": [], "databases": [], "caches": []}
FOCUSED = "document.querySelector('ifllm-consent').shadowRoot.activeElement"
STYLES = """e => ["color", "backgroundColor", "fontWeight", "fontSize", "border"]
  .map((name) => getComputedStyle(e)[name])"""
LANGUAGES = {"de": "Darf", "fr": "peut-elle", "es": "¿Puede", "en": "May this"}


class Served:
    """The routes and the page, in a thread of this process."""

    def __init__(self, folder: Path) -> None:
        app = FastAPI()
        self.sessions = folder / "sessions"
        self.capture = attach(app, settings=make_settings(self.sessions, keep_days=30))

        @app.get("/")
        def page() -> HTMLResponse:
            return HTMLResponse(PAGE)

        self.url = f"http://localhost:{(port := free_port())}/"
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "the server starts")

    def files(self) -> list[Path]:
        return sorted(self.sessions.glob("*.jsonl"))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.capture.store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("consent"))
    yield running
    running.stop()


@pytest.fixture
def page(context: Any, served: Served) -> Any:
    for file in served.files():
        file.unlink()
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url.removeprefix(served.url)))
    page.goto(served.url)
    page.get_by_role("heading", name="May this page record").wait_for()
    return page


def tab_to(page: Any, name: str) -> None:
    for _ in range(8):
        if page.evaluate(f"{FOCUSED}?.dataset.ifllm") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not come to {name}")


def press(page: Any, name: str) -> None:
    tab_to(page, name)
    page.keyboard.press("Enter")


def says(page: Any, words: str) -> None:
    page.get_by_role("status").filter(has_text=words).wait_for()


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_nothing_is_loaded_or_kept_before_yes_or_after_no(
    page: Any, served: Served, key: str
) -> None:
    assert page.evaluate(KEPT) == NOTHING and page.context.cookies() == []
    tab_to(page, "no")
    assert "3px" in page.evaluate(f"getComputedStyle({FOCUSED}).outline"), "focus can be seen"
    page.evaluate("window.keys = 0")  # the first Tab was still the page's
    page.keyboard.press(key)
    page.wait_for_function("window.answer === 'no'")
    assert page.evaluate(f"{FOCUSED}.dataset.ifllm") == "again", "focus is not lost"
    page.mouse.move(60, 200)
    page.wait_for_timeout(100)
    assert page.evaluate(KEPT) == NOTHING and page.context.cookies() == []
    assert [url for url in page.asked if "record/" in url or "webgazer" in url] == []
    assert [url for url in page.asked if url.startswith("api/")] == ["api/v1/steps"]
    assert served.files() == [] and page.evaluate("[told, keys]") == [[], 0]
    page.reload()
    page.get_by_role("heading", name="May this page record").wait_for()  # a "no" is not kept


def test_yes_then_withdraw_by_keyboard_alone(page: Any, served: Served) -> None:
    press(page, "yes")
    page.wait_for_function("window.answer && window.capture")
    (file,) = served.files()
    consent = json.loads(file.read_bytes().splitlines()[0])["consent"]
    assert (consent["language"], consent["keep_days"], consent["adult"]) == ("en", 30, True)
    assert (served.sessions / "consents" / f"{consent['text_sha256']}.txt").exists()
    assert len(page.locator("code").inner_text().replace("-", "")) == 26
    assert "record/capture.js" in " ".join(page.asked)
    page.mouse.move(60, 200)
    page.evaluate("capture.flush()")
    wait_until(lambda: b'"batch"' in file.read_bytes(), "what is recorded arrives")
    press(page, "go_on")
    press(page, "recording")
    assert page.locator("code").count() == 0, "the code is shown once"
    press(page, "withdraw")
    says(page, "Your recording is deleted.")
    assert served.files() == [] and page.evaluate("told") == ["yes", "withdraw"]
    assert (served.sessions / "withdrawn.txt").exists()
    kept = page.evaluate(KEPT)
    assert (kept["local"], kept["session"]) == ([], [])
    assert page.evaluate(f"{FOCUSED}.dataset.ifllm") == "again"


def test_a_reload_goes_on_and_what_was_stopped_can_be_deleted_later(
    page: Any, served: Served
) -> None:
    page.get_by_role("button", name="Yes, I take part").click()
    page.wait_for_function("window.capture")
    page.reload()
    page.get_by_role("button", name="Recording: stop or delete").click()
    page.wait_for_function("window.capture")
    page.get_by_role("button", name="Stop, and keep it").click()
    says(page, "The recording has stopped.")
    (file,) = served.files()
    assert json.loads(file.read_bytes().splitlines()[-1])["type"] == "end"
    page.get_by_role("button", name="Take part in a study?").click()
    page.get_by_text("Delete an earlier recording").click()
    page.get_by_label("Code of a recording").fill("ABCD")
    page.get_by_role("button", name="Delete it").click()
    says(page, "No recording has this code.")
    page.get_by_text("Delete an earlier recording").click()
    page.get_by_role("button", name="Delete the recording of").click()
    says(page, "Your recording is deleted.")
    assert served.files() == []


def test_a_session_whose_time_is_over_ends_here_too(page: Any, served: Served) -> None:
    page.get_by_role("button", name="Yes, I take part").click()
    page.wait_for_function("window.answer && window.capture")
    served.capture.store.take_out(page.evaluate("answer.session"))
    page.mouse.move(60, 200)
    page.evaluate("() => { capture.flush() }")
    says(page, "Your recording has been deleted, and nothing more is recorded.")
    assert page.evaluate("told") == ["yes", "gone"] and page.evaluate(KEPT)["local"] == []


def test_every_language_on_a_narrow_screen(page: Any) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": 320, "height": 480})  # 1280 x 1920 at 400 %
    for language, title in LANGUAGES.items():
        page.evaluate("document.querySelector('ifllm-consent').remove()")
        page.evaluate(f"() => {{ window.asks({{ language: '{language}' }}) }}")
        page.get_by_role("heading", name=title).wait_for()
        assert page.locator("ifllm-consent .panel").get_attribute("lang") == language
        assert "lab@example.org" in page.locator(".text").inner_text()
        yes, no = (page.locator(f"[data-ifllm={n}]").bounding_box() for n in ("yes", "no"))
        assert {k: yes[k] for k in ("y", "width", "height")} == {
            k: no[k] for k in ("y", "width", "height")
        }, "no is as large as yes, at the same height"
        assert yes["x"] >= 0 and no["x"] + no["width"] <= 320 and no["y"] + no["height"] <= 480
        styles = [page.locator(f"[data-ifllm={n}]").evaluate(STYLES) for n in ("yes", "no")]
        assert styles[0] == styles[1], "and looks the same"
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.locator(".text").evaluate("e => e.clientHeight") > 60, "it can be read"
    assert serious_faults(page, "ifllm-consent") == []
    page.emulate_media(color_scheme="dark")
    assert serious_faults(page, "ifllm-consent") == []
