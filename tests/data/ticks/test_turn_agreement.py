"""Agreement is judged on ticks that did not fit the boundaries, and the rest has causes."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from ifllm_hf.data.ticks.alignment import TurnText, align
from ifllm_hf.data.ticks.turn_agreement import BLOCK_TICKS, Agreement, agreement_out_of_sample
from tests.helpers import hand_made as made

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
A = [" ".join(f"{w}{k}{i}" for i, w in enumerate(WORDS * 6)) for k in range(3)]
TURNS = [TurnText((text, "other"), 1e4 * (k + 1)) for k, text in enumerate(A)]
ASKED = [turn.asked_ms for turn in TURNS]


def agreement(
    made: Any, said: list[int], turns: list[TurnText] = TURNS, **settings: Any
) -> Agreement:
    """Judge ticks that look at the answer of the turn `said`, -1 for nowhere."""
    spots = [made.NOWHERE if s < 0 else made.look_at("a", A[s], 40) for s in said]
    ticks = made.ticks(spots, **settings)
    found = agreement_out_of_sample(ticks, align(ticks, turns), [t.asked_ms for t in turns])
    parts = found.agree + found.at_boundary + found.earlier + found.later + found.before_first
    assert found.ticks == parts
    return found


def test_all_agree_where_every_block_sees_its_turn() -> None:
    found = agreement(made, [-1] * 100 + [0] * 100 + [1] * 100 + [2] * 100)
    assert found == Agreement(ticks=300, agree=300)
    assert found.share == 1.0
    assert found.to_dict()["block_ticks"] == BLOCK_TICKS


def test_both_channels_count() -> None:
    spots = [made.look_at("a", A[0], 40)] * 50
    ticks = made.ticks(spots, spots, epoch_ms=[20_000] * 50)
    found = agreement_out_of_sample(ticks, align(ticks, TURNS[:1]), ASKED[:1])
    assert found == Agreement(ticks=100, agree=100)


def test_texts_that_fit_two_answers_are_no_witnesses() -> None:
    same = [TurnText((A[0], "x"), 1e4), TurnText((A[0], "y"), 2e4)]
    assert agreement(made, [0] * 400, same).ticks == 0


def test_causes_of_disagreement() -> None:
    calm = [0] * 200 + [1] * 200
    asked = [TurnText((A[0], "x"), 0.0), TurnText((A[1], "y"), 2e4)]
    late = list(calm)
    late[300] = 0  # an old answer, ten seconds after the boundary
    assert agreement(made, late, asked) == Agreement(ticks=400, agree=399, earlier=1)
    early = list(calm)
    early[50] = 1
    assert agreement(made, early, asked) == Agreement(ticks=400, agree=399, later=1)
    near = list(calm)
    near[215] = 0
    assert agreement(made, near, asked) == Agreement(ticks=400, agree=399, at_boundary=1)


def test_a_block_is_not_judged_by_boundaries_that_it_fitted() -> None:
    # Only the first block sees the answer, and the log comes too late: left to the other blocks,
    # its ticks lie before the first answers.
    said = [0] * BLOCK_TICKS + [-1] * 100
    found = agreement(made, said, TURNS[:1])
    assert found == Agreement(ticks=BLOCK_TICKS, before_first=BLOCK_TICKS)
    spots = [made.look_at("a", A[0], 40)] * BLOCK_TICKS + [made.NOWHERE] * 100
    inside = align(made.ticks(spots), TURNS[:1]).turn
    assert (inside[:BLOCK_TICKS] == 0).all()  # in sample they agree


def test_noise_is_found_at_its_rate() -> None:
    rng = np.random.default_rng(0)
    said = np.repeat([0, 1, 2], 500)
    wrong = rng.random(1500) < 0.1
    said = np.where(wrong, (said + rng.integers(1, 3, 1500)) % 3, said)
    # Boundaries between blocks are within a gap of the other half; the log tells where.
    turns = [TurnText((a, "x"), 5e4 * k) for k, a in enumerate(A)]
    found = agreement(made, said.tolist(), turns)
    assert found.ticks == 1500
    assert found.share == pytest.approx(1 - wrong.mean(), abs=0.01)


def test_nothing_to_judge() -> None:
    assert agreement(made, []) == Agreement()
    assert agreement(made, [0] * 5, []) == Agreement()
    assert math.isnan(Agreement().share)
    assert math.isnan(agreement(made, [-1] * 99).share)


def test_the_sum_adds_every_count() -> None:
    one = Agreement(*range(1, 7))
    assert one + one == Agreement(*(2 * getattr(one, f.name) for f in fields(one)))


def test_a_boundary_counts_in_its_own_page_load_only() -> None:
    # The boundary stands at 10 s of the second load; the odd text at 10 s of the first is far off.
    said = [0] * 200 + [0] * 100 + [1] * 100
    said[105] = 1
    times = 100.0 * np.arange(200)
    found = agreement(
        made,
        said,
        [TurnText((A[0], "x"), 0.0), TurnText((A[1], "x"), 3e4)],
        t_ms=[*times, *times],
        epoch_ms=100 * np.arange(400),
        page_load=[0] * 200 + [1] * 200,
    )
    assert found == Agreement(ticks=400, agree=399, later=1)


def test_a_reload_is_no_boundary_between_turns() -> None:
    said = [0] * 100 + [0] * 100
    times = [*(100.0 * np.arange(100)), *(100.0 * np.arange(100))]
    found = agreement(
        made, said, [TurnText((A[0], "x"), 0.0)], t_ms=times, page_load=[0] * 100 + [1] * 100
    )
    assert found == Agreement(ticks=200, agree=200)
