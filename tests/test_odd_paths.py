"""Folders with characters in their names that somebody takes for a pattern, column or URL."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pytest
from datasets import load_dataset

import ifllm_hf  # noqa: F401  (makes the name known)
from ifllm_hf.behavior.features.table import read_turns
from ifllm_hf.benchmark.protocol.prepared_turns import load_prepared
from ifllm_hf.hub.cards.table_numbers import read_small
from ifllm_space.demo_data import open_demo_data
from tests.helpers import prepared_folder


@pytest.fixture(params=["x[1]", "a*", "q?", "#1 50% né", "a=1"])
def odd(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    prepared_small: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The small release; beside it lies another folder, which its name as a pattern stands for."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for place in ("x1", "aa", "qq"):
        prepared_folder.write(tmp_path / place / "ifllm")
    folder = tmp_path / request.param / "ifllm"
    shutil.copytree(prepared_small, folder)
    return folder


def test_every_reader_of_a_prepared_folder_reads_that_one(odd: Path, prepared_small: Path) -> None:
    turns = read_turns(prepared_small)
    pairs = read_small(prepared_small, "pairwise", ["query_id"])["query_id"].to_list()
    assert load_dataset(str(odd), split="train")["query_id"] == pairs
    assert load_dataset("ifllm", data_dir=str(odd), split="train")["query_id"] == pairs
    assert read_small(odd, "pairwise", ["query_id"])["query_id"].to_list() == pairs
    assert read_turns(odd).equals(turns)
    data = open_demo_data(odd)
    assert sorted(data.index["query_id"]) == sorted(turns["query_id"])
    assert data.turn(pairs[0])["query_id"] == pairs[0]
    for _ in range(2):  # the second time out of the cache
        found = load_prepared(odd, odd.parent / "cache", ablations=False).turns
        assert found["query_id"].to_list() == turns["query_id"].to_list()
        assert "a" not in found.columns
