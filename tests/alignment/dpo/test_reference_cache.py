from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from ifllm_hf.alignment.dpo import reference_cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path))
    return tmp_path / "reference"


def tokens(**changed: list[list[int]]) -> Dataset:
    rows = {"prompt_ids": [[1, 2], [3]], "chosen_ids": [[4], [5, 6]], "rejected_ids": [[7], [8]]}
    return Dataset.from_dict({**rows, **changed})


def test_the_key_changes_with_tokens_their_sides_weights_and_length() -> None:
    keys = {
        reference_cache.reference_key(data, weights, max_length)
        for data, weights, max_length in (
            (tokens(), "w", 8),
            (tokens(), "v", 8),
            (tokens(), "w", 9),
            (tokens(), "w", None),
            (tokens(chosen_ids=[[7], [8]], rejected_ids=[[4], [5, 6]]), "w", 8),
            (tokens(prompt_ids=[[1], [3]], chosen_ids=[[2, 4], [5, 6]]), "w", 8),
            (tokens().select([1, 0]), "w", 8),
        )
    }
    assert len(keys) == 7
    assert reference_cache.reference_key(tokens(), "w", 8) in keys


def test_the_identity_of_weights_is_what_they_are_and_not_their_name() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 5).to(torch.bfloat16)  # 30 and 10 bytes: no multiples of 8
    before = reference_cache.weights_identity(model, None)
    assert reference_cache.weights_identity(model, None) == before
    with torch.no_grad():
        model.weight[2, 1] += 1
    assert reference_cache.weights_identity(model, None) != before


def test_what_is_kept_is_found_and_what_is_broken_is_not(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.array([[-1.5, -2.0], [-3.0, -4.25]], dtype=np.float32)
    assert reference_cache.load("k") is None
    reference_cache.save("k", values)
    found = reference_cache.load("k")
    assert found is not None
    np.testing.assert_array_equal(found, values)
    assert [file.name for file in cache.iterdir()] == ["k.npy"]
    for broken in (b"", (cache / "k.npy").read_bytes()[:-3]):
        (cache / "k.npy").write_bytes(broken)
        assert reference_cache.load("k") is None
        assert "its values are computed again" in caplog.text


def test_a_cache_that_cannot_be_written_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "file"))
    reference_cache.save("k", np.zeros((1, 2), dtype=np.float32))
    assert "are not kept for later runs" in caplog.text


def test_rows_of_a_batch_are_about_equally_long() -> None:
    data = tokens(prompt_ids=[[1], [1, 2]], chosen_ids=[[1], [1]], rejected_ids=[[1], [1] * 5])
    assert reference_cache.longest_first(data).tolist() == [1, 0]
