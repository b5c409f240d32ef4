"""Turns are contiguous, follow most of the texts seen, and the log where nothing was seen."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ifllm_hf.data.ticks.alignment import (
    _LOG_WEIGHT,
    SURFACES,
    Alignment,
    TurnText,
    _logged_turn,
    _monotone,
    align,
    assign_turns,
)
from ifllm_hf.data.ticks.merge import MergedTicks
from ifllm_hf.data.ticks.page_texts import PLACEHOLDER
from tests.helpers import hand_made as made

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


def answer(number: int) -> str:
    """Return an answer that shares no window with any other."""
    rng = np.random.default_rng(number)
    return " ".join(f"{WORDS[i]}{number}{j}" for j, i in enumerate(rng.integers(0, 8, 40)))


A, B = [answer(k) for k in range(4)], [answer(10 + k) for k in range(4)]
ASKED = [1000.0, 4000.0, 7000.0, 10000.0]


def turns(n: int, asked: list[float | None] | None = None) -> list[TurnText]:
    times = ASKED if asked is None else asked
    return [TurnText((A[k], B[k]), times[k]) for k in range(n)]


def placeholder(side: str = "a") -> tuple[str, str, int]:
    return side, PLACEHOLDER[30:50].strip(), 40


def contiguous(turn: np.ndarray, page_load: np.ndarray) -> bool:
    """Say whether the turns only ever rise inside a page load."""
    same = np.diff(page_load) == 0
    return bool((np.diff(turn)[same] >= 0).all())


def surfaces(aligned: Alignment, channel: str) -> list[str]:
    return [SURFACES[s] for s in aligned.surface[channel]]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 7), st.integers(1, 3), st.data())
def test_boundaries_are_the_best_of_all(n: int, k: int, data: st.DataObject) -> None:
    votes = data.draw(hnp.arrays(np.float64, (n, k), elements=st.integers(0, 2).map(float)))
    waiting = data.draw(hnp.arrays(np.bool_, n))
    logged = data.draw(hnp.arrays(np.int64, n, elements=st.integers(-1, k - 1)))

    def agreement(assignment: Any) -> float:
        said = [waiting[i] if s < 0 else votes[i, s] for i, s in enumerate(assignment)]
        return float(sum(said) + _LOG_WEIGHT * (np.array(assignment) == logged).sum())

    found = _monotone(votes, waiting, logged)
    assert found.shape == (n,)
    assert (np.diff(found) >= 0).all() and found.min() >= -1 and found.max() < k
    every = itertools.combinations_with_replacement(range(-1, k), n)
    assert agreement(found.tolist()) == pytest.approx(max(map(agreement, every)), abs=1e-9)


@pytest.mark.parametrize("late_s", [0, 10, -10])
def test_texts_seen_decide_even_if_the_log_is_ten_seconds_off(late_s: int) -> None:
    spots = [made.NOWHERE] * 10
    for k in range(3):
        spots += [made.look_at("ab"[i % 2], (A, B)[i % 2][k], 20 + i) for i in range(30)]
    asked = [ms + 1000.0 * late_s for ms in ASKED]
    for gaze, mouse in ((spots, None), ([made.NOWHERE] * 100, spots), (spots, spots)):
        aligned = align(made.ticks(gaze, mouse), turns(3, asked))
        # Before the first sighting the log decides, which is early or late.
        before = -1 if late_s >= 0 else 0
        assert aligned.turn.tolist() == [before] * 10 + [0] * 30 + [1] * 30 + [2] * 30
        name = "gaze" if gaze is spots else "mouse"
        assert aligned.on[name].tolist() == [0] * 10 + [1, 2] * 45
        chars = [-1] * 10 + [20 + i for _ in range(3) for i in range(30)]
        assert aligned.char[name].tolist() == chars


@pytest.mark.parametrize(
    "asked", [ASKED[:3], [0.0, 0.0, 5.0], [1e9, 1e9, 1e9], [1000.0, 500.0, 2.0]]
)
def test_without_any_text_the_logged_time_decides(asked: list[float]) -> None:
    ticks = made.ticks([made.NOWHERE] * 120)
    aligned = align(ticks, turns(3, asked))  # type: ignore[arg-type]
    expected = [max((k for k in range(3) if asked[k] <= t), default=-1) for t in ticks.page_ms]
    if expected == sorted(expected):
        assert aligned.turn.tolist() == expected
    assert contiguous(aligned.turn, ticks.page_load)
    assert set(surfaces(aligned, "gaze")) == {"none"}
    assert (aligned.char["gaze"] == -1).all()


def test_a_turn_never_seen_takes_its_place_by_the_log() -> None:
    spots = [made.NOWHERE] * 100
    for i in range(12, 30):
        spots[i] = made.look_at("a", A[0], i)
    for i in range(75, 100):
        spots[i] = made.look_at("b", B[2], i)
    turn = align(made.ticks(spots), turns(3)).turn.tolist()
    assert turn == [-1] * 10 + [0] * 30 + [1] * 30 + [2] * 30
    # Without a time it has no tick, and the others lose none.
    turn = align(made.ticks(spots), turns(3, [1000.0, None, 7000.0])).turn.tolist()
    assert turn == [-1] * 10 + [0] * 60 + [2] * 30


def test_texts_of_a_turn_whose_time_is_unknown_place_it() -> None:
    spots = [made.look_at("a", A[k], 30) for k in range(3) for _ in range(20)]
    turn = align(made.ticks(spots), turns(3, [None, None, None])).turn.tolist()
    assert turn == [0] * 20 + [1] * 20 + [2] * 20


def test_no_tick_is_assigned_by_its_own_text_alone() -> None:
    spots = [made.look_at("a", A[0], 30)] * 40 + [made.look_at("b", B[1], 30)] * 40
    spots[5], spots[60] = made.look_at("a", A[1], 50), made.look_at("b", B[0], 50)
    aligned = align(made.ticks(spots), turns(2))
    assert aligned.turn.tolist() == [0] * 40 + [1] * 40
    assert aligned.on["gaze"][[5, 60]].tolist() == [0, 0]  # another turn's answer is not this one's
    assert surfaces(aligned, "gaze")[5] == surfaces(aligned, "gaze")[60] == "page"
    assert aligned.char["gaze"][[5, 60]].tolist() == [-1, -1]


def test_the_side_of_the_element_counts_not_the_text_alone() -> None:
    spots = [made.look_at("a", A[0], 30)] * 20 + [made.look_at("b", A[0], 30)] * 3
    aligned = align(made.ticks(spots), turns(1))
    assert aligned.on["gaze"].tolist() == [1] * 20 + [0] * 3


def test_the_placeholder_comes_before_the_first_answers() -> None:
    spots = [placeholder("ab"[i % 2]) for i in range(30)] + [made.look_at("a", A[0], 30)] * 30
    aligned = align(made.ticks(spots), turns(1, [0.0]))  # the log says the answers were there
    assert aligned.turn.tolist() == [-1] * 30 + [0] * 30
    assert surfaces(aligned, "gaze") == ["placeholder"] * 30 + ["response"] * 30
    aligned = align(made.ticks(spots[:30]), turns(1, [0.0]))
    assert aligned.turn.tolist() == [-1] * 30


def test_the_placeholder_between_two_answers_belongs_to_a_turn() -> None:
    spots = [made.look_at("a", A[0], 30)] * 30 + [placeholder()] * 20
    spots += [made.look_at("b", B[1], 30)] * 30
    aligned = align(made.ticks(spots), turns(2, [0.0, 5000.0]))
    assert aligned.turn.tolist() == [0] * 50 + [1] * 30
    assert surfaces(aligned, "gaze")[30:50] == ["placeholder"] * 20


def test_the_rating_widget_is_told_from_the_answers() -> None:
    widget = [("a", "Very Dissatisfied", 9), ("b", "Which resp", 3), ("a", "Left Response", 4)]
    spots = (
        [made.look_at("a", A[0], 30)] * 20 + widget + [("a", "no such text", 3), ("a", None, -1)]
    )
    aligned = align(made.ticks(made.channel(spots)), turns(1))
    assert surfaces(aligned, "gaze")[20:] == ["rating"] * 3 + ["page"] * 2
    assert aligned.on["gaze"].tolist() == [1] * 20 + [0] * 5


def test_a_reload_starts_again_before_the_first_answers() -> None:
    first = [made.look_at("a", A[0], 30)] * 30
    second = [placeholder()] * 20 + [made.look_at("a", A[1], 30)] * 30
    ticks = made.ticks(
        first + second,
        page_load=[0] * 30 + [1] * 50,
        t_ms=[*(100.0 * np.arange(30)), *(100.0 * np.arange(50))],
        epoch_ms=[*range(1000, 4000, 100), *range(9000, 14000, 100)],
    )
    aligned = align(ticks, turns(2, [1000.0, 11000.0]))
    assert aligned.turn.tolist() == [0] * 30 + [-1] * 20 + [1] * 30


def test_pointwise_has_one_answer() -> None:
    spots = [made.look_at("a", A[0], 30)] * 20 + [made.look_at("a", A[1], 30)] * 20
    only = [TurnText((A[k],), None) for k in range(2)]
    aligned = align(made.ticks(spots, kind="pointwise"), only)
    assert aligned.turn.tolist() == [0] * 20 + [1] * 20
    assert (aligned.on["gaze"] == 1).all()


def test_characters_count_code_points_of_the_stored_answer() -> None:
    stored = "  🦊🦊 two foxes\n\n\nand then a long line of text, \r\nbroken once  "
    spots = [made.look_at("a", stored, c) for c in (0, 2, 5, 14, 15, 30, 48)]
    aligned = align(made.ticks(spots), [TurnText((stored, "other"), 0.0)])
    # Two units per fox, one of the three line breaks.
    shown = "🦊🦊 two foxes\nand then a long line of text, \r\nbroken once"
    for caret, char in zip((0, 2, 5, 14, 15, 30, 48), aligned.char["gaze"].tolist(), strict=True):
        under = shown.encode("utf-16-le")[2 * caret :].decode("utf-16-le")[0]
        assert stored[char] == under
    assert aligned.char["gaze"].tolist() == [2, 3, 5, 14, 17, 32, 50]


def test_no_turns_and_no_ticks() -> None:
    spots = [made.look_at("a", A[0], 30)] * 5
    aligned = align(made.ticks(spots), [])
    assert aligned.turn.tolist() == [-1] * 5
    assert surfaces(aligned, "gaze") == ["page"] * 5
    assert len(align(made.ticks([]), turns(2)).turn) == 0


def test_empty_answers_hold_no_window() -> None:
    aligned = align(made.ticks([("a", "zz", 0), ("b", "qq", 0)] * 9), [TurnText(("", ""), 0.0)])
    assert set(surfaces(aligned, "gaze")) == {"page"}


def test_equal_answers_in_two_turns_follow_the_log() -> None:
    same = [TurnText((A[0], B[0]), ms) for ms in (0.0, 3000.0)]
    aligned = align(made.ticks([made.look_at("a", A[0], 30)] * 60), same)
    assert aligned.turn.tolist() == [0] * 30 + [1] * 30
    assert (aligned.on["gaze"] == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ticks_not_used_do_not_move_the_boundaries(data: st.DataObject) -> None:
    n, k = 60, 3
    seen = data.draw(st.lists(st.integers(-1, k - 1), min_size=n, max_size=n))
    use = data.draw(hnp.arrays(np.bool_, n))
    other = data.draw(st.lists(st.integers(-1, k - 1), min_size=n, max_size=n))
    split = data.draw(st.integers(0, n))
    load = [0] * split + [1] * (n - split)

    def assigned(said: list[int]) -> tuple[MergedTicks, np.ndarray]:
        spots = [placeholder() if s < 0 else made.look_at("a", A[s], 30) for s in said]
        ticks = made.ticks(spots, page_load=load)
        aligned = align(ticks, turns(k))
        return ticks, assign_turns(ticks, aligned.sightings, ASKED[:k], use=use)

    ticks, turn = assigned(seen)
    mixed = [s if u else o for s, o, u in zip(seen, other, use, strict=True)]
    assert (assigned(mixed)[1] == turn).all()
    assert contiguous(turn, ticks.page_load)


@given(st.lists(st.one_of(st.none(), st.integers(0, 50).map(float)), max_size=5))
def test_the_log_names_the_last_turn_whose_answers_had_come(asked: list[float | None]) -> None:
    epochs = np.arange(-5, 60)
    for epoch, turn in zip(epochs, _logged_turn(epochs, asked), strict=True):
        here = [k for k, ms in enumerate(asked) if ms is not None and ms <= epoch]
        assert turn == max(here, default=-1)
