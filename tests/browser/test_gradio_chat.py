"""The example of docs/chat-pages.md in a browser: one reader, whose session is then read back.

The example answers with the question, so the reader types the Markdown that is to be shown.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.capture import record_chat
from ifllm_hf.capture.settings import Settings
from ifllm_hf.cli import main
from ifllm_hf.data.rendered.page_alignment import PageAlignment, align_page
from ifllm_hf.errors import ConfigError
from tests.helpers.spaces.running import free_port

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "gradio_chat.py"
WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
QUESTION = """\
First **alpha** comes, then `bravo` and [charlie](https://example.org) &amp; *delta*.

* echo 😀 one
* two

| a | foxtrot |
|---|---|
| 1 | golf |

```python
print("a line of code that is far too long for the column, so that its block scrolls sideways")
```

""" + "\n\n".join(
    f"Paragraph {i}: some words, one by one, to fill a line or two." for i in range(12)
)
QUESTION += "\n\nAt the end stands hotel."

# Every character that is not blank, by itself: written without the recorder's own ways.
BRUTE_FORCE = """() => [...document.querySelectorAll('[data-testid=bot]')].map(answer => {
  const text = answer.querySelector('.message-content');
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  let count = 0, seen = [];
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest('button')) continue;
    let [left, top, right, bottom] = [0, 0, innerWidth, innerHeight];
    for (let up = node.parentElement; up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.display === 'inline' || style.overflow === 'visible') continue;
      const box = up.getBoundingClientRect();
      left = Math.max(left, box.left + up.clientLeft);
      top = Math.max(top, box.top + up.clientTop);
      right = Math.min(right, box.left + up.clientLeft + up.clientWidth);
      bottom = Math.min(bottom, box.top + up.clientTop + up.clientHeight);
    }
    for (let i = 0; i < node.length; i++) {
      if (/\\s/.test(node.data[i])) continue;
      range.setStart(node, i);
      range.setEnd(node, i + 1);
      const r = range.getBoundingClientRect();
      if (r.width && Math.min(r.right, right) > Math.max(r.left, left)
          && Math.min(r.bottom, bottom) > Math.max(r.top, top)) seen.push(count);
      count++;
    }
  }
  return seen.length ? [seen[0], seen.at(-1)] : null;
})"""
RECORDED = """() => [...document.querySelectorAll('[data-testid=bot]')].map(answer =>
  parts[ifllmChat.reader.messages.byElement.get(answer).number] ?? null)"""
QUIET = """async () => {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  const {recorder} = ifllmChat.capture;
  while (recorder.moved && recorder.pointer || recorder.pageChanged || recorder.viewChanged
      || recorder.scrolled.size) await new Promise(done => setTimeout(done, 5));
}"""
WORD = """([at, word]) => {
  const text = document.querySelectorAll('[data-testid=bot] .message-content')[at];
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const start = node.data.indexOf(word);
    if (start < 0) continue;
    node.parentElement.scrollIntoView({block: 'center'});
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, start + 1);
    const {left, top, width, height} = range.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  }
}"""


SELECT = """word => {
  const answer = document.querySelector('[data-testid=bot]');
  const walker = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const start = node.data.indexOf(word);
    if (start >= 0) getSelection().setBaseAndExtent(node, start, node, start + word.length);
  }
}"""


@dataclass
class Read:
    """What the reader did, as the test saw it."""

    sessions: Path
    folder: Path
    before_consent: list[str]
    spots: list[tuple[str, list[Any]]] = field(default_factory=list)
    parts: list[tuple[list[Any], list[Any]]] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        (path,) = self.sessions.glob("s_*.jsonl")
        return path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def events(self) -> list[list[Any]]:
        return [e for line in self.lines() if line["type"] == "batch" for e in line["events"]]

    def messages(self) -> dict[str, dict[str, Any]]:
        return {line["id"]: line for line in self.lines() if line["type"] == "message"}

    def rewritten(self) -> str:
        """Return the answer that came after the retry, as it was before its edit."""
        texts = [line["content"] for line in self.lines() if line.get("id") == "a1.1"]
        return str(texts[0])

    def told(self) -> dict[int, dict[str, Any]]:
        return {event[2]: event[3] for event in self.events() if event[0] == "m"}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The example as anybody runs it, in this process, which has Gradio."""
    import gradio as gr

    folder, port = tmp_path_factory.mktemp("gradio"), free_port()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Gradio forgets to close event loops
        patch.chdir(folder)
        patch.setenv("GRADIO_SERVER_PORT", str(port))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "0")
        patch.setenv("IFLLM_SPACE_CONTACT", "me@example.org")
        patch.setenv("IFLLM_SPACE_LEGAL_BASIS", "test")
        patch.delenv("GRADIO_SSR_MODE", raising=False)
        patch.setattr(gr.Blocks, "block_thread", lambda self: None)
        demo = runpy.run_path(str(EXAMPLE))["demo"]
        gc.collect()
        yield f"http://localhost:{port}/", folder
        demo.close(verbose=False)
        os.environ.pop("GRADIO_SSR_MODE", None)
        gc.collect()


@pytest.fixture(scope="module")
def read(chromium: Any, example: tuple[str, Path]) -> Read:
    """One session: agree, ask, point at words, scroll, like, copy, retry, edit, ask again, undo."""
    url, folder = example
    page = chromium.new_page(viewport={"width": 1000, "height": 720})
    page.set_default_timeout(30_000)
    made = Read(folder / "sessions", folder, [])
    page.on("console", lambda message: made.console.append(message.text))
    posted: list[str] = []
    page.on("request", lambda r: "/ifllm/" in r.url and posted.append(r.url.split("/ifllm/")[1]))
    page.goto(url)
    page.wait_for_selector("[data-ifllm=no]")
    page.mouse.move(300, 300)
    made.before_consent += posted
    assert page.evaluate("indexedDB.databases()") == []
    assert not list(made.sessions.glob("s_*"))
    page.click("[data-ifllm=yes]")
    page.click("[data-ifllm=go_on]")
    page.wait_for_function("ifllmChat.capture")
    page.evaluate(
        """() => {
          window.parts = {};
          window.acts = 0;
          const {recorder} = ifllmChat.capture, {sink} = recorder;
          recorder.sink = event => {
            if (event[0] === 'w') parts[event[2]] = event[3] === null ? null : event.slice(3);
            if (event[0] === 'p') window.point = event;
            if (event[0] === 'a') acts++;
            sink(event);
          };
        }"""
    )
    box = page.get_by_placeholder("Ask both")
    left = page.locator("[role=log]").first

    def ask(text: str, answers: int) -> None:
        box.fill(text)
        box.press("Enter")
        page.wait_for_function(
            "n => document.querySelectorAll('[data-testid=bot]').length === n", arg=answers
        )
        page.wait_for_function("ifllmChat.reader.messages.all().every(m => m.handed)")

    def rested(message: str, begin: str) -> None:
        page.wait_for_function(
            """([id, begin]) => ifllmChat.reader.messages.all().some(
              m => m.id === id && m.handed && m.rested.startsWith(begin))""",
            arg=[message, begin],
        )

    def press(name: str) -> None:
        before = page.evaluate("acts")
        left.get_by_role("button", name=name, exact=True).last.click()
        page.wait_for_function("n => acts > n", arg=before)

    ask(QUESTION, 2)
    for at in (0, 1):
        for word in WORDS[at * 3 :]:
            x, y = page.evaluate(WORD, [at, word])
            page.mouse.move(x, y)
            page.evaluate(QUIET)
            made.spots.append((word, page.evaluate("point")))
    for down in (-250, 0, 61, 160, 333, 9999):
        page.evaluate(
            """down => {
              document.querySelectorAll('[role=log]').forEach((log, i) => {
                const answer = log.querySelector('[data-testid=bot]').getBoundingClientRect();
                log.scrollTop += answer.top - log.getBoundingClientRect().top + down / (i + 1);
              });
              document.querySelectorAll('[role=log] pre').forEach(code => code.scrollLeft = down);
              scrollTo(0, down / 9);
            }""",
            down,
        )
        page.evaluate(QUIET)
        made.parts.append((page.evaluate(RECORDED), page.evaluate(BRUTE_FORCE)))
    press("Like")
    press("Copy message")
    page.evaluate(SELECT, "charlie")
    page.keyboard.press("Control+c")
    press("Retry")
    rested("a1.1", "Answer")
    left.get_by_role("button", name="Edit", exact=True).last.click()
    left.locator("textarea").fill("By a **person**.")
    press("Submit")
    rested("a1.1", "Bya")
    ask("And now?", 4)
    press("Undo")
    assert page.evaluate("ifllmChat.capture.flush()")
    page.evaluate("import('./ifllm/capture/pages/gradio.js').then(page => page.start({}))")
    page.click("[data-ifllm=recording]")
    page.click("[data-ifllm=stop]")
    page.wait_for_selector("[data-ifllm=again]")
    page.close()
    return made


def test_nothing_is_recorded_before_yes(read: Read) -> None:
    asked = [name for name in read.before_consent if not name.startswith("capture/")]
    assert asked == ["api/v1/steps"]
    assert not any("/record/" in name or "/page_" in name for name in read.before_consent)
    first = read.lines()[0]
    assert first["page"]["adapter"] == "gradio" and first["v"] == 3
    assert not any("refused" in line for line in read.lines())
    assert sum("on this page already" in said for said in read.console) == 1


def test_points_are_at_the_character_of_the_markdown(read: Read) -> None:
    told, messages = read.told(), read.messages()
    for word, point in read.spots:
        facts = told[point[2]]
        answer = messages[facts["id"]]
        aligned = align_page(answer["content"], facts["sha256"], facts["units"])
        assert isinstance(aligned, PageAlignment), aligned
        place = aligned.place(point[7])
        assert place is not None
        units = answer["content"].encode("utf-16-le")[2 * place :]
        assert units.decode("utf-16-le").startswith(word)
        assert point[8] == 0


def test_visible_parts_are_those_of_every_character_by_itself(read: Read) -> None:
    for recorded, expected in read.parts:
        assert recorded == expected
    assert len({str(expected) for _, expected in read.parts}) == len(read.parts)


def test_events_of_gradio_are_actions(read: Read) -> None:
    told = read.told()
    events = [event for event in read.events() if event[0] == "a"]
    acts = [(event[3], told[event[2]]["id"]) for event in events]
    assert acts == [
        ("like", "a1.0"),
        ("copy", "a1.0"),
        ("copy", "a1.0"),
        ("regenerate", "a1.0"),
        ("edit", "a1.1"),
        ("follow_up", "a1.1"),
        ("follow_up", "a1.0.1"),
        ("undo", "a3.0"),
    ]
    answer, part = read.messages()["a1.0"]["content"], events[2]
    aligned = align_page(answer, told[part[2]]["sha256"], told[part[2]]["units"])
    assert isinstance(aligned, PageAlignment)
    stretch = aligned.stretch(part[4], part[5])
    assert stretch and answer[stretch[0] : stretch[1] + 1] == "charlie"


def test_the_session_becomes_features_and_labels(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", str(read.sessions), "--out", "prepared"]) == 0
    assert main(["features", "features.parquet", "--from", "prepared"]) == 0
    assert main(["label", "pairs.parquet", "--source", "actions", "--from", "prepared"]) == 0
    features = pl.read_parquet(tmp_path / "features.parquet")
    assert features.height == 2  # two questions with two answers side by side
    assert features["mouse_dwell_ms_a"][0] > 0 and features["mouse_dwell_ms_b"][0] > 0
    messages = {name: line["content"] for name, line in read.messages().items()}
    pairs = pl.read_parquet(tmp_path / "pairs.parquet")
    liked = pairs.filter(pl.col("rule") == "like")
    assert set(liked["chosen"]) == {messages["a1.0"]}
    assert set(liked["rejected"]) == {messages["a1.0.1"], read.rewritten()}
    edited = pairs.filter(pl.col("rule") == "edited")
    assert edited.select("chosen", "rejected").rows() == [("By a **person**.", read.rewritten())]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("recipe", "more"), [("dpo", []), ("kto", ["--unpaired"])])
def test_what_the_reader_did_trains_a_step(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, more: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", str(read.sessions), "--out", "prepared"]) == 0
    labels = ["label", "labels.parquet", "--source", "actions", "--from", "prepared", *more]
    assert main(labels) == 0
    words = ["--config", "smoke", "--dataset", "labels.parquet", "--output_dir", "out"]
    words += ["--max_steps", "1", "--eval_strategy", "no", "--disable_tqdm", "true"]
    words += ["--eval_fold", "null", "--max_length", "2048", "--dataloader_pin_memory", "false"]
    monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLE.parents[2] / "recipes" / f"{recipe}.py"), run_name="__main__")
    assert not end.value.code
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["data"]["train"] > 0


def test_on_an_application_of_your_own_buttons_stay_as_the_page_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    monkeypatch.setenv("GRADIO_SSR_MODE", "False")  # record_chat sets it
    operator = Settings(contact="me@example.org", legal_basis="test")
    app = FastAPI()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        chat = gr.ChatInterface(lambda question, history: question)
        with gr.Blocks() as demo:
            alone = gr.Chatbot()
            capture = record_chat(alone, tmp_path / "s", settings=operator, app=app, path="/chat")
        for bad in ([], ["chat"]):
            with pytest.raises(ConfigError, match="no chat"):
                record_chat(bad, tmp_path / "t", settings=operator)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="2 models for 1"):
            record_chat(chat, tmp_path / "t", settings=operator, models=["a", "b"])
        with pytest.raises(ConfigError, match="origins"):
            origins = ("https://chat.example.org",)
            record_chat(chat, tmp_path / "t", settings=replace(operator, origins=origins))
        gr.mount_gradio_app(app, demo, path="/chat", ssr_mode=False)
        gc.collect()
    assert not getattr(alone, "likeable", False) and not getattr(alone, "_undoable", False)
    client = TestClient(app)
    assert client.get("/chat/ifllm/capture/pages/gradio.js").status_code == 200
    asked = client.post("/chat/ifllm/api/v1/steps", json={"step": "begin"})
    assert asked.json()["collects"] is True
    capture.store.close()
