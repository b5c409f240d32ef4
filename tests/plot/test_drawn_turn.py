"""What figures take from a row is what the features say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.errors import DataError
from ifllm_hf.plot.drawn_turn import RELOAD_GAP_MS, bridged_ms, drawn_turn
from tests.helpers.reading_turns import random_turns, turn


@pytest.mark.parametrize("seed", range(3))
def test_heat_is_the_dwell_of_the_features(seed: int) -> None:
    rows = random_turns(seed)
    features = behavior_features(rows)
    for row, told in zip(rows.iter_rows(named=True), features.iter_rows(named=True), strict=True):
        drawn = drawn_turn(row)
        assert len(drawn.answers) == (1 if row["response_b"] is None else 2)
        for answer in drawn.answers:
            for channel in ("gaze", "mouse"):
                heat = drawn.dwell_ms(channel, answer)
                assert heat.shape == (len(answer.text),)
                feature = told[f"{channel}_dwell_ms_{answer.side}"]
                assert drawn.recorded(channel) == (not np.isnan(feature))
                assert heat.sum() == pytest.approx(np.nan_to_num(feature))


def test_only_reading_is_heat_and_all_phases_are_in_the_lanes() -> None:
    row = turn(
        [1000, 1100, 1400, 1500],
        ["a5", "a5", "a7", "b3"],
        phase=["reading", "reading", "reading", "rating"],
        preference="b",
        reading_end_source="fallback",
    )
    drawn = drawn_turn(row)
    a, b = drawn.answers
    heat = drawn.dwell_ms("mouse", a)
    assert {k: heat[k] for k in np.flatnonzero(heat)} == {5: 400.0}
    assert not drawn.dwell_ms("mouse", b).any()
    assert drawn.t_s == pytest.approx([0.0, 0.1, 0.4, 0.5])
    assert drawn.on["mouse"].tolist() == [0, 0, 0, 1] and drawn.char["mouse"][3] == 3
    assert (a.liked, b.liked, drawn.guessed_end) == (False, True, True)
    assert drawn.seconds_said("mouse", a) == "mouse 0.4 s"
    assert drawn.seconds_said("mouse", b) == "mouse never here"
    assert drawn.seconds_said("gaze", a) == "gaze not recorded while reading"


def test_lists_of_numpy_and_of_nothing_are_read() -> None:
    row = turn([0, 100], ["a5", "b6"])
    as_arrays = row | {"t_ms": np.array(row["t_ms"]), "mouse_char": np.array([5.0, 6.0])}
    assert drawn_turn(as_arrays).char["mouse"].tolist() == [5, 6]
    empty = drawn_turn(turn() | {"t_ms": None, "phase": None, "mouse_on": None})
    assert not len(empty.t_s)
    assert empty.seconds_said("mouse", empty.answers[0]) == "mouse not recorded"


def test_page_loads_follow_each_other() -> None:
    bridged = bridged_ms([500.0, 700.0, 20.0, 30.0], [0, 0, 1, 1])
    assert bridged.tolist() == [0.0, 200.0, 200.0 + RELOAD_GAP_MS, 210.0 + RELOAD_GAP_MS]
    assert bridged_ms([], []).tolist() == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([1], "a list cannot be drawn"),
        ({"response_a": "x", "response_b": "y", "n_ticks": 3}, "no t_ms, page_load, phase"),
        (turn([0, 1], ["a5", "a6"]) | {"t_ms": 3.0}, "'t_ms' is 3.0"),
        (turn([0, 1], ["a5", "a6"]) | {"phase": [1, 2]}, "of a wrong kind"),
        (turn([0, 1], ["a5", "a6"]) | {"gaze_on": ["a"]}, "query 1: 1 values in 'gaze_on'"),
        (turn([0, 1], ["a5", "a600"]), "mouse_char is 600"),
    ],
)
def test_what_is_no_turn_is_one_clear_error(row: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        drawn_turn(row)
