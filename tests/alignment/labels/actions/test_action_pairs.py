"""From an export to preference pairs that training, checks and `load_dataset` take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ifllm_hf.alignment.labels.actions.acted_answers import messages_of
from ifllm_hf.alignment.labels.actions.action_pairs import ACTION_LABELS, write_action_labels
from ifllm_hf.alignment.labels.check import check_labels
from ifllm_hf.alignment.labels.label_file import METADATA_KEY
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import load_pairs
from ifllm_hf.cli import main
from ifllm_hf.errors import ConfigError, DataError, NothingLabelledError
from tests.helpers.chats.open_webui_chats import MadeChat, two_answers

Imported = Callable[[list[Any]], Path]


def busy(chat_id: str = "chat-1", user_id: str = "ann") -> MadeChat:
    """Return a chat in which every rule of an export names a pair."""
    chat = two_answers(chat_id, user_id, f"Why is the sky blue, {chat_id}?")
    chat.ask("q2", "And at night?", after="left")  # continued: left before right
    chat.answer("n1", "Dark.", "q2")
    chat.answer("n2", "Dark, for the sun is away.", "q2")  # regenerated: n2 before n1
    chat.ask("q3", "And at noon?", after="n2")
    chat.answer("m1", "Blu.", "q3")
    chat.edit("m1", "Blue.")  # edited: m1 before its former text
    return chat


def labelled(folder: Path, out: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the pairs by their rule, one each."""
    write_action_labels(folder, out, **more)
    rows = pl.read_parquet(out).rows(named=True)
    found = {row["rule"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_each_rule_names_its_pair(imported: Imported, tmp_path: Path) -> None:
    found = labelled(imported([busy().export()]), tmp_path / "p.parquet")
    named = {rule: (row["chosen"], row["rejected"]) for rule, row in found.items()}
    assert named == {
        "continued": ("Because of scattering, chat-1.", "It is the sea, chat-1."),
        "regenerated": ("Dark, for the sun is away.", "Dark."),
        "edited": ("Blue.", "Blu."),
    }
    assert all(row["assumed"] and row["source"] == "actions" for row in found.values())
    assert found["edited"]["model_chosen"] == "person"
    assert found["edited"]["model_rejected"] == "model-0"
    past = [m["content"] for m in found["edited"]["history_chosen"]]
    assert past[1::2] == ["Because of scattering, chat-1.", "Dark, for the sun is away."]
    assert [row["turn"] for row in found.values()] == [1, 2, 3]


def test_the_strongest_rule_decides_and_the_others_are_counted(
    imported: Imported, tmp_path: Path
) -> None:
    chat = busy()
    folder = imported([chat.rate("right", 1), chat.rate("n2", 1)])
    report = write_action_labels(folder, tmp_path / "p.parquet")
    rows = pl.read_parquet(tmp_path / "p.parquet")
    assert rows["rule"].to_list() == ["like", "like", "edited"]
    assert rows["chosen"][0] == "It is the sea, chat-1."
    assert dict(report.ledgers["pairs"].dropped) == {
        "a stronger rule says otherwise": 1,
        "a stronger rule says the same": 1,
    }
    # Where the reader rated too, both rules were held to it.
    rules = {name: (rule.rated, rule.agree) for name, rule in report.rules.items()}
    assert rules["continued"] == (1, 0) and rules["regenerated"] == (1, 1)
    assert report.lengths["edited"].to_dict()["chosen_chars"] == 5
    assert report.lengths["like"].longer == 1
    for ledger in report.ledgers.values():
        assert ledger.seen == ledger.kept + sum(ledger.dropped.values())
    assert "?" in report.text() and json.loads(report.to_json())["rows"] == 3


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--rules", "edited"], {"edited"}),
        (["--without", "edited", "continued"], {"regenerated"}),
        (["--rules", "edited", "regenerated", "copy", "--without", "edited"], {"regenerated"}),
    ],
)
def test_rules_can_be_turned_off(
    words: list[str], left: set[str], imported: Imported, tmp_path: Path
) -> None:
    folder, out = imported([busy().export()]), tmp_path / "p.parquet"
    assert main(["label", str(out), "--from", str(folder), "--source", "actions", *words]) == 0
    assert set(pl.read_parquet(out)["rule"]) == left


def test_a_copied_chat_gives_no_pair_twice(imported: Imported, tmp_path: Path) -> None:
    first, copy = busy(), busy(user_id="somebody who got the chat shared")
    copy.chat_id = "chat-2"
    copy.answer("m2", "Light blue.", "q3")
    folder = imported([copy.export(created_at=1_770_000_000), first.export()])
    report = write_action_labels(folder, tmp_path / "p.parquet")
    assert report.ledgers["answers"].dropped["copied from another chat"] == 4
    rows = pl.read_parquet(tmp_path / "p.parquet")
    named = rows.group_by("conversation_id").agg("rule").sort(pl.col("rule").list.len())
    # What is new in the copy is a choice among what was copied.
    assert named["rule"].to_list() == [
        ["edited", "regenerated"],
        ["continued", "regenerated", "edited"],
    ]


def test_confidence_is_measured_where_enough_was_rated(imported: Imported, tmp_path: Path) -> None:
    entries = []
    for i in range(55):
        chat = MadeChat(f"chat-{i}", f"reader {i % 11}")
        chat.ask("q", f"Why {i}?")
        chat.answer("a", f"So {i}.", "q")
        chat.answer("b", f"Since {i}.", "q")
        entries += [chat.rate("b" if i % 5 else "a", 1)]
        bare = MadeChat(f"bare-{i}", f"reader {i % 11}")
        bare.ask("q", f"When {i}?")
        bare.answer("a", f"At {i}.", "q")
        bare.answer("b", f"On {i}.", "q")
        entries.append(bare.export())
    folder, out = imported(entries), tmp_path / "p.parquet"
    report = write_action_labels(folder, out)
    rule = report.rules["regenerated"]
    assert (rule.rated, rule.agree, rule.assumed) == (55, 44, False)
    rows = pl.read_parquet(out).filter(pl.col("rule") == "regenerated")
    assert rows.height == 55 and not rows["assumed"].any()
    assert rows["confidence"].unique().to_list() == [pytest.approx(54 / 75)]
    # These readers' ratings shaped it: they cannot judge what is trained on it.
    assert set(rows["label_fold"]) == {0}
    folds = sorted(set(rows["fold"]))
    with pytest.raises(ConfigError, match="cannot judge the result"):
        load_pairs(PairDataConfig(dataset=str(out), eval_fold=folds[0]))
    write_action_labels(folder, out, judge_fold=folds[0], overwrite=True)
    again = pl.read_parquet(out)
    assert again.filter(pl.col("rule") == "regenerated")["assumed"].all()  # below 50 are left
    assert load_pairs(PairDataConfig(dataset=str(out), eval_fold=folds[0])).held_out is not None


def test_behaviour_corrects_an_action(imported: Imported, tmp_path: Path) -> None:
    folder, out = imported([busy().export()]), tmp_path / "p.parquet"
    plain = labelled(folder, out)
    pair = (plain["continued"]["rejected_message_id"], plain["continued"]["chosen_message_id"])
    found = labelled(folder, out, behavior={pair: 0.9}, overwrite=True)
    turned = found["continued"]
    assert turned["chosen"] == plain["continued"]["rejected"]
    assert turned["confidence"] == pytest.approx(0.9 * 0.45 / (0.9 * 0.45 + 0.1 * 0.55))
    assert turned["origin"] == "action and behavior"
    assert found["edited"] == plain["edited"]


def test_the_file_passes_the_check_and_a_reversed_one_does_not(
    imported: Imported, tmp_path: Path
) -> None:
    folder, out = imported([busy().export()]), tmp_path / "p.parquet"
    report = write_action_labels(folder, out)
    assert pq.read_schema(out).names == ACTION_LABELS.names
    assert json.loads(pq.read_schema(out).metadata[METADATA_KEY]) == json.loads(report.to_json())
    messages = messages_of(folder)
    assert check_labels(out, messages).source == {"actions": 3}
    table = pl.read_parquet(out)
    turned = table.rename({"chosen": "rejected", "rejected": "chosen"}).select(table.columns)
    turned.write_parquet(tmp_path / "turned.parquet")
    with pytest.raises(DataError, match="wrong answer in 3 of 3"):
        check_labels(tmp_path / "turned.parquet", messages)
    strange = table.with_columns(rejected_message_id=pl.lit("nobody"))
    strange.write_parquet(tmp_path / "strange.parquet")
    with pytest.raises(DataError, match="row 0"):
        check_labels(tmp_path / "strange.parquet", messages)


def test_a_folder_of_shards_holds_the_same_rows(imported: Imported, tmp_path: Path) -> None:
    folder = imported([busy().export()])
    write_action_labels(folder, tmp_path / "p.parquet")
    write_action_labels(folder, tmp_path / "shards")
    whole = pl.read_parquet(tmp_path / "p.parquet")
    assert pl.read_parquet(tmp_path / "shards" / "*.parquet").equals(whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "reward", "--unpaired"], "by a behaviour model"),
        (["--source", "both", "--rules", "like"], "by a behaviour model"),
        (["--source", "explicit", "--rules", "like"], "choose among actions"),
        (["--source", "actions", "--nu", "0.1"], "--nu belongs"),
        (["--source", "actions", "--inputs", "gaze"], "--inputs belongs"),
        (["--source", "actions", "--workers", "2"], "--workers belongs"),
        (["--source", "explicit", "--unpaired", "--judge-fold", "3"], "--judge-fold is of"),
        (["--source", "actions", "--rules", "wink"], "'wink'"),
        (["--source", "actions", "--rules", "copy"], "no rule is left"),
        (["--source", "actions", "--unpaired", "--check"], "leave it out"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str],
    said: str,
    imported: Imported,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = imported([busy().export()])
    assert main(["label", str(tmp_path / "x.parquet"), "--from", str(folder), *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_a_folder_without_messages_and_one_without_pairs(
    imported: Imported, tmp_path: Path, prepared_synthetic: Path
) -> None:
    with pytest.raises(DataError, match="no config `messages`"):
        write_action_labels(prepared_synthetic, tmp_path / "x.parquet")
    chat = MadeChat()
    chat.ask("q", "Why?")
    chat.answer("a", "So.", "q")
    with pytest.raises(NothingLabelledError, match="one answer"):
        write_action_labels(imported([chat.export()]), tmp_path / "x.parquet")


def test_one_rule_makes_few_pairs_of_many_siblings(imported: Imported, tmp_path: Path) -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    for side in range(20):
        chat.answer(f"a{side}", f"So {side}.", "q", side=side)
    report = write_action_labels(imported([chat.rate("a3", 1)]), tmp_path / "p.parquet")
    assert report.rows == 8
    assert report.ledgers["pairs"].dropped == {"more than 8 of a rule": 11}
