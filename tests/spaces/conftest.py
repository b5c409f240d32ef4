"""A store of sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ifllm_space.demo_data import DemoData
from ifllm_space.server import OpenedSession, SessionStore
from ifllm_space.settings import Settings
from tests.helpers.spaces.application import build_space
from tests.helpers.spaces.session_store import CONSENT, make_settings


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Start stores on one folder, one after the other; the last is closed at the end."""
    started: list[SessionStore] = []

    def make(**changes: Any) -> SessionStore:
        for store in started:
            store.close()
        store = SessionStore(make_settings(tmp_path / "sessions", **changes))
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sessions are kept: the operator collects."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def client(demo_data: DemoData, folder: Path) -> Iterator[TestClient]:
    settings = Settings(
        sessions=folder / "sessions", contact="a@b.example", legal_basis="consent", secret="x" * 40
    )
    with TestClient(build_space(demo_data, settings)) as client:
        (folder / "sessions" / "s.jsonl").write_text("somebody's reading")
        yield client
