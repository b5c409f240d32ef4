"""What Score says of two answers, and what it takes from a visitor's mouse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import DataError
from ifllm_space.demo_data import DemoData
from ifllm_space.pickers import first_turn
from ifllm_space.score.recording import MAX_CHARS, MAX_MS, MAX_TICKS, own_turn
from ifllm_space.score.score_view import score_view

LEFT, RIGHT = "Rayleigh scattering.", "It reflects the sea. 🙂"
MINUTE: dict[str, Any] = {
    "t_ms": [0.0, 25.0, 1025.0, 2000.0, 3000.0],
    "on": [-1, 0, 0, 1, 1],
    "char": [-1, 0, 19, 0, 21],
}


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


# --- what is said


def test_reader_is_scored_by_models_that_never_saw_the_reader(demo_data: DemoData) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    view = score_view(turn, demo_data.reward, turn["fold"])
    rewards = json.loads(json.dumps(view["rewards"], allow_nan=False))
    rows = pl.DataFrame({n: [turn[n]] for n in ("response_a", "response_b")})
    text = demo_data.reward.from_text(rows, turn["fold"])[0]
    assert rewards["text"] == pytest.approx(text, rel=1e-3)
    assert "without this pair, its reader" in rewards["says"]["trained"]
    assert "made-up data: no person stands behind it" in rewards["says"]["trained"]


def test_course_ends_at_the_chance_and_within_the_turn(demo_data: DemoData) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    view = score_view(turn, demo_data.reward, turn["fold"])
    behavior = view["rewards"]["behavior"]
    course = behavior["over_time"]
    assert behavior["chance"] == course["chance"][-1]
    assert (np.diff(course["t_ms"]) >= 0).all() and len(course["t_ms"]) == len(course["chance"])
    assert course["t_ms"][-1] <= view["ticks"]["t_ms"][-1]
    assert all(0 < p < 1 for p in course["chance"])
    for side, start, stop, _ in [*view["rewards"]["words"], *behavior["passages"]]:
        assert 0 <= start < stop <= len(view["answers"][side]["text"])
    for moment in behavior["moments"]:
        assert moment["from_ms"] <= moment["to_ms"]


def test_answers_nobody_read_are_scored_by_their_text_alone(demo_data: DemoData) -> None:
    view = score_view(own_turn("Why?", LEFT, RIGHT), demo_data.reward, None)
    assert view["rewards"]["behavior"] is None
    assert 0 < view["rewards"]["text"] < 1
    assert "They never saw these texts." in view["rewards"]["says"]["trained"]


def test_mouse_at_the_end_of_reading_speaks_for_its_answer(demo_data: DemoData) -> None:
    """The made-up readers look last at what they like; so does the reward fitted on them."""
    n = 400
    half = {"t_ms": [50.0 * i for i in range(n)], "char": [0] * n}
    left = {**half, "on": [1] * (n // 2) + [0] * (n // 2)}
    right = {**half, "on": [0] * (n // 2) + [1] * (n // 2)}
    at_left, at_right = (
        score_view(own_turn("Why?", LEFT, LEFT, ticks), demo_data.reward, None)["rewards"]
        for ticks in (left, right)
    )
    assert at_left["text"] == at_right["text"] == pytest.approx(0.5)
    assert at_left["behavior"]["chance"] < 0.5 < at_right["behavior"]["chance"]


def test_no_number_stands_alone(demo_data: DemoData) -> None:
    says = score_view(own_turn("Why?", LEFT, RIGHT), demo_data.reward, None)["rewards"]["says"]
    assert all(says[name] for name in ("text", "behavior", "trained"))
    assert str(demo_data.reward.trained_on.pairs) in says["trained"]
