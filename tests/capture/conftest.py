"""A store of sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import OpenedSession, SessionStore
from ifllm_hf.hub.collecting import HubPush
from tests.helpers.capture.session_store import CONSENT, make_settings


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Start stores on one folder, one after the other; the last is closed at the end."""
    started: list[SessionStore] = []

    def make(**changes: Any) -> SessionStore:
        for store in started:
            store.close()
        store = SessionStore(make_settings(tmp_path / "sessions", **changes), push=HubPush)
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
