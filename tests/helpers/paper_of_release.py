"""The paper's tables of the real release, read without loss: a dozen seconds, once per run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from ifllm_hf.behavior.paper.features import paper_tables
from ifllm_hf.data.release import open_release, read_samples
from tests.helpers.made_once import made_once


class LossFree(NamedTuple):
    """All turns of the release, and what `paper_tables` says of them."""

    turns: pl.DataFrame
    features: pl.DataFrame
    metrics: pl.DataFrame


def loss_free_tables(release: Path, tmp_path_factory: pytest.TempPathFactory) -> LossFree:
    def make(folder: Path) -> LossFree:
        turns = open_release(release, hash_content=False).turns
        return LossFree(turns, *paper_tables(read_samples(release), turns))

    return made_once(tmp_path_factory, "paper-tables", make)
