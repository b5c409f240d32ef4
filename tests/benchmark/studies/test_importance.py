from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.benchmark.studies.importance import SHOWN, importance_figure


def test_importance_figure_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [
        {
            "model": name,
            "set": HEADLINE,
            "protocol": "worker",
            "subset": "all",
            "auc": 0.6,
            "auc_low": 0.5,
            "auc_high": 0.7,
        }
        for name in SHOWN[:4]
    ]
    importance_figure(rows, tmp_path / "i.png")
    assert (tmp_path / "i.png").read_bytes()[:4] == b"\x89PNG"
