from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.side_bias import SideBias, _offset
from ifllm_hf.metrics.ridge import sigmoid
from tests.helpers.dwell_turns import DwellModel, make_turns


def test_side_offset_is_the_mode_of_its_posterior() -> None:
    logit, y = np.zeros(6), np.array([1.0, 1, 1, 1, 1, 0])
    offset = _offset(logit, y, spread=0.7)
    gradient = np.sum(y - sigmoid(logit + offset)) - offset / 0.7**2
    assert gradient == pytest.approx(0, abs=1e-9)
    assert offset > 0


def test_side_bias_helps_readers_who_lean() -> None:
    turns = make_turns(workers=20, conversations=8)
    lean = turns.with_columns(
        preference=pl.when(pl.col("user_id").str.slice(7).cast(pl.Int64) % 2 == 0)
        .then(pl.lit("a"))
        .otherwise(pl.col("preference"))
    )
    data = labelled(lean)

    def accuracy(model: object) -> float:
        p = cross_validate(model, data, "conversation", repeats=2, progress=False)
        mean = p.group_by("query_id").agg(pl.col("p_b").mean()).sort("query_id")["p_b"].to_numpy()
        return float(((mean > 0.5) == (data.y == 1)).mean())

    assert accuracy(SideBias(DwellModel(), spread=2.0)) > accuracy(DwellModel()) + 0.1


def test_side_bias_of_an_unknown_reader_is_none(turns) -> None:
    data = labelled(turns)
    groups = data.rows["user_id"].to_numpy()
    model = SideBias(DwellModel()).fit(data.rows, data.y, groups)
    stranger = data.rows.with_columns(user_id=pl.lit("stranger"))
    assert model.predict_proba(stranger) == pytest.approx(
        model.fitted.predict_proba(stranger), abs=1e-5
    )
