"""One tag on pages of our own that have the hooks of an adapter, from another origin."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from fastapi import FastAPI

from ifllm_hf.capture import attach
from ifllm_hf.capture.server import PageMessage, put_messages
from ifllm_hf.cli import main
from ifllm_hf.data.rendered.page_alignment import PageAlignment, align_page
from tests.helpers.capture.session_store import make_settings
from tests.helpers.loopback import Loopback, Request
from tests.helpers.spaces.running import free_port, wait_until

PAGES = Path(__file__).parent / "pages"
SHOWN = {"": "generic.html", "c": "open_webui.html", "conversation": "chat_ui.html"}
RESTS = "[...ifllmPage.reader.messages.byElement.values()].every(m => m.rested !== null)"


class Chats(Loopback):
    """Somebody's chat pages; the path says which, the query how."""

    tags = ""

    def answer(self, request: Request) -> None:
        if request.command == "POST":
            request.body()
            return request.send_json({})
        page = SHOWN.get(request.path.split("/")[1])
        text = (PAGES / page).read_text("utf-8").replace("TAGS", self.tags) if page else ""
        request.send(200 if page else 204, text.encode(), {"Content-Type": "text/html"})


class Served:
    """The recorder's server, in a thread of this process, and the chat pages."""

    def __init__(self, folder: Path, chats: Chats) -> None:
        self.chats, self.sessions = chats, folder / "sessions"
        app = FastAPI()
        origins = (chats.url.rstrip("/"),)
        self.capture = attach(app, settings=make_settings(self.sessions, origins=origins))
        self.url = f"http://localhost:{(port := free_port())}"  # another site than 127.0.0.1
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "the server starts")

    def tag(self, adapter: str, **more: str) -> str:
        data = "".join(f' data-{name}="{value}"' for name, value in more.items())
        source = f"{self.url}/capture/ifllm.js"
        return f'<script type="module" src="{source}" data-adapter="{adapter}"{data}></script>'

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.capture.store.close()


class Reader:
    """Somebody in front of a chat page."""

    def __init__(self, served: Served, context: Any, path: str, tags: str) -> None:
        self.served = served
        self.said: list[tuple[str, str]] = []
        for file in served.sessions.glob("s_*.jsonl"):
            file.unlink()
        served.chats.tags = tags
        self.page = context.new_page()
        self.page.on("console", lambda line: self.said.append((line.type, line.text)))
        self.page.on("pageerror", lambda fault: self.said.append(("pageerror", str(fault))))
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(served.chats.url.rstrip("/") + path)

    def agree(self) -> None:
        self.page.click("[data-ifllm=yes]")
        self.page.wait_for_function("ifllmPage.actions")
        self.rest()

    def rest(self) -> None:
        self.page.wait_for_function(RESTS)

    def end(self) -> None:
        self.page.click("[data-ifllm=stop]")
        self.page.get_by_role("status").filter(has_text="stopped").wait_for()

    def errors(self) -> list[str]:
        return [text for kind, text in self.said if kind in ("error", "pageerror")]

    @property
    def path(self) -> Path:
        (path,) = self.served.sessions.glob("s_*.jsonl")
        return path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def events(self, kind: str) -> list[list[Any]]:
        lines = self.lines()
        assert not any("refused" in line for line in lines)
        batches = [line["events"] for line in lines if line["type"] == "batch"]
        return [event for events in batches for event in events if event[0] == kind]

    def told(self) -> dict[int, dict[str, Any]]:
        return {event[2]: event[3] for event in self.events("m")}

    def acts(self) -> list[tuple[str, str]]:
        told = self.told()
        return [(event[3], told[event[2]]["id"]) for event in self.events("a")]

    def turns(self) -> list[tuple[str, str | None, list[str], str]]:
        facts = [event[2] for event in self.events("u")]
        return [(f["question"], f["parent"], f["siblings"], f["shown"]) for f in facts]

    def tell(self, chat: str, *texts: tuple[str, str | None, str]) -> None:
        """Store texts as the page's owner does: id, parent, Markdown."""
        messages = [
            PageMessage(
                chat=chat,
                id=name,
                parent=parent,
                role="user" if name.startswith("q") else "assistant",
                content=content,
            )
            for name, parent, content in texts
        ]
        put_messages(self.served.capture.store, self.path.stem, messages)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Chats() as chats:
        running = Served(tmp_path_factory.mktemp("any_page"), chats)
        yield running
        running.stop()


def test_a_page_with_attributes_is_recorded_by_one_tag(
    served: Served, context: Any, tmp_path: Path
) -> None:
    reader = Reader(served, context, "/", served.tag("generic", language="de"))
    page = reader.page
    page.get_by_text("Darf").first.wait_for()
    assert not [url for url in reader.asked if "/record/" in url or "/events" in url]
    assert not list(served.sessions.glob("s_*"))
    page.click("[data-ifllm=yes]")
    page.wait_for_function("ifllmPage.actions")
    reader.rest()
    page.locator("b").hover()
    page.wait_for_timeout(90)  # longer than a sample
    page.click("[data-ifllm-action=like]")
    page.click("[data-ifllm-action=copy]")
    page.click("[data-ifllm-action=dislike]")
    page.evaluate("asked('q2', 'a3', 'At <em>dawn</em>.')")
    page.wait_for_function("ifllmPage.reader.messages.known.size === 3")
    reader.rest()
    page.click("[data-ifllm-action=regenerate]")
    page.wait_for_function("ifllmPage.reader.messages.known.size === 4")
    reader.rest()
    page.evaluate("asked('q3', 'a4', 'Never.')")
    page.wait_for_function("ifllmPage.reader.messages.known.size === 5")
    page.evaluate("ifllmPage.capture.flush()")
    assert reader.errors() == []

    first = reader.lines()[0]
    assert first["v"] == 3 and first["page"]["adapter"] == "generic"
    assert first["page"]["origin"] == served.chats.url.rstrip("/")
    assert reader.acts() == [
        ("like", "a1"),
        ("copy", "a1"),
        ("dislike", "a2"),
        ("regenerate", "a3"),
        ("follow_up", "a3-again"),
    ]
    assert reader.turns() == [
        ("q1", None, ["a1", "a2"], "side_by_side"),
        ("q2", "a1", ["a3"], "one_at_a_time"),
        ("q2", "a1", ["a3", "a3-again"], "one_at_a_time"),
    ]
    texts = {"a1": "The **wren** sings.", "a2": "A *robin* does."}
    told = reader.told()
    at = [event for event in reader.events("p") if event[2] is not None and event[8] == 0]
    facts = told[at[0][2]]
    aligned = align_page(texts[facts["id"]], facts["sha256"], facts["units"])
    assert facts["id"] == "a1" and isinstance(aligned, PageAlignment)
    place = aligned.place(at[0][7])
    assert place is not None and texts["a1"][place] in "wren"

    reader.tell(
        "chat-7",
        ("q1", None, "Which bird sings?"),
        ("a1", "q1", texts["a1"]),
        ("a2", "q1", texts["a2"]),
        ("q2", "a1", "And then?"),
        ("a3", "q2", "At *dawn*."),
        ("a3-again", "q2", "No: at dusk."),
    )
    assert main(["prepare", str(served.sessions), "--out", str(tmp_path / "p")]) == 0
    messages = pl.read_parquet(tmp_path / "p" / "messages" / "*.parquet")
    assert set(messages["content"]) >= set(texts.values())
    actions = pl.read_parquet(tmp_path / "p" / "actions" / "*.parquet")
    assert actions["action"].to_list() == [
        "like", "copy", "dislike", "regenerate", "follow_up",
    ]  # fmt: skip


def test_a_page_that_no_longer_fits_is_not_recorded_and_says_why(
    served: Served, context: Any
) -> None:
    reader = Reader(served, context, "/", served.tag("generic"))
    reader.agree()
    reader.page.evaluate("asked('q2', 'a3', 'Elsewhere.', true)")
    reader.page.wait_for_function("ifllmPage.fault && !ifllmPage.capture")
    (line,) = reader.errors()
    for word in ("generic", "an action is in an answer", "regenerate"):
        assert word in line
    assert "Elsewhere" not in line
    seen = len(reader.lines())
    reader.page.locator("b").hover()
    reader.page.wait_for_timeout(90)
    assert len(reader.lines()) == seen

    unfit = "<script>document.querySelector('[data-ifllm-question]').remove()</script>"
    reader = Reader(served, context, "/", unfit + served.tag("generic"))
    reader.page.wait_for_function("ifllmPage.fault")
    (line,) = reader.errors()
    assert "a turn has a question" in line
    assert reader.page.locator("ifllm-consent").count() == 0
    assert not any("/api/" in url for url in reader.asked)


def test_a_second_tag_does_nothing_and_says_so(served: Served, context: Any) -> None:
    later = served.tag("open-webui").replace("ifllm.js", "ifllm.js?later")
    reader = Reader(served, context, "/", served.tag("generic") * 2 + later)
    reader.page.wait_for_selector("[data-ifllm=yes]")
    (again, other) = reader.said
    assert again[0] == "info" and "second tag" in again[1]
    assert other[0] == "error" and "generic is on this page already; open-webui" in other[1]
    assert reader.page.locator("ifllm-consent").count() == 1
    assert reader.page.evaluate("ifllmPage.name") == "generic"


@pytest.mark.parametrize(
    ("adapter", "endpoint"), [("gradio", ""), ("generic", "http://127.0.0.1:9")]
)
def test_what_cannot_start_says_so(
    served: Served, context: Any, adapter: str, endpoint: str
) -> None:
    reader = Reader(served, context, "/", served.tag(adapter, endpoint=endpoint))
    wait_until(lambda: reader.page.title() and reader.errors(), "it says so")
    line = next(text for text in reader.errors() if text.startswith("ifllm"))
    assert "nothing is recorded" in line and (endpoint or "no adapter") in line
    assert reader.page.locator("ifllm-consent").count() == 0


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def test_open_webui_has_its_answers_side_by_side_and_its_actions(
    served: Served, context: Any
) -> None:
    reader = Reader(served, context, "/c/chat-9", served.tag("open-webui"))
    page, known = reader.page, "ifllmPage.reader.messages.known.size"
    reader.agree()
    page.locator("b").hover()
    page.wait_for_timeout(90)  # longer than a sample
    page.evaluate("select('2')")  # by the page, not by its reader
    page.locator("i").click()  # draws both anew
    page.wait_for_selector(".border-2 i")
    page.wait_for_function("!ifllmPage.actions.choosing")
    page.locator(".border-2 .copy-response-button").click()
    page.locator(".border-2 .rate").click()
    page.wait_for_function("window.rated === 3")
    page.evaluate("next()")
    page.wait_for_function(f"{known} === 3")
    reader.rest()
    page.evaluate("show(6, 'It', false)")
    page.wait_for_function(f"{known} === 4")
    page.evaluate("halt()")
    page.evaluate("show(6, 'It rests.', true)")
    reader.rest()
    page.evaluate("show(5, 'It sleeps.', true)")  # the previous one again
    page.wait_for_timeout(60)
    assert page.evaluate("ifllmPage.capture.flush()")
    assert reader.errors() == []

    one, asked = uuid(1), uuid(4)
    assert reader.acts() == [
        ("switch", uuid(3)),
        ("copy", uuid(3)),
        ("like", uuid(3)),
        ("regenerate", uuid(5)),
        ("stop", uuid(6)),
    ]
    assert reader.turns() == [
        (one, None, [uuid(2), uuid(3)], "side_by_side"),
        (asked, uuid(3), [uuid(5)], "one_at_a_time"),
        (asked, uuid(3), [uuid(5), uuid(6)], "one_at_a_time"),
    ]
    assert {event[2]["chat"] for event in reader.events("u")} == {"chat-9"}
    told = {facts["id"]: facts for facts in reader.told().values()}
    texts = {2: "The **oak** grows.", 3: "The *elm* grows.", 5: "It sleeps.", 6: "It rests."}
    for number, text in texts.items():  # without what was thought
        facts = told[uuid(number)]
        assert isinstance(align_page(text, facts["sha256"], facts["units"]), PageAlignment)
    assert page.evaluate("fetch !== ifllmPage.actions.fetch")
    page.evaluate("ifllmPage.stop()")
    page.wait_for_function("!ifllmPage.capture && /native/.test(fetch)")


def test_chat_ui_has_its_answers_in_turn_and_no_buttons(served: Served, context: Any) -> None:
    reader = Reader(served, context, "/conversation/moon", served.tag("chat-ui"))
    page, known = reader.page, "ifllmPage.reader.messages.known.size"
    reader.agree()
    page.locator("b").hover()
    page.wait_for_timeout(90)  # longer than a sample
    page.evaluate("show('a-2', 'assistant', 'Some 30 Earths.', 'a-1')")  # a retry
    page.wait_for_function(f"{known} === 2")
    reader.rest()
    page.evaluate("show('q-2', 'user', 'And the sun?'); show('a-3', 'assistant', 'Far.')")
    page.wait_for_function(f"{known} === 3")
    reader.rest()
    assert page.evaluate("ifllmPage.capture.flush()")
    assert reader.errors() == []
    assert reader.acts() == [("follow_up", "a-2")]
    assert reader.turns() == [
        ("q-1", None, ["a-1"], "one_at_a_time"),
        ("q-1", None, ["a-1", "a-2"], "one_at_a_time"),
        ("q-2", "a-2", ["a-3"], "one_at_a_time"),
    ]
    told = {facts["id"]: facts for facts in reader.told().values()}
    facts = told["a-1"]
    aligned = align_page("About **384,400** km.", facts["sha256"], facts["units"])
    assert facts["chat"] == "moon" and isinstance(aligned, PageAlignment)
    page.evaluate("document.querySelector('[data-message-role]').dataset.messageId = 'a-3'")
    page.evaluate("show('q-3', 'user', 'Hm?')")
    page.wait_for_function("ifllmPage.fault && !ifllmPage.capture")
    assert "no two messages have one id" in reader.errors()[0]
