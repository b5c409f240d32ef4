"""Single answers in TRL's unpaired format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.labels.actions.unpaired_labels import UNPAIRED, write_unpaired_actions
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.cli import main
from ifllm_hf.errors import NothingLabelledError
from tests.helpers.chats.open_webui_chats import MadeChat, two_answers

Imported = Callable[[list[Any]], Path]


def chats() -> list[Any]:
    """Return an export with a rated, a regenerated, an edited and a stopped answer."""
    chat = two_answers()
    chat.ask("q2", "And at night?", after="left")
    chat.answer("n1", "Dark.", "q2")
    chat.answer("n2", "Stars.", "q2")
    chat.ask("q3", "And at noon?", after="n2")
    chat.answer("m1", "Blu.", "q3")
    chat.edit("m1", "Blue.")
    chat.ask("q4", "And at dusk?", after="m1")
    chat.answer("d1", "Red and", "q4", output=[{"id": "p", "status": "incomplete"}])
    return [chat.rate("left", 1, 9), chat.rate("right", -1)]


def test_every_action_on_a_single_answer(imported: Imported, tmp_path: Path) -> None:
    folder, out = imported(chats()), tmp_path / "u.parquet"
    words = ["label", str(out), "--from", str(folder), "--source", "actions", "--unpaired"]
    assert main(words) == 0
    table = pl.read_parquet(out)
    assert table.columns == UNPAIRED.names
    rows = table.select("prompt", "completion", "label", "rule").rows()
    assert rows == [
        ("Why is the sky blue?", "Because of scattering, chat-1.", True, "like"),
        ("Why is the sky blue?", "It is the sea, chat-1.", False, "like"),
        ("And at night?", "Dark.", False, "regenerated"),
        ("And at noon?", "Blu.", False, "edited"),
        ("And at noon?", "Blue.", True, "edited"),
        ("And at dusk?", "Red and", False, "stop"),
    ]
    assert table["assumed"].all() and (table["confidence"] <= 0.6).all()
    assert [len(past) for past in table["history"]] == [0, 0, 2, 4, 4, 6]
    assert table["model"][4] == "person"
    assert table["query_id"].n_unique() == 4


def test_a_rating_outweighs_what_follows_from_an_action(imported: Imported, tmp_path: Path) -> None:
    chat = MadeChat()
    for name in "xy":
        chat.ask(f"q{name}", f"Why {name}?")
        chat.answer(f"{name}1", f"So {name}.", f"q{name}")
        chat.answer(f"{name}2", f"Because {name}.", f"q{name}")
    chat.edit("y1", "So it is.")
    chat.ask("after", "And?", after="y2")
    folder = imported([chat.rate("x1", 1)])
    write_unpaired_actions(folder, tmp_path / "u.jsonl")
    rows = pl.read_ndjson(tmp_path / "u.jsonl").select("completion", "label", "rule").rows()
    assert rows[0] == ("So x.", True, "like")  # regenerated, and liked all the same
    assert ("So y.", False, "edited") in rows


def test_rules_that_contradict_each_other_are_counted(imported: Imported, tmp_path: Path) -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    chat.answer("a", "So.", "q")
    chat.edit("a", "So it is.")
    chat.answer("b", "Because.", "q")
    folder = imported([chat.export()])
    actions = next((folder / "actions").glob("*.parquet"))
    table = pl.read_parquet(actions)
    original = table.filter(pl.col("action") == "edit")["message_id"][0]
    copied = table[0].with_columns(message_id=pl.lit(original), action=pl.lit("copy"))
    pl.concat([table, copied]).write_parquet(actions)
    report = write_unpaired_actions(folder, tmp_path / "u.parquet")
    assert report.ledgers["judgements"].dropped == {"rules contradict each other": 1}
    assert pl.read_parquet(tmp_path / "u.parquet")["rule"].to_list() == ["edited"]


def test_nothing_to_say_is_one_error(imported: Imported, tmp_path: Path) -> None:
    with pytest.raises(NothingLabelledError, match="2 answers"):
        write_unpaired_actions(imported([two_answers().export()]), tmp_path / "u.parquet")
    assert not (tmp_path / "u.parquet").exists()


def test_clicks_become_two_answers_each(prepared_synthetic: Path, tmp_path: Path) -> None:
    pairs, out = tmp_path / "p.parquet", tmp_path / "u.parquet"
    write_labels(prepared_synthetic, pairs, source="explicit", progress=False)
    words = ["label", str(out), "--from", str(prepared_synthetic), "--unpaired"]
    assert main(words) == 0
    paired, single = pl.read_parquet(pairs), pl.read_parquet(out)
    assert single.columns == UNPAIRED.names
    for side, label in (("chosen", True), ("rejected", False)):
        mine = single.filter(pl.col("label") == label)
        assert mine["completion"].equals(paired[side].alias("completion"))
        assert mine["history"].equals(paired[f"history_{side}"].alias("history"))
        assert mine["query_id"].equals(paired["query_id"])
    assert set(single["rule"]) == {"explicit"} and (single["confidence"] == 1).all()
