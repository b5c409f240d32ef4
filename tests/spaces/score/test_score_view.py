"""What Score says of two answers."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from ifllm_space.demo_data import DemoData
from ifllm_space.pickers import first_turn
from ifllm_space.score.recording import own_turn
from ifllm_space.score.score_view import score_view
from tests.helpers.spaces.own_minute import LEFT, RIGHT

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


@pytest.mark.parametrize("of_nobody", [False, True])
def test_reasons_name_what_length_and_reading_said(demo_data: DemoData, of_nobody: bool) -> None:
    """A long answer that the mouse was on to the end, beside a word."""
    pytest.importorskip("torch")
    ticks = {"t_ms": [50.0 * i for i in range(200)], "on": [1] * 200, "char": [0] * 200}
    turn = own_turn("Why?", "No.", RIGHT, ticks)
    said = score_view(turn, demo_data.reward, None if of_nobody else 2)["rewards"]["behavior"]
    assert any(sentence.startswith("B is longer") for sentence in said["reasons"])
    assert any(sentence.startswith("The mouse stayed on B") for sentence in said["reasons"])


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
