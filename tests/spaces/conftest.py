"""A store of sessions, and values made up from the schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_space.server import OpenedSession, SessionStore
from ifllm_space.settings import Settings

CONSENT = {"consent_version": "1", "consent_text": "I agree."}


def _settings(folder: Path, **changes: Any) -> Settings:
    fast = {"uploads_per_minute": 10**9, "sessions_per_minute": 10**9}
    people = {"contact": "lab@example.org", "legal_basis": "a test"}
    return Settings(**{"sessions": folder, **fast, **people, **changes})


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Start stores on one folder, one after the other; the last is closed at the end."""
    started: list[SessionStore] = []

    def make(**changes: Any) -> SessionStore:
        for store in started:
            store.close()
        store = SessionStore(_settings(tmp_path / "sessions", **changes))
        store.start()
        started.append(store)
        return store

    yield make
    for store in started:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., SessionStore]) -> SessionStore:
    return make_store()


@pytest.fixture
def opened(store: SessionStore) -> OpenedSession:
    return store.open_session(**CONSENT)


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """Settings of an operator who collects."""
    return _settings


@pytest.fixture(scope="session")
def lines_of() -> Callable[[SessionStore, str], list[dict[str, Any]]]:
    """Read a session file strictly."""

    def read(store: SessionStore, session_id: str) -> list[dict[str, Any]]:
        data = (store.folder / f"{session_id}.jsonl").read_bytes()
        assert data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    return read


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., dict[str, Any]]:
    """A batch line."""

    def make(tab: str = "tabtabtab", seq: int = 0, events: Any = None) -> dict[str, Any]:
        return {
            "type": "batch",
            "tab": tab,
            "seq": seq,
            "origin_epoch_ms": 1.7e12,
            "sent_epoch_ms": 1.7e12,
            "received_epoch_ms": 1.7e12,
            "events": events or [["f", 1.5, 1]],
        }

    return make
