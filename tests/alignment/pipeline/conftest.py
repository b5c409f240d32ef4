"""A pipeline of two tiny models and two sources of labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.alignment.pipeline_files import CLICKS, SECOND, TINY


@pytest.fixture
def files(tmp_path: Path, prepared_small: Path) -> Callable[..., Path]:
    """Write a pipeline of two models and two sources; returns its YAML."""

    def write(**changes: Any) -> Path:
        for name in ("small", "large"):
            text = yaml.safe_dump({**TINY, "lora_r": 2 if name == "small" else 4})
            (tmp_path / f"{name}.yaml").write_text(text)
        for source in (CLICKS, SECOND):
            (tmp_path / f"{source['name']}.yaml").write_text(yaml.safe_dump(source))
        settings = {
            "data": str(prepared_small), "judge_fold": 0, "models": ["small.yaml", "large.yaml"],
            "sources": ["explicit.yaml", "second.yaml"], "output_dir": str(tmp_path / "out"),
            **changes,
        }  # fmt: skip
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write
