"""Built from the release once more, the shipped weights come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ifllm_hf import pretrained
from ifllm_hf.reward.pretrained.build import build
from ifllm_hf.reward.pretrained.heads import Heads


def test_the_release_gives_the_shipped_folder(prepared_release: Path, tmp_path: Path) -> None:
    build(prepared_release, tmp_path)
    again, shipped = Heads.of(tmp_path), Heads.of(pretrained())
    assert again is not None and shipped is not None
    assert again.seen == shipped.seen and again.weights.keys() == shipped.weights.keys()
    for head, weights in shipped.weights.items():
        for name, values in weights.items():
            np.testing.assert_allclose(again.weights[head][name], values, atol=1e-6)
    for file in tmp_path.glob("*.json"):
        assert file.read_text() == (pretrained() / file.name).read_text(), file.name
