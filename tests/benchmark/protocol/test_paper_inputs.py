"""The pairs of the paper, by its rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.paper_inputs import paper_columns, paper_pairs
from ifllm_hf.data.prepared.folder import config_files
from tests.helpers.paper_of_release import loss_free_tables

_PAPER_PAIRS = 675


def test_the_papers_pairs_are_labelled_included_and_touched() -> None:
    rows = pl.DataFrame(
        {
            "query_id": [5, 1, 2, 3, 4, 6, 7],
            "preference": ["a", "b", None, "a", "a", "tie", "b"],
            "excluded_by_paper": [False, False, False, True, False, False, False],
            "gaze_on": [["none", "a"], ["none"], ["a"], ["a"], [], ["a"], None],
            "mouse_on": [["none", "none"], ["b"], ["a"], ["b"], [], ["a"], None],
        }
    )
    assert paper_pairs(rows) == [1, 5]


@pytest.mark.slow
def test_the_rule_gives_exactly_the_papers_pairs(
    prepared_release: Path,
    release_path: Path,
    reference_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows = pl.read_parquet(config_files(prepared_release, "pairwise"))
    tables = [
        set(pl.read_parquet(reference_path / f"paper_{name}.parquet")["query_id"].to_list())
        for name in ("features", "metrics")
    ]
    labels = rows.filter(pl.col("preference").is_not_null(), ~pl.col("excluded_by_paper"))
    expected = sorted(set(labels["query_id"].to_list()) & tables[0] & tables[1])
    assert paper_pairs(rows) == expected and len(expected) == _PAPER_PAIRS

    # The prepared ticks hold what the paper's features need: the same as from the files.
    turns = rows.select("query_id", "conversation_id", "prompt", "response_a", "response_b")
    turns = turns.with_columns(rows["asked_at"])
    mine = paper_columns(prepared_release, turns)
    whole, features, metrics = loss_free_tables(release_path, tmp_path_factory)
    assert whole.height > len(turns)
    theirs = turns.select("query_id")
    for table in (features, metrics):
        theirs = theirs.join(table, on="query_id", maintain_order="left")
    assert mine["query_id"].equals(theirs["query_id"])
    differ = 0
    for name in mine.columns[1:]:
        left = mine[name].fill_null(0).to_numpy()
        right = theirs[name].cast(pl.Float64).fill_null(0).to_numpy()
        differ += int((~np.isclose(left, right, rtol=1e-5, atol=1e-9)).sum())
    # Two conversations have a dozen instants without a row in these files.
    assert differ / (len(mine) * (len(mine.columns) - 1)) < 0.005
