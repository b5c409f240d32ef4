"""The turn that the page opens with: found again by the rule as it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from ifllm_hf.reward.explain.what_moved import score_over_time
from ifllm_space.demo_data import DemoData
from ifllm_space.explore.first_screen import CHARS, opening
from ifllm_space.page_numbers import number
from ifllm_space.pickers import first_turn


def test_guesses_are_those_of_score(demo_data: DemoData) -> None:
    opens, reward = opening(demo_data), demo_data.reward
    turn = demo_data.turn(opens.query_id)
    texts = pl.DataFrame({name: [turn[name]] for name in ("response_a", "response_b")})
    _, course = score_over_time(turn, lambda rows: reward.from_reading(rows, turn["fold"]))
    guess = opens.guess(opens.query_id)
    assert guess is not None
    assert guess["text"] == number(reward.from_text(texts, turn["fold"])[0])
    assert guess["behavior"] == number(course[-1])


def test_it_is_the_one_that_behaviour_moved_most_to_the_right_guess(demo_data: DemoData) -> None:
    opens, moved = opening(demo_data), {}
    for row in opens.guesses.join(demo_data.features, on="query_id").iter_rows(named=True):
        turn = demo_data.turn(row["query_id"])
        sign = {"a": -1, "b": 1}.get(turn["preference"], 0)
        lead = {name: sign * (row[name] - 0.5) for name in ("text", "length", "behavior")}
        short = all(len(turn[f"response_{side}"]) <= CHARS for side in "ab")
        seen = all((row[f"{c}_dwell_ms_{s}"] or 0) > 0 for c in ("mouse", "gaze") for s in "ab")
        if short and seen and lead["text"] < 0 and lead["length"] < 0 < lead["behavior"]:
            moved[row["query_id"]] = lead["behavior"] - lead["length"]
    if moved:
        assert opens.query_id == max(moved, key=lambda query_id: (moved[query_id], -query_id))
        assert "this is the one it moved most" in opens.rule
    else:
        assert opens.query_id == first_turn(demo_data.index)
        assert "No pair here" in opens.rule


def test_without_models_it_is_a_turn_worth_seeing(demo_data: DemoData, tmp_path: Path) -> None:
    from ifllm_hf.data.prepared.prepare import prepare_synthetic

    prepare_synthetic(1, tmp_path / "ifllm", progress=False)
    tiny = replace(demo_data, folder=tmp_path / "ifllm")
    opens = opening(tiny)
    assert opens.query_id == first_turn(tiny.index)
    assert opens.guess(opens.query_id) is None
