from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.benchmark.protocol import prepared_turns
from ifllm_hf.benchmark.protocol.prepared_turns import STILL_MS, load_prepared
from ifllm_hf.data.prepared.folder import config_files


@pytest.fixture(scope="module")
def pairs(prepared: Path) -> pl.DataFrame:
    return pl.read_parquet(config_files(prepared, "pairwise"))


def test_features_are_computed_once(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_prepared(prepared, tmp_path)
    assert first.notes == () and len(list(tmp_path.glob("features-*.parquet"))) == 4
    monkeypatch.setattr(prepared_turns, "behavior_features", None)
    second = load_prepared(prepared, tmp_path)
    assert second.turns.equals(first.turns)
    assert set(second.antisymmetric) <= set(second.turns.columns)
    # Ticks and dialogue stay behind: no model may see them.
    assert not [c for c, d in second.turns.schema.items() if isinstance(d, pl.List)]


def test_still_gaze_needs_a_mouse_at_rest(pairs: pl.DataFrame) -> None:
    still = prepared_turns._still(pairs)
    assert still["query_id"].equals(pairs["query_id"])
    moved = [
        (side, idle)
        for sides, idles in zip(still["gaze_on"], still["mouse_idle_ms"], strict=True)
        if sides is not None
        for side, idle in zip(sides, idles, strict=True)
    ]
    assert all(idle is not None and idle > STILL_MS for side, idle in moved if side in ("a", "b"))
    assert any(side in ("a", "b") for side, _ in moved)
    assert behavior_features(still)["gaze_dwell_ms_a"].fill_nan(0).sum() < (
        behavior_features(pairs)["gaze_dwell_ms_a"].fill_nan(0).sum()
    )
