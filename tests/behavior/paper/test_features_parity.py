"""Every cell of the paper's own output, from the real release ($IFLLM_RELEASE, $IFLLM_REFERENCE).

The reference is what the published pipeline wrote: `paper_features.parquet` (1513 x 222) and
`paper_metrics.parquet` (1484 x 23).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.paper.features import (
    METRIC_COLUMNS,
    PAPER_COLUMNS,
    paper_tables,
    repair_report,
)
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.lossy import parse_lossy
from ifllm_hf.data.raw.release_source import open_source
from ifllm_hf.data.raw.samples import ConversationSamples
from tests.helpers.paper_labels import paper_labels
from tests.helpers.paper_of_release import loss_free_tables

pytestmark = pytest.mark.slow

PAIRWISE = ("rel_gaze_one.csv", "rel_mouse_left.csv", "rel_gaze_two.csv", "rel_mouse_right.csv")
POINTWISE = ("rel_gaze.csv", "rel_mouse.csv")
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Both:
    turns: pl.DataFrame
    lossy: tuple[pl.DataFrame, pl.DataFrame]
    loss_free: tuple[pl.DataFrame, pl.DataFrame]
    ledger: Ledger


@pytest.fixture(scope="module")
def reference() -> Path:
    if "IFLLM_REFERENCE" not in os.environ:
        pytest.skip("$IFLLM_REFERENCE (folder with the paper's output) is not set")
    return Path(os.environ["IFLLM_REFERENCE"])


@pytest.fixture(scope="module")
def both(release_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    turns, *loss_free = loss_free_tables(release_path, tmp_path_factory)
    ledger, lossy = Ledger("rel files"), []
    with open_source(release_path, hash_content=False) as source:
        for conversation in source.conversations():
            files = conversation.files
            names = PAIRWISE if all(n in files for n in PAIRWISE) else POINTWISE
            read = (parse_lossy(files[n], ledger) for n in names)
            lossy.append(ConversationSamples(conversation.conversation_id, *read))
    return Both(turns, paper_tables(lossy, turns), (loss_free[0], loss_free[1]), ledger)


def compare(ours: pl.DataFrame, theirs: pl.DataFrame) -> int:
    """Compare all cells, missing ones included, and return how many there were."""
    ours, theirs = ours.sort("query_id"), theirs.sort("query_id")
    assert ours["query_id"].equals(theirs["query_id"])
    assert set(ours.columns) == set(theirs.columns)
    wrong = {}
    for column in theirs.columns:
        if theirs[column].dtype == pl.String:
            differs = (ours[column] != theirs[column]).to_numpy()
        else:
            mine, other = (
                frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
                for frame in (ours, theirs)
            )
            differs = ~np.isclose(mine, other, rtol=TOLERANCE, atol=0, equal_nan=True)
        if differs.any():
            wrong[column] = int(differs.sum())
    assert not wrong
    return theirs.height * theirs.width


def test_features_equal_the_papers_in_every_cell(both: Both, reference: Path) -> None:
    theirs = pl.read_parquet(reference / "paper_features.parquet")
    keys = both.turns.select("query_id", "user_id", "task_id")
    labelled = keys.join(paper_labels(both.turns), on="query_id")
    ours = labelled.join(both.lossy[0], on="query_id")
    assert compare(ours, theirs) == 1513 * 222
    assert [c for c in theirs.columns if c in PAPER_COLUMNS] == list(PAPER_COLUMNS)


def test_metrics_equal_the_papers_in_every_cell(both: Both, reference: Path) -> None:
    theirs = pl.read_parquet(reference / "paper_metrics.parquet")
    keys = both.turns.select("query_id", "user_id", "task_id")
    assert compare(keys.join(both.lossy[1], on="query_id"), theirs) == 1484 * 23


def test_the_papers_reading_loses_what_it_is_known_to_lose(both: Both) -> None:
    both.ledger.check()
    assert both.ledger.seen == 5_873_668
    assert both.ledger.kept == 5_857_875


def test_what_the_loss_free_reading_changes(both: Both) -> None:
    features, metrics = (
        repair_report(old, new) for old, new in zip(both.lossy, both.loss_free, strict=True)
    )
    assert set(features["column"]) == set(PAPER_COLUMNS)
    assert set(metrics["column"]) == set(METRIC_COLUMNS)
    # The texts do not change, about a tenth of the numbers do.
    lengths = pl.col("column").str.contains("_length")
    assert features.filter(lengths)["changed"].sum() == 0
    share = features["changed"].sum() / features["cells"].sum()
    assert 0.05 < share < 0.15
    assert both.lossy[0]["query_id"].equals(both.loss_free[0]["query_id"])
    assert both.lossy[1]["query_id"].equals(both.loss_free[1]["query_id"])
