from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.hub.cards import table_numbers as card_numbers
from ifllm_hf.hub.cards.dataset_card import write_card
from ifllm_hf.hub.cards.tick_numbers import count_ticks
from tests.helpers import prepared_folder
from tests.helpers.recorded_turns import conversation


def test_an_agreement_over_no_ticks_is_not_said(folder: Path) -> None:
    nothing = {"share": float("nan"), "ticks": 0, "agree": 0}
    assert "agree" not in card_numbers.quality_values({"agreement": nothing}).values()
    assert "nan" not in write_card(folder, {"quality": {"agreement": nothing}}).lower()


def test_the_leak_is_measured_where_the_click_was(tmp_path: Path) -> None:
    """In `rating` the mouse goes to the side of the choice; in `reading` it goes nowhere."""
    turns, conversations = [], []
    for i in range(12):
        name, choice = f"u{i}/{2 * i + 1}", "ab"[i % 2]
        turns.append({**prepared_folder.turn(100 + i, name, 1), "preference": choice})
        places = [0, 1000, 400, 800 if choice == "b" else 600]
        ticks = conversation(
            name,
            [0, 50, 100, 150],
            query_id=[100 + i] * 4,
            mouse_x_px=places,
            phase=["after", "after", "reading", "rating"],
        )
        conversations.append(ticks)
    out = tmp_path / "ifllm"
    from ifllm_hf.data.schema import TURNS

    rows = (
        ConversationRows(name, name.split("/")[0], int(name.split("/")[1]), "pairwise", 0, table)
        for name, table in conversations
    )
    frame = pl.from_arrow(pa.Table.from_pylist(turns, schema=TURNS))
    prepared_folder.write(out, turns=frame, conversations=rows)
    values = card_numbers.tick_values(
        count_ticks(card_numbers.shards(out, "ticks")), card_numbers.read_turns(out)
    )
    assert values["leak_rating"] == "1.00 [1.00, 1.00] (n = 12, 12 readers)"
    assert values["leak_reading"] == "0.50 [0.50, 0.50] (n = 12, 12 readers)"
