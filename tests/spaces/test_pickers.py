from __future__ import annotations

import polars as pl

from ifllm_space.demo_data import DemoData
from ifllm_space.pickers import TurnPickers, first_turn


def test_lists_lead_to_every_turn(demo_data: DemoData) -> None:
    pickers = TurnPickers(demo_data.index, first_turn(demo_data.index))
    found = [
        query_id
        for _, user in pickers.readers()
        for _, conversation in pickers.conversations(user)
        for _, query_id in pickers.turns(conversation)
    ]
    assert sorted(found) == sorted(demo_data.index["query_id"])
    assert len(found) == len(set(found))


def test_first_turn_has_two_answers_a_preference_and_behaviour(demo_data: DemoData) -> None:
    index = demo_data.index
    row = index.row(by_predicate=pl.col("query_id") == first_turn(index), named=True)
    assert row["kind"] == "pairwise" and row["preference"] in ("a", "b") and row["ticks"] > 100


def test_long_questions_are_cut_in_the_list(demo_data: DemoData) -> None:
    index = demo_data.index.with_columns(prompt=pl.lit("why  \n so " * 40))
    pickers = TurnPickers(index, first_turn(index))
    label, _ = pickers.turns(index["conversation_id"][0])[0]
    assert len(label) < 70 and label.endswith("…") and "\n" not in label
