from __future__ import annotations

import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.subsets import length_thirds, similar_length, standard_subsets


@pytest.fixture
def data(turns):
    return labelled(turns)


def test_similar_length_is_a_ratio_below_the_limit() -> None:
    rows = pl.DataFrame(
        {
            "query_id": range(5),
            "response_a": ["x" * n for n in (100, 100, 117, 10, 0)],
            "response_b": ["x" * n for n in (116, 117, 100, 10, 0)],
        }
    )
    assert similar_length(rows).to_list() == [0, 3, 4]


def test_thirds_cover_every_row_once(data) -> None:
    thirds = length_thirds(data.rows)
    ids = sorted(i for part in thirds.values() for i in part.to_list())
    assert ids == data.rows["query_id"].to_list()
    assert list(standard_subsets(data.rows)) == ["similar length", *thirds]
