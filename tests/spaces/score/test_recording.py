"""What Score takes from a visitor's mouse."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import DataError
from ifllm_space.score.recording import MAX_CHARS, MAX_MS, MAX_TICKS, own_turn
from tests.helpers.spaces.own_minute import LEFT, MINUTE, RIGHT


def test_own_minute_becomes_a_turn_of_the_mouse_alone() -> None:
    turn = own_turn("Why?", LEFT, RIGHT, MINUTE)
    assert turn["mouse_on"] == ["none", "a", "a", "b", "b"]
    assert turn["mouse_char"] == [None, 0, 19, 0, 21]
    assert turn["gaze_on"] == [None] * 5 and turn["phase"] == ["reading"] * 5
    names = [
        "query_id", "user_id", "conversation_id", "turn", "response_a", "response_b", "t_ms",
        "page_load", "phase", "gaze_on", "gaze_char", "mouse_on", "mouse_char",
    ]  # fmt: skip
    schema = {"gaze_on": pl.List(pl.String), "gaze_char": pl.List(pl.Int32)}
    rows = pl.DataFrame({n: [turn[n]] for n in names}, schema_overrides=schema)
    rows = rows.with_columns(asked_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")))
    features = behavior_features(rows).row(0, named=True)
    assert features["mouse_dwell_ms_a"] == 1000 + 975
    assert features["mouse_dwell_ms_b"] == 1000
    assert np.isnan(features["gaze_dwell_ms_a"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"t_ms": [0.0]}, "1 times, 5 sides"),
        ({"t_ms": [0.0, 25.0, 20.0, 2000.0, 3000.0]}, "Tick 2"),
        ({"t_ms": [0.0, 25.0, 30.0, 40.0, MAX_MS + 1.0]}, "Tick 4"),
        ({"t_ms": [float("nan")] * 5}, "Tick 0"),
        ({"t_ms": ["0"] * 5}, "Tick 0"),
        ({"t_ms": [True] * 5}, "Tick 0"),
        ({"on": [-1, 0, 0, 2, 1]}, "Tick 3"),
        ({"on": [-1, 0, 0, 1.0, 1]}, "Tick 3"),
        ({"char": [-1, 0, 20, 0, 21]}, "character 20 of 20"),
        ({"char": [-1, 0, 19, -1, 21]}, "character -1"),
        ({"char": [-1, 0, 19, 0.5, 21]}, "Tick 3"),
        ({"char": None}, "no t_ms, on and char lists"),
        ({name: [0] * (MAX_TICKS + 1) for name in MINUTE}, "up to 6000"),
    ],
)
def test_recordings_that_cannot_be_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        own_turn("Why?", LEFT, RIGHT, {**MINUTE, **change})


def test_texts_are_bounded_and_not_empty() -> None:
    with pytest.raises(DataError, match="answer B is too long"):
        own_turn("Why?", LEFT, "x" * (MAX_CHARS + 1))
    with pytest.raises(DataError, match="An answer is empty"):
        own_turn("Why?", LEFT, " \n")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(
    JUNK
    | st.fixed_dictionaries({"t_ms": JUNK, "on": JUNK, "char": JUNK})
    | st.fixed_dictionaries({n: st.lists(JUNK, min_size=2, max_size=2) for n in MINUTE})
)
def test_whatever_a_browser_sends_is_taken_or_refused(ticks: Any) -> None:
    if ticks is None:
        return
    try:
        turn = own_turn("Why?", LEFT, RIGHT, ticks)
    except DataError:
        return
    assert len(turn["t_ms"]) == len(turn["mouse_on"]) == len(turn["mouse_char"])
