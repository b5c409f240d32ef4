"""Labels of a cell: those of the command, held to the truth; broken lines are broken as said."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.alignment.known_truth.cell_labels import behavior_of_others, label_cell
from ifllm_hf.alignment.known_truth.cells import TruthCell
from ifllm_hf.alignment.known_truth.made_world import MadeWorld
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.alignment.pairs.messages import text_of
from ifllm_hf.data.known_truth import true_score
from ifllm_hf.errors import DataError


def cell(source: str, damage: str | None = None) -> TruthCell:
    return TruthCell.of(source, 0.5, 0.95, 0, damage=damage)


def test_the_truth_is_always_right_and_ties_are_counted(world: MadeWorld, tmp_path: Path) -> None:
    found = label_cell(cell("oracle"), world, tmp_path / "p.parquet", nu=0.05)
    assert found.right == found.decided == found.pairs > 100
    equal = world.truth.filter(pl.col("true_a") == pl.col("true_b")).height
    assert found.dropped["tie"] + found.dropped.get("equal_answers", 0) >= equal > 0
    row = pl.read_parquet(tmp_path / "p.parquet").row(0, named=True)
    question, chosen, rejected = (text_of(row[k]) for k in ("prompt", "chosen", "rejected"))
    assert true_score(question, chosen).score > true_score(question, rejected).score


def test_exchanged_labels_are_always_wrong(world: MadeWorld, tmp_path: Path) -> None:
    found = label_cell(cell("oracle", "swapped"), world, tmp_path / "p.parquet", nu=0.05)
    assert found.right == 0 and found.decided > 100


def test_a_coin_is_right_half_the_time(world: MadeWorld, tmp_path: Path) -> None:
    found = label_cell(cell("oracle", "coin"), world, tmp_path / "p.parquet", nu=0.05)
    assert abs(found.right / found.decided - 0.5) < 0.1
    row = pl.read_parquet(tmp_path / "p.parquet").row(0, named=True)
    assert text_of(row["chosen"]) != text_of(row["rejected"])


def test_clicks_are_mostly_what_is_liked(world: MadeWorld, tmp_path: Path) -> None:
    found = label_cell(cell("explicit"), world, tmp_path / "p.parquet", nu=0.05)
    assert 0.85 < found.liked / found.pairs < 1
    assert {one["origin"] for one in found.bins} == {"click"}
    assert sum(one["pairs"] for one in found.bins) == found.pairs
    assert found.confidence == 1 and {one["low"] for one in found.bins} == {0.9}


def test_behaviour_adds_labels_that_are_right_as_often_as_they_say(
    world: MadeWorld, tmp_path: Path
) -> None:
    found = label_cell(cell("all"), world, tmp_path / "p.parquet", nu=0.05)
    clicks = label_cell(cell("explicit"), world, tmp_path / "c.parquet", nu=0.05)
    assert found.pairs > 1.5 * clicks.pairs
    assert {one["origin"] for one in found.bins} == {"behavior", "click and behavior"}
    assert abs(found.liked / found.pairs - found.confidence) < 0.1
    trained = pl.read_parquet(tmp_path / "p.parquet").filter(pl.col("fold") != JUDGE_FOLD)
    assert trained.height == found.pairs
    assert trained["label_fold"].min() >= 0


def test_behaviour_of_others_is_of_another_reader_and_nothing_else_moves(world: MadeWorld) -> None:
    moved = behavior_of_others(world.turns, 1)
    column = "gaze_dwell_ms_log_ratio"
    owner = {}
    for user, value in world.turns.select("user_id", column).iter_rows():
        owner.setdefault(value, set()).add(user)
    same = [user for user, v in moved.select("user_id", column).iter_rows() if owner[v] == {user}]
    assert same == []
    assert sorted(moved[column].fill_nan(0)) == sorted(world.turns[column].fill_nan(0))
    kept = ["query_id", "prompt", "response_a", "preference", "fold"]
    assert moved.select(kept).sort("query_id").equals(world.turns.select(kept).sort("query_id"))


def test_behaviour_of_others_tells_nothing(world: MadeWorld, tmp_path: Path) -> None:
    whole = label_cell(cell("gaze+mouse"), world, tmp_path / "w.parquet", nu=0.05)
    assert whole.liked / whole.pairs > 0.7
    other = label_cell(cell("gaze+mouse", "permuted"), world, tmp_path / "o.parquet", nu=0.05)
    assert abs(other.liked / other.pairs - 0.5) < 0.12


def test_the_lengths_of_answers_tell_without_behaviour(world: MadeWorld, tmp_path: Path) -> None:
    """So `reward` needs the control of `permuted`: its model sees lengths."""
    found = label_cell(cell("reward", "permuted"), world, tmp_path / "p.parquet", nu=0.05)
    assert found.right / found.decided > 0.65


def test_readers_held_out_do_not_depend_on_who_clicks(world: MadeWorld) -> None:
    from ifllm_hf.alignment.known_truth.made_world import with_truth

    fewer = world.turns.with_columns(preference=pl.lit(None, pl.String), fold=pl.lit(0, pl.Int8))
    again = with_truth(fewer, world.truth.select("query_id", "liked"))
    assert again.asked_by_judges().equals(world.asked_by_judges())


def test_nobody_held_out_is_one_line(world: MadeWorld) -> None:
    turns = world.turns.filter(pl.col("fold") != JUDGE_FOLD)
    with pytest.raises(DataError, match="nobody to ask afterwards; write more conversations"):
        MadeWorld(turns, world.truth).asked_by_judges()


def test_labels_that_say_nothing_are_no_pairs(world: MadeWorld, tmp_path: Path) -> None:
    same = MadeWorld(world.turns.with_columns(response_b=pl.col("response_a")), world.truth)
    found = label_cell(cell("explicit"), same, tmp_path / "p.parquet", nu=0.05)
    assert (found.pairs, found.held_out, found.bins) == (0, 0, [])
    assert found.dropped == {"all": world.turns.height}


@pytest.mark.parametrize("source", ["reward", "text", "all", "both"])
def test_no_click_at_all_is_one_line(world: MadeWorld, source: str, tmp_path: Path) -> None:
    silent = MadeWorld(world.turns.with_columns(preference=pl.lit(None, pl.String)), world.truth)
    with pytest.raises(DataError) as caught:
        label_cell(cell(source), silent, tmp_path / "p.parquet", nu=0.05)
    assert "\n" not in str(caught.value)


def test_one_reader_is_one_line(world: MadeWorld, tmp_path: Path) -> None:
    one = MadeWorld(world.turns.with_columns(user_id=pl.lit("r")), world.truth)
    with pytest.raises(DataError) as caught:
        label_cell(cell("all"), one, tmp_path / "p.parquet", nu=0.05)
    assert "\n" not in str(caught.value)


def test_clicks_that_are_all_on_one_side_are_labelled(world: MadeWorld, tmp_path: Path) -> None:
    left = pl.when(pl.col("preference").is_not_null()).then(pl.lit("a"))
    told = MadeWorld(world.turns.with_columns(preference=left), world.truth)
    found = label_cell(cell("all"), told, tmp_path / "p.parquet", nu=0.05)
    assert found.pairs > 100
