"""Imported chats to label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.data.imports.import_chats import import_open_webui
from tests.helpers.chats.open_webui_chats import write_export


@pytest.fixture
def imported(tmp_path: Path) -> Callable[[list[Any]], Path]:
    """Return a function that imports the entries of an export and returns the folder."""

    def make(entries: list[Any]) -> Path:
        export = write_export(tmp_path / "export.json", entries)
        import_open_webui([export], tmp_path / "chats", progress=False)
        return tmp_path / "chats"

    return make
