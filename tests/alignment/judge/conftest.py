"""The key of the judge, and the questions it gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Thirty questions of six readers in folds 0 and 1."""
    path = tmp_path / "questions.jsonl"
    rows = [
        {"prompt": f"Why {i}?", "user_id": f"r{i % 6}", "fold": i % 2, "bullet_suffix": i % 3 == 0}
        for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
