"""A folder of sessions, and what `prepare` without ranks makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.data.prepared.prepare import PrepareReport, prepare
from tests.helpers.made_up_sessions import write_sessions


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    write_sessions(folder, 10, steps=8)
    write_sessions(folder, 2, seed=1, kind="pointwise", steps=8)
    return folder


@pytest.fixture
def plain(sessions: Path, tmp_path: Path) -> PrepareReport:
    return prepare(sessions, tmp_path / "plain", progress=False)
