"""The reader's own baseline: what it is, and in which order turns count as earlier."""

from __future__ import annotations

import datetime
import math
from typing import Any

import polars as pl
import pytest

from ifllm_hf.behavior.features.table import behavior_features
from tests.helpers.reading_turns import table, turn

NOON = datetime.datetime(2025, 10, 1, 12, tzinfo=datetime.UTC)


def at(minute: int) -> datetime.datetime:
    return NOON + datetime.timedelta(minutes=minute)


def by_id(features: pl.DataFrame) -> dict[int, dict[str, Any]]:
    return {row["query_id"]: row for row in features.iter_rows(named=True)}


def test_level_and_leaning_against_earlier_turns() -> None:
    # dwell per character of a (100 characters) and b (200): 4 and 1; then 2 and 2; then 8 and 0
    shape = [(400, 200), (200, 400), (800, 0)]
    rows = table(
        [
            turn([0, x, x + y], ["a0", "b0", "-"], query_id=i, turn=i, asked_at=at(i))
            for i, (x, y) in enumerate(shape, start=1)
        ]
    )
    f = by_id(behavior_features(rows))
    level = [[math.log(v + 0.5) for v in pair] for pair in ((4, 1), (2, 2), (8, 0))]
    name = "mouse_dwell_ms_per_char_vs_own"
    assert math.isnan(f[1][f"{name}_a"])
    mean = sum(level[0]) / 2
    assert f[2][f"{name}_a"] == pytest.approx(level[1][0] - mean)
    mean = sum(level[0] + level[1]) / 4
    assert f[3][f"{name}_a"] == pytest.approx(level[2][0] - mean)
    assert f[3][f"{name}_b"] == pytest.approx(level[2][1] - mean)
    lean = [math.log((y + 500) / (x + 500)) for x, y in shape]
    own = "mouse_dwell_ms_log_ratio_vs_own"
    assert f[1][own] == pytest.approx(lean[0])
    assert f[2][own] == pytest.approx(lean[1] - lean[0] / (1 + 3))
    assert f[3][own] == pytest.approx(lean[2] - (lean[0] + lean[1]) / (2 + 3))
    assert [f[i]["earlier_turns"] for i in (1, 2, 3)] == [0, 1, 2]
    assert f[2]["reading_ms_vs_own"] == pytest.approx(0.0)
    assert f[3]["reading_ms_vs_own"] == pytest.approx(math.log(1800 / 1600))


def test_turns_without_the_channel_do_not_count() -> None:
    rows = table(
        [
            turn([0, 400], ["a0", "-"], query_id=1, turn=1, asked_at=at(1)),
            turn([0, 400], gaze=["a0", "-"], query_id=2, turn=2, asked_at=at(2)),
            turn(query_id=3, turn=3, asked_at=at(3)),
            turn([0, 400], ["a0", "-"], query_id=4, turn=4, asked_at=at(4)),
        ]
    )
    f = by_id(behavior_features(rows))
    assert f[4]["earlier_turns"] == 2
    lean = math.log(500 / 900)
    assert f[4]["mouse_dwell_ms_log_ratio_vs_own"] == pytest.approx(lean - lean / (1 + 3))


def test_conversations_are_ordered_by_time_not_by_name() -> None:
    common: dict[str, Any] = {"t_ms": [0, 400], "mouse": ["a0", "-"]}
    rows = table(
        [
            turn(**common, query_id=1, conversation_id="ann/9", turn=1, asked_at=at(1)),
            turn(**common, query_id=2, conversation_id="ann/1", turn=1, asked_at=at(5)),
            turn(**common, query_id=3, conversation_id="ann/9", turn=2, asked_at=at(3)),
            turn(**common, query_id=4, conversation_id="bob/1", user_id="bob", asked_at=at(2)),
        ]
    )
    f = by_id(behavior_features(rows))
    assert [f[i]["earlier_turns"] for i in (1, 3, 2, 4)] == [0, 1, 2, 0]


def test_a_turn_without_a_time_follows_the_one_before_it() -> None:
    common: dict[str, Any] = {"t_ms": [0, 400], "mouse": ["a0", "-"]}
    rows = table(
        [
            turn(**common, query_id=1, conversation_id="ann/1", turn=1, asked_at=at(1)),
            turn(**common, query_id=2, conversation_id="ann/1", turn=2, asked_at=None),
            turn(**common, query_id=3, conversation_id="ann/2", turn=1, asked_at=at(2)),
            # nothing is known of when this conversation was: no other turn is earlier or later
            turn(**common, query_id=4, conversation_id="ann/3", turn=1, asked_at=None),
            turn(**common, query_id=5, conversation_id="ann/3", turn=2, asked_at=None),
        ]
    )
    f = by_id(behavior_features(rows))
    assert [f[i]["earlier_turns"] for i in range(1, 6)] == [0, 1, 2, 0, 1]


def test_pairwise_and_pointwise_reading_times_are_compared_apart() -> None:
    rows = table(
        [
            turn([0, 400], ["a0", "-"], query_id=1, turn=1, asked_at=at(1)),
            turn([0, 900], ["a0", "-"], query_id=2, turn=2, asked_at=at(2), b=None),
            turn([0, 400], ["a0", "-"], query_id=3, turn=3, asked_at=at(3)),
        ]
    )
    f = by_id(behavior_features(rows))
    assert math.isnan(f[2]["reading_ms_vs_own"])
    assert f[3]["reading_ms_vs_own"] == pytest.approx(0.0)
    # how fast characters are read is one habit
    assert f[3]["mouse_dwell_ms_per_char_vs_own_a"] == pytest.approx(
        math.log(4.5) - (math.log(4.5) + math.log(0.5) + math.log(9.5)) / 3
    )
