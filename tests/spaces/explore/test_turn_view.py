"""What Explore draws of a turn: exact small cases, and every turn of the made-up release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifllm_hf.errors import IFLLMError, SourceError
from ifllm_space.demo_data import DemoData, open_sessions
from ifllm_space.explore.tab import view_of
from ifllm_space.explore.turn_view import ticks_view, turn_view
from tests.helpers.made_up_sessions import write_sessions

TICKS: dict[str, Any] = {
    "t_ms": [500.0, 540.5, 10.0, 60.0],
    "page_load": [0, 0, 1, 1],
    "phase": ["reading", "reading", "rating", "after"],
    "gaze_on": ["a", "none", None, "b"],
    "gaze_char": [3, None, None, 0],
    "mouse_on": [None, "b", "b", "none"],
    "mouse_char": [None, 7, 8, None],
}


def strict(text: str) -> Any:
    """Read JSON as a browser does: no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_ticks_start_at_nought_and_go_on_over_a_reload() -> None:
    assert ticks_view(TICKS) == {
        "t_ms": [0.0, 40.5, 1040.5, 1090.5],
        "phase": [0, 0, 1, 2],
        "gaze": {"on": [0, -1, -2, 1], "char": [3, -1, -1, 0]},
        "mouse": {"on": [-2, 1, 1, -1], "char": [-1, 7, 8, -1]},
        "visible": [[], []],
    }


def test_what_was_on_screen_is_told_where_it_changed() -> None:
    shown = {"visible_from_char_b": [0, None, 5, 0], "visible_to_char_b": [9, None, 12, 0]}
    assert ticks_view(TICKS | shown)["visible"] == [[], [[0, 0, 9], [2, 5, 12], [3, 0, 0]]]


def test_turn_without_behaviour_has_no_ticks() -> None:
    nothing = ticks_view(dict.fromkeys(TICKS))
    assert nothing["t_ms"] == [] and nothing["mouse"] == {"on": [], "char": []}


def test_turns_of_both_kinds_can_be_drawn(demo_data: DemoData) -> None:
    for query_id in demo_data.index["query_id"][::3]:
        turn = demo_data.turn(query_id)
        view = strict(view_of(demo_data, query_id))
        sides = ["a", "b"] if turn["kind"] == "pairwise" else ["a"]
        assert [answer["side"] for answer in view["answers"]] == sides
        for side, answer in zip(sides, view["answers"], strict=True):
            assert answer["text"] == turn[f"response_{side}"]
            assert answer["likert"] == turn[f"likert_{side}"]
            assert answer["liked"] == (turn["preference"] == side)
        ticks = view["ticks"]
        assert len(ticks["t_ms"]) == len(turn["t_ms"])
        assert (np.diff(ticks["t_ms"]) >= 0).all()
        for channel in ("gaze", "mouse"):
            for on, char in zip(ticks[channel]["on"], ticks[channel]["char"], strict=True):
                assert on < 0 or char < len(view["answers"][on]["text"])


def test_error_of_the_gaze_is_said_in_lines_of_the_page(demo_data: DemoData) -> None:
    view = turn_view(demo_data.turn(demo_data.index["query_id"][0]))
    assert [e["px"] for e in view["gaze_error"]] == [100, 150, 200]
    for error in view["gaze_error"]:  # 70 px a line of 65 characters
        assert error["lines"] == round(error["px"] / 70, 1)
        assert error["chars"] == round(error["px"] / 70 * 65)


def test_unknown_turn_is_refused(demo_data: DemoData) -> None:
    with pytest.raises(SourceError, match="query -1 is not in"):
        demo_data.turn(-1)


def test_collected_sessions_are_drawn_like_the_release(tmp_path: Path) -> None:
    truth = write_sessions(tmp_path / "sessions", 2)
    data = open_sessions(tmp_path / "sessions")
    assert data.index.height == sum(len(session.answers) for session in truth)
    for query_id in data.index["query_id"]:
        view = strict(view_of(data, query_id))
        mouse, gaze = view["ticks"]["mouse"]["on"], view["ticks"]["gaze"]["on"]
        # Each event is its own tick; the other channel is not carried over.
        assert {0, 1} <= set(mouse) and -2 in mouse and -2 in gaze
        assert view["ticks"]["phase"][0] == 0 and 1 in view["ticks"]["phase"]
        assert view["gaze_error"][0] == {"px": 100, "lines": 3.1, "chars": 212}  # 32 px a line


def test_no_collected_session_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(IFLLMError, match=str(tmp_path)):
        open_sessions(tmp_path / "sessions")
