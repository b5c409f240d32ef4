"""Made-up turns, their benchmark, and a prepared folder of more of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.suite import run_suite
from ifllm_hf.data.prepared.prepare import prepare_synthetic
from tests.helpers.dwell_turns import DwellModel, make_turns
from tests.helpers.made_once import made_once
from tests.helpers.small_suite import plan


@pytest.fixture
def turns() -> pl.DataFrame:
    return make_turns()


@pytest.fixture
def results(turns):
    return run_suite(turns, [DwellModel()], plan(text_model="length LR", side_bias=["dwell"]))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> Path:
        prepare_synthetic(90, folder / "ifllm", seed=3, progress=False)
        return folder / "ifllm"

    return made_once(tmp_path_factory, "prepared-90", make)
