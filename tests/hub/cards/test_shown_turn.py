from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.hub.cards import table_numbers as card_numbers
from ifllm_hf.hub.cards.dataset_card import write_card
from ifllm_hf.hub.cards.shown_turn import choose_turn
from tests.helpers.recorded_turns import reading_turn, write_turns


def test_the_shown_turn_is_the_one_with_gaze_and_mouse_together(tmp_path: Path) -> None:
    apart, together = [("a", "b")] * 80, [("a", "a")] * 60 + [("none", "b")] * 20
    long = reading_turn(3, ("x" * 5000, "y"), [("b", "b")] * 80)  # best, but too long to show
    made = [reading_turn(1, ("xy", "z"), apart), reading_turn(2, ("xy", "z"), together), long]
    out = write_turns(tmp_path / "ifllm", *made)
    turn = choose_turn(card_numbers.shards(out, "pairwise"))
    assert turn is not None and turn.row["query_id"] == 2
    assert turn.same_share == pytest.approx(60 / 79)
    assert turn.row["gaze_on"] == ["a"] * 60 + ["none"] * 20  # the whole row, ticks and all


def test_answers_that_are_hard_to_draw_are_drawn(tmp_path: Path) -> None:
    text = "$x_1$ costs $5 & <b>\t\U0001f642 漢字 \\frac{1}{2}\n\n" + "w" * 150 + "\nend"
    made = reading_turn(1, (text, "z"), [("a", "a")] * 80)
    made[0]["prompt"] = "Is *this* {{n}} <b>\n| bold?"
    out = write_turns(tmp_path / "ifllm", made)
    card = write_card(out)
    assert "figures/heat.png" in card
    assert r'"Is \*this\* \{\{n\}\} \<b\> \| bold?"' in card
