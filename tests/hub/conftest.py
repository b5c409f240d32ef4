"""A reward model as a run leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.reward.model_with_processor import make
from tests.helpers.reward.run_folder import RUN, SCORES


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    model, processor = make(seed=2)
    model.config.text_config._name_or_path = "/somewhere/deep/backbone"
    return model, processor


@pytest.fixture
def saved(parts: tuple[Any, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "reward"
    for part in parts:
        part.save_pretrained(folder)
    (folder / "run.json").write_text(json.dumps(RUN))
    (folder / "benchmark.json").write_text(json.dumps(SCORES))
    return folder
