from __future__ import annotations

from pathlib import Path

from ifllm_hf.benchmark.protocol import ahead
from ifllm_hf.benchmark.protocol.prepared_turns import load_prepared
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.reward.baselines import choice as baselines


def test_two_processes_give_what_one_gives(prepared: Path, tmp_path: Path) -> None:
    rows = load_prepared(prepared, ablations=False)
    data = labelled(rows.turns)
    model = baselines.first_behavior_model()
    fits = [ahead.Fits([model], data, {"worker": 2, "rows": 1}, rows.swap)]
    ahead.fit_ahead(fits, tmp_path, seed=5, jobs=2, progress=False)
    assert len(list(tmp_path.rglob("repeat-*.parquet"))) == 3
    cached = cross_validate(
        model, data, "worker", repeats=2, seed=5, cache=tmp_path, progress=False, swap=rows.swap
    )
    fresh = cross_validate(model, data, "worker", repeats=2, seed=5, progress=False, swap=rows.swap)
    assert cached.equals(fresh)
    ahead.fit_ahead(fits, tmp_path / "none", jobs=1, progress=False)
    assert not (tmp_path / "none").exists()
