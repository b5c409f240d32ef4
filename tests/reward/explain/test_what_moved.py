"""Leaving parts out: exact on scores that are simple enough to know."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.explain.what_moved import (
    moments_that_moved,
    passages_that_moved,
    score_over_time,
    words_that_moved,
)

LEFT = "First one. Second one."
RIGHT = "Näh 🙂 good. Bad."


@pytest.fixture
def turn() -> dict[str, Any]:
    """Ten ticks of 100 ms: four on the left, four on the right, two while rating on the left."""
    return {
        "query_id": 7,
        "user_id": "u",
        "conversation_id": "c",
        "turn": 3,
        "asked_at": None,
        "prompt": "Why?",
        "response_a": LEFT,
        "response_b": RIGHT,
        "page_load": [0] * 10,
        "t_ms": [100.0 * i for i in range(10)],
        "phase": ["reading"] * 8 + ["rating"] * 2,
        "gaze_on": [None] * 10,
        "gaze_char": [None] * 10,
        "mouse_on": ["a"] * 4 + ["b"] * 4 + ["a"] * 2,
        "mouse_char": [0, 1, 12, 13, 0, 6, 6, 13, 0, 0],
    }


def by_words(rows: pl.DataFrame) -> FloatArray:
    """A tenth for every character of b beyond those of a."""
    gap = rows["response_b"].str.len_chars().cast(int) - rows["response_a"].str.len_chars().cast(
        int
    )
    return gap.to_numpy() / 10


def by_dwell(rows: pl.DataFrame) -> FloatArray:
    """Seconds on b less seconds on a."""
    return ((rows["mouse_dwell_ms_b"] - rows["mouse_dwell_ms_a"]) / 1000).to_numpy()


def test_every_word_moves_by_what_it_is(turn: dict[str, Any]) -> None:
    found = {
        (p.side, turn[f"response_{p.side}"][p.start : p.stop]): round(p.change, 6)
        for p in words_that_moved(turn, by_words)
    }
    assert found == {
        ("a", "First"): -0.5,
        ("a", "one"): -0.3,
        ("a", "Second"): -0.6,
        ("b", "Näh"): 0.3,
        ("b", "good"): 0.4,
        ("b", "Bad"): 0.3,
    }


def test_passages_are_sentences_that_somebody_was_on(turn: dict[str, Any]) -> None:
    found = [
        (p.side, turn[f"response_{p.side}"][p.start : p.stop].strip(), round(p.change, 3))
        for p in passages_that_moved(turn, by_dwell)
    ]
    # The last reading tick lasts no time, so `Bad.` moves nothing, but was looked at.
    assert found == [
        ("a", "First one.", -0.2),
        ("a", "Second one.", -0.2),
        ("b", "Näh 🙂 good.", 0.3),
        ("b", "Bad.", 0.0),
    ]


def test_sentences_nobody_was_on_are_left_out(turn: dict[str, Any]) -> None:
    turn["mouse_char"] = [0] * 10
    turn["mouse_on"] = ["a"] * 10
    assert [(p.side, p.start) for p in passages_that_moved(turn, by_dwell)] == [("a", 0)]


def test_moments_cut_reading_and_nothing_else(turn: dict[str, Any]) -> None:
    found = moments_that_moved(turn, by_dwell, parts=4)
    assert [(m.first, m.stop) for m in found] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert [round(m.change, 3) for m in found] == [-0.2, -0.2, 0.2, 0.1]


def test_score_over_time_ends_where_reading_ends(turn: dict[str, Any]) -> None:
    ends, course = score_over_time(turn, by_dwell, points=4)
    assert ends == [2, 4, 6, 8]
    np.testing.assert_allclose(course, [-0.1, -0.3, -0.3, -0.1], atol=1e-9)


def test_more_points_than_ticks_are_as_many_as_ticks(turn: dict[str, Any]) -> None:
    ends, _ = score_over_time(turn, by_dwell, points=100)
    assert ends == list(range(1, 9))
    assert len(moments_that_moved(turn, by_dwell, parts=100)) == 8


def test_without_reading_there_is_no_course(turn: dict[str, Any]) -> None:
    turn["phase"] = ["rating"] * 10
    assert score_over_time(turn, by_dwell)[0] == []
    assert moments_that_moved(turn, by_dwell) == []


def test_nothing_recorded_stays_nothing(turn: dict[str, Any]) -> None:
    """A channel that was not there is not turned into one that was off the answers."""

    def gaze_recorded(rows: pl.DataFrame) -> FloatArray:
        return rows["gaze_recorded_share"].is_nan().cast(float).to_numpy()

    assert [m.change for m in moments_that_moved(turn, gaze_recorded, parts=4)] == [0.0] * 4


def test_versions_of_a_turn_are_no_earlier_turns_of_each_other(turn: dict[str, Any]) -> None:
    def earlier(rows: pl.DataFrame) -> FloatArray:
        return rows["earlier_turns"].to_numpy()

    _, course = score_over_time(turn, earlier, points=4)
    np.testing.assert_array_equal(course, 0.0)


def test_empty_answers_have_no_parts(turn: dict[str, Any]) -> None:
    turn |= {"response_a": "", "response_b": "", "mouse_on": ["none"] * 10}
    turn["mouse_char"] = [None] * 10
    assert words_that_moved(turn, by_words) == []
    assert passages_that_moved(turn, by_dwell) == []
