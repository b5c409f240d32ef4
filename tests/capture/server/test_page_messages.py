"""A session of a chat page: what its browser may send, and what only its owner may tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ifllm_hf.capture import attach
from ifllm_hf.capture.server import (
    OpenedSession,
    PageMessage,
    Refusal,
    SessionStore,
    put_messages,
)
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.pages.page_session import read_page_session
from ifllm_hf.data.sessions.session_file import read_session
from tests.helpers.capture.session_store import CONSENT, make_settings
from tests.helpers.chats.page_sessions import plain

PAGE = {"adapter": "open-webui", "adapter_version": "1.0", "origin": "https://chat.example"}
HASH = "0" * 64


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = FastAPI()
    sessions = tmp_path_factory.mktemp("pages") / "sessions"
    store = attach(app, settings=make_settings(sessions)).store
    with TestClient(app, base_url="https://chat.example") as client:
        client.store = store  # type: ignore[attr-defined]
        yield client
    store.close()


@pytest.fixture(scope="module")
def store(client: TestClient) -> SessionStore:
    found: SessionStore = client.store  # type: ignore[attr-defined]
    return found


@pytest.fixture
def opened(store: SessionStore) -> OpenedSession:
    return store.open_session(**CONSENT, page=PAGE)


def upload(opened: OpenedSession, *events: Any, **changes: Any) -> dict[str, Any]:
    clocks = {"origin_epoch_ms": 1.7e12, "sent_epoch_ms": 1.7e12}
    who = {"session": opened.session_id, "token": opened.token, "tab": "tabtabtab"}
    return {"v": 3, **who, "seq": 0, **clocks, "events": list(events), **changes}


def told(text: str, message_id: str = "a") -> dict[str, Any]:
    return {"chat": "c", "id": message_id, **plain(text).facts()}


EVENTS = [
    ["e", 0, "start", {}],
    ["m", 1, 0, {**told("Because."), "model": "m-1", "siblings": 2}],
    ["m", 1, 1, told("So.", "b")],
    ["u", 2, {"chat": "c", "question": "q", "parent": None, "siblings": ["a", "b"],
              "shown": "side_by_side", "question_sha256": HASH}],
    ["p", 3, 0, 1, 2, 1, 2, 4, 0, 0, "mouse"],
    ["p", 4, None, 1, 2, None, None, None, None, 0, "touch"],
    ["g", 5, 1, 1, 2, 1, 2, 0, 3.5, 1, 20],
    ["s", 6, None, 10, 0],
    ["s", 6, 1, 10, 0],
    ["w", 7, 0, 0, 7],
    ["w", 7, 1, None, None],
    ["c", 8, 0, 1, 2],
    ["r", 9, 0, "enter", "like", "pointer"],
    *(["a", 10, 0, act, None, None] for act in ("like", "dislike", "copy", "regenerate", "edit")),
    *(["a", 10, 0, act, None, None] for act in ("continue", "stop", "switch", "follow_up", "undo")),
    ["a", 11, 0, "copy", 0, 3],
    ["o", 12, 0, {"source_sha256": HASH, "runs": [[0, 0, 8]]}],
    ["l", 13, {"vw": 1, "vh": 1, "sx": 0, "sy": 0, "dpr": 1, "scale": 1, "screen": [1, 1],
               "boxes": [[0, [0, 0, 1, 1, 1]]]}],
    ["v", 14, "hidden"],
    ["f", 15, 0],
]  # fmt: skip
# What is wrong with an event, and the reason under which it is counted.
BAD: list[tuple[Any, str]] = [
    (["p", 1, 0, "A", 1, 1, 1, 1, 1, 0, 1, "mouse"], "pointer: "),  # of version 2
    (["p", 1, 10_000, 1, 1, 1, 1, 1, 0, 1, "mouse"], "pointer: out of range"),
    (["m", 1, 0, {**told("x"), "text": "of the page"}], "message: surplus field"),
    (["m", 1, 0, {**told("x"), "id": "not printable é"}], "message: out of range"),
    (["m", 1, 0, {**told("x"), "sha256": "short"}], "message: out of range"),
    (["m", 1, 0, {**told("x"), "siblings": 10_001}], "message: out of range"),
    (["a", 1, 0, "applaud", None, None], "action: unknown value"),
    (["a", 1, None, "copy", None, None], "action: wrong type"),
    (["u", 1, {}], "turn_told: missing field"),
    (["o", 1, 0, {"source_sha256": HASH, "runs": [[0, 0, 0]]}], "runs: out of range"),
    (["message", 1, 0, {}], "unknown kind"),
]


def test_every_kind_of_event_is_stored_as_it_was_sent(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    said = client.post("/api/v1/events", json=upload(opened, *EVENTS)).json()
    assert said["ok"] and "refused" not in said
    first, line = map(json.loads, path_of(store, opened).read_bytes().splitlines())
    assert (first["v"], first["page"]) == (3, PAGE) and fits(first, "session_line", version=3)
    assert (line["v"], line["events"]) == (3, EVENTS) and fits(line, "batch_line", version=3)


@pytest.mark.parametrize(("event", "reason"), BAD)
def test_a_bad_event_is_refused_alone(
    client: TestClient, opened: OpenedSession, event: Any, reason: str
) -> None:
    said = client.post("/api/v1/events", json=upload(opened, EVENTS[0], event, EVENTS[1])).json()
    ((why, n),) = said["refused"].items()
    assert said["ok"] and n == 1 and why.startswith(reason)


@pytest.mark.parametrize("version", [1, 4, "3", None, True])
def test_other_versions_are_refused(
    client: TestClient, opened: OpenedSession, version: Any
) -> None:
    answer = client.post("/api/v1/events", json=upload(opened, EVENTS[0], v=version))
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed")


def test_what_the_owner_tells_meets_what_the_browser_saw(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    client.post("/api/v1/events", json=upload(opened, *EVENTS[:6]))
    said = [
        PageMessage(chat="c", id="q", parent=None, role="user", content="Why?"),
        PageMessage(chat="c", id="a", parent="q", role="assistant", content="*Because.*"),
        PageMessage(chat="c", id="b", parent="q", role="assistant", content="So.", model="m-2"),
    ]
    assert put_messages(store, opened.session_id, said) == 3
    session = read_session(path_of(store, opened))
    assert session is not None and session.lines.dropped == {}
    page = read_page_session(session, "reader", {}, public=False)
    (turn,) = page.rows.turns.values()
    assert (turn["response_a"], turn["model_b"]) == ("*Because.*", "m-2")
    (table,) = page.ticks.tables.values()
    assert table["mouse_char"].to_pylist() == [5, None]


def test_no_browser_can_tell_a_text(
    client: TestClient, store: SessionStore, opened: OpenedSession
) -> None:
    line = {"type": "message", "v": 3, "chat": "c", "id": "a", "parent": None, "role": "user"}
    line |= {"content": "forged", "at_epoch_ms": 1}
    for body in (upload(opened, line), {**upload(opened, EVENTS[0]), **line}, line):
        client.post("/api/v1/events", json=body)
    assert b"forged" not in path_of(store, opened).read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"role": "system"}, {"id": ""}, {"chat": "x" * 129}, {"content": "x" * 1_000_001},
     {"origin": "stolen"}],
)  # fmt: skip
def test_a_message_that_does_not_fit_is_refused(
    store: SessionStore, opened: OpenedSession, change: dict[str, Any]
) -> None:
    good = {"chat": "c", "id": "a", "parent": None, "role": "user", "content": "Why?"}
    with pytest.raises(Refusal, match="message"):
        put_messages(store, opened.session_id, [PageMessage(**{**good, **change})])


def path_of(store: SessionStore, opened: OpenedSession) -> Any:
    return store.folder / f"{opened.session_id}.jsonl"
