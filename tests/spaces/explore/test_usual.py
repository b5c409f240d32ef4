"""What is usual, beside what one turn shows."""

from __future__ import annotations

from typing import Any

import polars as pl

from ifllm_hf.behavior.features.table import FEATURE_COLUMNS
from ifllm_space.demo_data import DemoData
from ifllm_space.explore.usual import PLAIN_WORDS, usual_values
from ifllm_space.pickers import first_turn


def table(values: dict[int, tuple[float, float]]) -> pl.DataFrame:
    """Features of turns of which only the mouse's dwell is known."""
    rows = []
    for query_id, (a, b) in values.items():
        row: dict[str, Any] = dict.fromkeys(FEATURE_COLUMNS, float("nan"))
        row |= {"query_id": query_id, "mouse_dwell_ms_a": a, "mouse_dwell_ms_b": b}
        rows.append(row)
    return pl.DataFrame(rows)


def owners(users: str, kinds: str) -> pl.DataFrame:
    kind = {"p": "pairwise", "o": "pointwise"}
    return pl.DataFrame(
        {
            "query_id": range(len(users)),
            "user_id": list(users),
            "kind": [kind[k] for k in kinds],
        }
    )


def test_usual_values_are_of_other_turns_and_other_readers() -> None:
    nan = float("nan")
    features = table(
        {
            0: (1000, 2000),  # the turn itself
            1: (10, 20),
            2: (30, 40),  # the same reader
            3: (100, 200),
            4: (300, 400),  # others
            5: (9e9, nan),  # one answer only: another kind of turn
        }
    )
    (row,) = usual_values(features, owners("xxxyzy", "pppppo"), 0)
    assert row["name"] == "mouse_dwell_ms" and row["says"] == PLAIN_WORDS["mouse_dwell_ms"]
    assert row["values"] == [1000, 2000]
    assert row["own"] == 25 and row["others"] == 2
    assert row["everyone"] == [175, 250, 325]


def test_too_few_others_have_no_usual_value() -> None:
    (row,) = usual_values(table({0: (1, 2), 1: (3, float("nan"))}), owners("xy", "pp"), 0)
    assert row["own"] is None and row["everyone"] == [None, None, None]


def test_turn_of_one_answer_shows_one_value() -> None:
    nan = float("nan")
    features = table({k: (k + 1.0, nan) for k in range(5)})
    (row,) = usual_values(features, owners("xyzvw", "ooooo"), 2)
    assert row["values"] == [3] and row["everyone"][1] == 3


def test_turn_without_features_shows_none() -> None:
    nan = float("nan")
    assert usual_values(table({0: (nan, nan), 1: (1, 2)}), owners("xy", "pp"), 0) == []


def test_main_features_come_first_and_in_words(demo_data: DemoData) -> None:
    query_id = first_turn(demo_data.index)
    rows = usual_values(demo_data.features, demo_data.index, query_id)
    said = [row["name"] for row in rows if row["says"]]
    assert said == [name for name in PLAIN_WORDS if name in said]
    assert [row["name"] for row in rows[: len(said)]] == said
    assert len(rows) > 50
