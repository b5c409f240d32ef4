"""The Space of an operator who collects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ifllm_hf.capture.settings import Settings
from ifllm_space.demo_data import DemoData
from tests.helpers.spaces.application import build_space


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
