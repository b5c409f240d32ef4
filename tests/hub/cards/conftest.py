"""Prepared folders that want a card."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.data.prepared.prepare import prepare_synthetic
from ifllm_hf.hub.cards.dataset_card import write_card
from tests.helpers import prepared_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepared_folder.write(tmp_path / "ifllm").path


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "ifllm"
    prepare_synthetic(8, out, seed=0, progress=False, card=write_card)
    return out
