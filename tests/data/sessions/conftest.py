"""Collected sessions, made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.made_up_sessions import TrueSession, write_sessions


@pytest.fixture
def truths(tmp_path: Path) -> list[TrueSession]:
    return write_sessions(tmp_path / "sessions", 3, steps=12)
