from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.permutation import permutation_test, permute_within_workers
from ifllm_hf.benchmark.protocol.rows import labelled
from tests.helpers.dwell_turns import DwellModel, make_turns


def test_permuting_keeps_every_workers_rate(turns: pl.DataFrame) -> None:
    data = labelled(turns)
    mixed = permute_within_workers(data, np.random.default_rng(0))
    assert (mixed.y != data.y).any()
    for worker in set(data.rows["user_id"]):
        mine = (data.rows["user_id"] == worker).to_numpy()
        assert mixed.y[mine].sum() == data.y[mine].sum()
    assert (mixed.y == (mixed.rows["preference"] == "b").to_numpy()).all()
    assert mixed.rows.drop("preference").equals(data.rows.drop("preference"))


def test_permutation_test_finds_a_signal_and_its_absence() -> None:
    signal = permutation_test(DwellModel(), labelled(make_turns()), n=40, progress=False)
    assert signal["permuted_p_auc"] == pytest.approx(1 / 41)
    assert signal["permuted_mean_auc"] == pytest.approx(0.5, abs=0.06)
    nothing = permutation_test(
        DwellModel(), labelled(make_turns(signal=0.0, seed=4)), n=40, progress=False
    )
    assert nothing["permuted_p_auc"] > 0.05
