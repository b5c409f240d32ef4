"""Whose texts of a Gradio history are stored, and whose are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from ifllm_hf.capture import attach
from ifllm_hf.capture.gradio_history import place_of_copied, store_texts, texts_of
from ifllm_hf.capture.server import OpenedSession, SessionStore
from ifllm_hf.capture.settings import Settings

Part = dict[str, Any]


def text(words: str) -> Part:
    return {"type": "text", "text": words}


QUESTION = {"role": "user", "metadata": None, "content": [text("Why?")]}
LEFT = [QUESTION, {"role": "assistant", "content": [text("*So.*"), {"type": "file", "file": {}}]}]
RIGHT = [QUESTION, {"role": "assistant", "content": "Because."}]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionStore]:
    settings = Settings(contact="lab@example.org", legal_basis="test")
    store = attach(FastAPI(), tmp_path_factory.mktemp("gradio") / "s", settings=settings).store
    yield store
    store.close()


@pytest.fixture
def opened(store: SessionStore) -> OpenedSession:
    page = {"adapter": "gradio", "adapter_version": "6.31", "origin": "http://localhost"}
    return store.open_session(consent_version="1", consent_text="yes", page=page)


def told(opened: OpenedSession, **changes: Any) -> str:
    fresh = [
        {"column": 0, "place": 0, "role": "user", "id": "q0.0", "parent": None, "replaces": None},
        {"column": 0, "place": 1, "role": "assistant", "id": "a1.0", "parent": "q0.0"},
        {"column": 1, "place": 1, "role": "assistant", "id": "a1.0.1", "parent": "q0.0"},
    ]
    said = {
        "session": opened.session_id,
        "token": opened.token,
        "chat": "c",
        "sizes": [3, 2],
        "fresh": [{"replaces": None, **message} for message in fresh],
    }
    return json.dumps(said | changes)


def stored(store: SessionStore, opened: OpenedSession) -> list[dict[str, Any]]:
    lines = (Path(store.folder) / f"{opened.session_id}.jsonl").read_text("utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["type"] == "message"]


def test_each_part_of_a_message_stands_for_itself() -> None:
    assert texts_of(LEFT) == [("user", "Why?"), ("assistant", "*So.*"), ("assistant", None)]
    assert texts_of(RIGHT) == [("user", "Why?"), ("assistant", "Because.")]
    assert place_of_copied(LEFT, "*So.*") == 1 and place_of_copied(LEFT, "else") is None


def test_what_the_page_says_is_new_is_stored_with_its_text(
    store: SessionStore, opened: OpenedSession
) -> None:
    assert store_texts(store, told(opened), [LEFT, RIGHT], ["a", None]) == 3
    lines = stored(store, opened)
    facts = [(m["id"], m["parent"], m["role"], m["content"], m["model"]) for m in lines]
    assert facts == [
        ("q0.0", None, "user", "Why?", None),
        ("a1.0", "q0.0", "assistant", "*So.*", "a"),
        ("a1.0.1", "q0.0", "assistant", "Because.", None),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "x" * 43},
        {"session": "s_nobodys"},
        {"sizes": [2, 2]},
        {"fresh": [{"column": 5}]},
        {"fresh": "x"},
        {"chat": "a chat with blanks"},
    ],
    ids=str,
)
def test_nothing_of_what_is_not_the_readers_or_does_not_fit(
    store: SessionStore, opened: OpenedSession, changes: dict[str, Any]
) -> None:
    assert store_texts(store, told(opened, **changes), [LEFT, RIGHT], ["a", "b"]) == 0
    assert stored(store, opened) == []


@pytest.mark.parametrize("said", [None, "", "[]", "{", "7"])
def test_nothing_before_consent_or_in_another_form(store: SessionStore, said: str | None) -> None:
    assert store_texts(store, said, [LEFT, RIGHT], ["a", "b"]) == 0
