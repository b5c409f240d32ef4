from __future__ import annotations

import pytest

from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.studies.curves import (
    extrapolate,
    label_curve,
    new_reader_curve,
    worker_curve,
)
from ifllm_hf.errors import DataError
from ifllm_hf.reward.baselines.length_rule import LengthRule
from tests.helpers.dwell_turns import DwellModel


def test_worker_curve_trains_on_so_many_workers(turns) -> None:
    log: list[int] = []
    data = labelled(turns)
    records = worker_curve(
        DwellModel(log=log), data, [2, 4, 9], repeats=2, draws=50, progress=False
    )
    assert [r["x"] for r in records] == [2, 4, 9]
    # every worker has nine turns; two of the five training sets hold nine workers, three ten
    assert set(log[:10]) == {18}
    assert set(log[10:20]) == {36}
    assert set(log[20:]) == {81}
    assert all(r["n"] == 108 and r["low"] <= r["accuracy"] <= r["high"] for r in records)


def test_default_sizes_end_at_all_workers(turns) -> None:
    records = worker_curve(LengthRule(), labelled(turns), repeats=1, draws=20, progress=False)
    assert [r["x"] for r in records] == [2, 3, 6, 9]


def test_what_is_not_fitted_has_a_flat_curve(turns) -> None:
    records = label_curve(LengthRule(), labelled(turns), repeats=2, draws=50, progress=False)
    assert len({r["accuracy"] for r in records}) == 1


def test_label_curve_keeps_a_share_of_the_labels(turns) -> None:
    log: list[int] = []
    label_curve(
        DwellModel(log=log), labelled(turns), [0.5, 1.0], repeats=1, draws=20, progress=False
    )
    half, full = log[:5], log[5:]
    assert half == [round(0.5 * n) for n in full]


def test_new_readers_add_their_first_labels_and_are_tested_on_the_rest(turns) -> None:
    log: list[int] = []
    data = labelled(turns)
    records = new_reader_curve(DwellModel(log=log), data, (0, 1, 5), draws=50, progress=False)
    assert [r["x"] for r in records] == [0, 1, 5]
    assert {r["n"] for r in records} == {12 * 4}
    assert set(log[:12]) == {99}
    assert set(log[12:24]) == {100}
    assert set(log[24:]) == {104}


def test_readers_without_a_test_turn_are_counted(turns) -> None:
    few = turns.filter(~turns["query_id"].is_in(turns["query_id"][:6].to_list()))
    records = new_reader_curve(DwellModel(), labelled(few), (0, 3), draws=20, progress=False)
    assert records[0]["readers_without_test"] == 1
    with pytest.raises(DataError, match="no worker has more than 9"):
        new_reader_curve(DwellModel(), labelled(few), (9,), progress=False)


def test_extrapolation_recovers_a_known_law() -> None:
    records = [{"x": n, "accuracy": 0.7 - 0.3 * n**-0.5} for n in (5, 10, 20, 40)]
    (one,) = extrapolate(records, [160], exponents=[0.5])
    assert one["low"] == one["high"] == pytest.approx(0.7 - 0.3 * 160**-0.5)
    (ranged,) = extrapolate(records, [160])
    assert ranged["low"] < one["low"] < ranged["high"]


def test_extrapolation_needs_two_sizes() -> None:
    with pytest.raises(DataError, match="two numbers of workers"):
        extrapolate([{"x": 5, "accuracy": 0.6}])
