from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.reward.feature_rows import Rows, make_rows
from tests.helpers.reward.turns import make_backbone


@pytest.fixture(scope="session")
def rows() -> Rows:
    return make_rows()


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny random BERT, as TRL's `ModelConfig`."""
    trl = pytest.importorskip("trl")
    return trl.ModelConfig(model_name_or_path=make_backbone(tmp_path_factory.mktemp("backbone")))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` tells folders of one name and shape apart by nothing."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
