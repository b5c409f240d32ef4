from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ifllm_hf.hub.cards import table_numbers as card_numbers
from ifllm_hf.hub.cards.dataset_card import write_card
from ifllm_hf.hub.cards.shown_turn import ShownTurn, choose_turn
from tests.helpers.recorded_turns import reading_turn, write_turns


def test_the_shown_turn_is_the_one_with_gaze_and_mouse_together(tmp_path: Path) -> None:
    apart, together = [("a", "b")] * 80, [("a", "a")] * 60 + [("none", "b")] * 20
    long = reading_turn(3, ("x" * 5000, "y"), [("b", "b")] * 80)  # best, but too long to show
    made = [reading_turn(1, ("xy", "z"), apart), reading_turn(2, ("xy", "z"), together), long]
    out = write_turns(tmp_path / "ifllm", *made)
    turn = choose_turn(card_numbers.shards(out, "pairwise"))
    assert turn is not None and turn.query_id == 2
    assert turn.same_share == pytest.approx(60 / 79)
    assert turn.dwell_ms("gaze", "a").tolist() == [0.0, 60 * 500.0]
    assert turn.dwell_ms("mouse", "b").tolist() == [19 * 500.0]


def test_dwell_counts_reading_only_and_caps_gaps() -> None:
    turn = ShownTurn(
        query_id=1,
        user_id="u",
        prompt="p",
        answers={"a": "abc", "b": ""},
        preference=None,
        t_s=np.array([0.0, 0.1, 9.0, 9.2]),
        phase=np.array([0, 0, 1, 0], np.int8),
        on={"gaze": np.array([1, 1, 1, 1], np.int8)},
        char={"gaze": np.array([0, 2, 2, 1])},
        same_share=0.0,
    )
    assert turn.dwell_ms("gaze", "a") == pytest.approx([100.0, 0.0, 500.0])


def test_answers_that_are_hard_to_draw_are_drawn(tmp_path: Path) -> None:
    text = "$x_1$ costs $5 & <b>\t\U0001f642 漢字 \\frac{1}{2}\n\n" + "w" * 150 + "\nend"
    made = reading_turn(1, (text, "z"), [("a", "a")] * 80)
    made[0]["prompt"] = "Is *this* {{n}} <b>\n| bold?"
    out = write_turns(tmp_path / "ifllm", made)
    card = write_card(out)
    assert "figures/heat.png" in card
    assert r'"Is \*this\* \{\{n\}\} \<b\> \| bold?"' in card
