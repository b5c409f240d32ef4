from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.predictions import IncompleteError, write_predictions
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.side_bias import PROTOCOL
from ifllm_hf.benchmark.protocol.suite import run_suite
from ifllm_hf.benchmark.report.report import terminal_table, to_json
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.baselines.protocol import BETTER, LIKERT
from tests.helpers.dwell_turns import DwellModel
from tests.helpers.small_suite import QUICK, plan


def record_of(results, model: str, protocol: str = "worker", subset: str = "all"):
    (found,) = [
        r
        for r in results.records
        if (r["model"], r["protocol"], r["subset"]) == (model, protocol, subset)
    ]
    return found


def test_references_stand_beside_every_model(results) -> None:
    for protocol in QUICK:
        names = [
            r["model"]
            for r in results.records
            if r["protocol"] == protocol and r["subset"] == "all"
        ]
        assert names == ["majority", "length rule", "length LR", "memory of labels", "dwell"]
    assert record_of(results, "majority")["reference"]
    assert not record_of(results, "dwell")["reference"]


def test_differences_and_counts_are_on_every_row(results) -> None:
    dwell = record_of(results, "dwell")
    rule = record_of(results, "length rule")
    assert dwell["d_length"] == pytest.approx(dwell["accuracy"] - rule["accuracy"])
    assert dwell["d_length_low"] <= dwell["d_length"] <= dwell["d_length_high"]
    assert "d_text" in dwell
    assert "d_length" not in rule
    for record in results.records:
        assert record["n"] > 0
        assert record["workers"] > 0
        assert "low" in record


def test_subsets_are_scored_by_worker_only(results) -> None:
    small = record_of(results, "dwell", subset="similar length")
    assert small["n"] < 108
    assert {r["protocol"] for r in results.records if r["subset"] != "all"} == {"worker"}


def test_side_bias_is_a_protocol_of_its_own(results) -> None:
    mine = [r for r in results.records if r["protocol"] == PROTOCOL]
    assert [r["model"] for r in mine] == ["majority", "length rule", "dwell + side bias"]
    assert "d_length" in mine[-1]


def test_two_runs_agree_to_the_last_digit(turns, tmp_path: Path) -> None:
    first = run_suite(turns, [DwellModel()], plan(cache=tmp_path))
    shuffled = turns.sample(fraction=1.0, shuffle=True, seed=5)
    second = run_suite(shuffled, [DwellModel()], plan())
    third = run_suite(turns, [DwellModel()], plan(cache=tmp_path))
    assert to_json(first.records) == to_json(second.records) == to_json(third.records)


def test_sets_are_reported_apart(turns) -> None:
    ids = turns["query_id"][:90].to_list()
    both = run_suite(
        turns, [DwellModel()], plan(repeats={"worker": 1}), sets={"small": ids, "all": None}
    )
    assert [r["n"] for r in both.records if r["subset"] == "all"] == [90] * 5 + [108] * 5
    assert both.ledgers["small"]["dropped"] == {"outside the set": 18}


def test_permutations_are_added_to_the_worker_row(turns) -> None:
    results = run_suite(
        turns,
        [DwellModel()],
        plan(repeats={"worker": 1}, permute=["dwell"], permutations=5),
    )
    assert record_of(results, "dwell")["permuted_p_auc"] == pytest.approx(1 / 6)


def test_a_file_is_scored_like_the_model_that_wrote_it(turns, tmp_path: Path) -> None:
    made = cross_validate(DwellModel(), labelled(turns), "worker", repeats=2, progress=False)
    write_predictions(made, tmp_path / "stranger.csv")
    results = run_suite(
        turns, [DwellModel()], plan(repeats={"worker": 2}), files=[tmp_path / "stranger.csv"]
    )
    file, own = record_of(results, "stranger (file)"), record_of(results, "dwell")
    assert file["file"] == "stranger.csv"
    for key in ("accuracy", "low", "auc", "brier", "ece", "d_length_low", "repeat_sd"):
        assert file[key] == pytest.approx(own[key])
    assert "stranger (from file)" in terminal_table(results.records)


def test_a_file_for_a_smaller_set_is_scored_there_alone(turns, tmp_path: Path) -> None:
    ids = turns["query_id"][:90].to_list()
    small = labelled(turns, ids=ids)
    made = cross_validate(DwellModel(), small, "worker", repeats=2, progress=False)
    write_predictions(made, tmp_path / "small.parquet")
    files = [tmp_path / "small.parquet"]
    one = plan(repeats={"worker": 1})
    results = run_suite(turns, [], one, sets={"small": ids, "all": None}, files=files)
    assert record_of(results, "small (file)")["set"] == "small"
    with pytest.raises(IncompleteError, match="18 of 108"):
        run_suite(turns, [], one, files=files)
    with pytest.raises(DataError, match="protocol 'worker'"):
        run_suite(turns, [], plan(repeats={"rows": 1}), sets={"small": ids}, files=files)


def test_two_files_of_one_name_do_not_hide_each_other(turns, tmp_path: Path) -> None:
    made = cross_validate(DwellModel(), labelled(turns), "worker", repeats=1, progress=False)
    files = [tmp_path / run / "predictions.parquet" for run in ("one", "other")]
    for file in files:
        write_predictions(made, file)
    with pytest.raises(ConfigError, match=r"one.predictions\.parquet and .* share one name"):
        run_suite(turns, [], plan(repeats={"worker": 1}), files=files)


def test_names_must_be_unique_and_known(turns) -> None:
    with pytest.raises(ConfigError, match="two models are called 'dwell'"):
        run_suite(turns, [DwellModel(), DwellModel()], plan())
    with pytest.raises(ConfigError, match="the plan names 'nobody'"):
        run_suite(turns, [DwellModel()], plan(permute=["nobody"]))


@pytest.mark.parametrize("task", [BETTER, LIKERT])
def test_pointwise_tasks_have_their_own_table(turns: pl.DataFrame, task) -> None:
    pointwise = turns.with_columns(
        kind=pl.lit("pointwise"),
        better_than_previous=pl.int_range(pl.len()) % 3 > 0,
        likert_a=pl.int_range(pl.len()) % 5 + 1,
    )
    results = run_suite(pointwise, [], plan(repeats={"worker": 2}), task=task)
    text = terminal_table(results.records)
    assert "training mean" in text
    assert ("MSE" in text) == (task is LIKERT)
