from __future__ import annotations

import polars as pl

from ifllm_space.demo_data import DemoData
from ifllm_space.pickers import TurnPickers, first_turn


def test_lists_lead_to_every_turn(demo_data: DemoData) -> None:
    pickers = TurnPickers(demo_data.index, first_turn(demo_data.index), demo_data.reader_names)
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
    pickers = TurnPickers(index, first_turn(index), demo_data.reader_names)
    label, _ = pickers.turns(index["conversation_id"][0])[0]
    assert len(label) < 70 and label.endswith("…") and "\n" not in label


def test_readers_are_numbers_and_their_keys_are_not_shown(demo_data: DemoData) -> None:
    index = demo_data.index
    choices = TurnPickers(index, first_turn(index), demo_data.reader_names).readers()
    assert [user for _, user in choices] == sorted(index["user_id"].unique())
    for number, (label, user) in enumerate(choices, 1):
        assert label.startswith(f"Reader {number} (") and user not in label


def test_a_surprise_is_another_recorded_pair(demo_data: DemoData) -> None:
    index = demo_data.index
    pickers = TurnPickers(index, first_turn(index), demo_data.reader_names)
    worth = index.filter(pl.col("kind") == "pairwise", pl.col("ticks") > 0)["query_id"]
    found = {pickers.beside(pickers.first, None) for _ in range(30)}
    assert found <= set(worth) - {pickers.first} and len(found) > 3
    only = TurnPickers(index.head(1), index["query_id"][0], demo_data.reader_names)
    assert only.beside(only.first, None) == only.first
