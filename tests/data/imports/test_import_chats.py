"""An export becomes a prepared folder that everything else reads, and that names nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.cli import main
from ifllm_hf.data.imports.import_chats import import_open_webui, review_export
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import CHAT_SCHEMAS, CONFIGS
from ifllm_hf.data.sessions.origin import reader_of
from ifllm_hf.data.sessions.sessions_card import waiting_questions
from ifllm_hf.data.tables.chat_threads import conversation_key, message_key, thread_questions
from ifllm_hf.errors import ConfigError, OutputError, SourceError
from ifllm_hf.hub.publish.dataset import push_dataset
from tests.helpers.chats.open_webui_chats import MadeChat, two_answers, write_export


def table(folder: Path, config: str) -> pl.DataFrame:
    return pl.read_parquet(config_files(folder, config))


def imported(tmp_path: Path, entries: list[Any], **more: Any) -> Path:
    export = write_export(tmp_path / "export.json", entries)
    import_open_webui([export], tmp_path / "chats", progress=False, **more)
    return tmp_path / "chats"


def rated() -> MadeChat:
    chat = two_answers(question="Why? Write to bob@example.org")
    chat.ask("q2", "And at night?", after="left")
    chat.answer("n1", "Dark.", "q2")
    chat.answer("n2", "Stars.", "q2")
    return chat


def test_load_dataset_reads_messages_and_actions(tmp_path: Path) -> None:
    from datasets import load_dataset

    chat = rated()
    folder = imported(tmp_path, [chat.rate("left", 1, 9), chat.rate("right", -1)])
    for config in ("messages", "actions"):
        rows = load_dataset(str(folder), config, split="train", cache_dir=str(tmp_path / "cache"))
        assert rows.column_names == CHAT_SCHEMAS[config].names and len(rows)
    assert all(config_files(folder, config) for config in (*CONFIGS, *CHAT_SCHEMAS))
    actions = table(folder, "actions").select("message_id", "action", "value").rows()
    assert set(actions) == {
        (message_key("chat-1", "left"), "like", 1.0),
        (message_key("chat-1", "left"), "rate", 9.0),
        (message_key("chat-1", "left"), "follow_up", None),
        (message_key("chat-1", "right"), "dislike", -1.0),
        (message_key("chat-1", "n1"), "regenerate", None),
    }


def test_nothing_in_the_folder_names_anybody(tmp_path: Path) -> None:
    chat = rated()
    folder = imported(tmp_path, [chat.rate("left", 1, 9), chat.export()])
    for config in ("messages", "actions", "pairwise", "turns", "preferences", "workers"):
        said = json.dumps(table(folder, config).rows(), default=str)
        for private in ("Ann", "ann-0815", "example.org", "accurate", "Thanks"):
            assert private not in said, (config, private)
    assert "Write to [e-mail]" in table(folder, "messages")["content"][0]
    assert table(folder, "messages")["user_id"].unique().to_list()[0].startswith("reader_")


def test_an_address_in_the_name_of_a_model_is_masked(tmp_path: Path) -> None:
    chat = two_answers()
    chat.messages["right"]["model"] = "ann@example.org/poet"
    hidden = chat.rate("left", 1)
    hidden["meta"]["arena"], hidden["data"]["model_id"] = True, "eve@example.org"
    folder = imported(tmp_path, [hidden, chat.rate("right", -1)])
    models = table(folder, "messages")["model"].to_list()
    assert models == [None, "[e-mail]", "[e-mail]/poet"]
    assert "example.org" not in json.dumps(table(folder, "turns").rows(), default=str)


def test_a_reader_is_in_one_fold_and_a_copied_chat_has_keys_of_its_own(tmp_path: Path) -> None:
    first, copy = rated(), rated()
    copy.chat_id = "chat-2"
    other = two_answers("chat-3", "ben-1")
    later = {"created_at": 1_770_000_000}
    folder = imported(tmp_path, [copy.export(**later), first.export(), other.export()])
    messages = table(folder, "messages")
    assert messages["message_id"].is_unique().all() and messages.height == 15
    folds = messages.group_by("user_id").agg(pl.col("fold").n_unique())
    assert folds["fold"].to_list() == [1, 1]
    assert set(messages["conversation_id"]) == {
        conversation_key(reader_of(user), chat)
        for user, chat in (("ann-0815", "chat-1"), ("ann-0815", "chat-2"), ("ben-1", "chat-3"))
    }
    # Who went on and regenerated did it once.
    assert table(folder, "actions").height == 2


def test_turns_hold_rated_pairs_and_a_preference_where_both_were_rated(tmp_path: Path) -> None:
    chat = rated()
    folder = imported(tmp_path, [chat.rate("left", -1), chat.rate("right", 1), chat.rate("n2", 1)])
    turns = table(folder, "turns").sort("turn")
    assert turns["preference"].to_list() == ["b", None]
    assert turns["response_b"].to_list() == ["It is the sea, chat-1.", "Stars."]
    assert [m["role"] for m in turns["history_a"][1]] == ["user", "assistant"]
    (pair,) = table(folder, "preferences").rows(named=True)
    assert pair["chosen"] == "It is the sea, chat-1." and pair["confidence"] == 1
    assert main(["label", str(tmp_path / "p.jsonl"), "--from", str(folder), "--check"]) == 0


def test_ratings_that_fit_no_answer_are_counted(tmp_path: Path) -> None:
    chat = rated()
    chat.edit("n1", "It is dark.")
    foreign = {**chat.rate("right", 1), "user_id": "somebody else"}
    bare = {**two_answers("gone").rate("left", 1), "snapshot": None}
    question = chat.rate("left", 1)
    question["meta"]["message_id"] = "q"
    deleted = chat.rate("left", 1)
    deleted["meta"]["message_id"] = "deleted"
    edited = chat.rate("n1", 1)
    export = write_export(tmp_path / "e.json", [foreign, bare, question, deleted, edited])
    report = import_open_webui([export], tmp_path / "out", progress=False)
    assert dict(report.ledgers["ratings"].dropped) == {
        "rated by another than the reader of the chat": 1,
        "no snapshot, and its chat is not there": 1,
        "the rated message is no answer": 1,
        "the rated message is not in its chat": 1,
        "the rated text was edited by a person": 1,
    }
    for ledger in report.ledgers.values():
        assert ledger.seen == ledger.kept + sum(ledger.dropped.values())


def test_a_rating_counts_once_whether_it_stands_in_the_chat_or_beside_it(tmp_path: Path) -> None:
    chat = two_answers()
    chat.messages["left"]["annotation"] = {"rating": 1, "details": {"rating": 8}}
    chat.messages["right"]["annotation"] = {"rating": -1}
    folder = imported(tmp_path, [chat.export(), chat.rate("left", 1, 8)])
    said = table(folder, "actions").select("action", "value", "source").rows()
    assert sorted(said) == [
        ("dislike", -1.0, "open-webui chat"),
        ("like", 1.0, "open-webui rating"),
        ("rate", 8.0, "open-webui rating"),
    ]


def test_questions_wait_for_a_review_before_they_are_public(tmp_path: Path) -> None:
    chat = rated()
    folder = imported(tmp_path, [chat.rate("left", 1)])
    assert waiting_questions(folder) == 2
    with pytest.raises(ConfigError, match="2 questions"):
        push_dataset(folder, "org/name")
    export = tmp_path / "export.json"
    typed = iter(["p", "w"])
    shown: list[str] = []
    assert review_export(export, ask=lambda _: next(typed), say=shown.append) == (2, 0)
    assert any("Why? Write to [e-mail]" in line for line in shown)
    import_open_webui([export], tmp_path / "public", public=True, progress=False)
    kept = table(tmp_path / "public", "messages")["content"].to_list()
    assert len(kept) == 3 and "And at night?" not in kept
    assert waiting_questions(tmp_path / "public") == 0
    # Another text of the same message is another question.
    chat.messages["q"]["content"] = "Why? I am Ann."
    write_export(export, [chat.rate("left", 1)])
    with pytest.raises(SourceError, match="nothing is left"):
        import_open_webui([export], tmp_path / "again", public=True, progress=False)


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    export = write_export(tmp_path / "e.json", [two_answers().export()])
    with pytest.raises(OutputError, match="not a prepared folder"):
        import_open_webui([export], tmp_path / "mine", progress=False)
    import_open_webui([export], tmp_path / "out", progress=False)
    before = (tmp_path / "out" / "README.md").read_bytes()
    write_export(export, [MadeChat().export()])
    with pytest.raises(SourceError, match="nothing is left"):
        import_open_webui([export], tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "README.md").read_bytes() == before


def test_the_command_prints_ledgers_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = rated()
    ratings = write_export(tmp_path / "f.json", [chat.rate("left", 1)])
    chats = write_export(tmp_path / "c.json", [two_answers("chat-2").export()])
    words = ["import", "open-webui", str(ratings), "--chats", str(chats), "--json"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["rows"]["messages"] == 9
    assert "9 messages" in err and "keep the folder private" in err


def test_questions_that_cannot_be_learned_from_say_why() -> None:
    def row(message_id: str, parent: str | None, role: str, **more: Any) -> dict[str, Any]:
        origin = "written" if role == "user" else "generated"
        made = {"message_id": message_id, "parent_id": parent, "role": role, "content": "x"}
        return {**made, "origin": origin, "sibling_index": 0, **more}

    rows = [
        row("q1", None, "user"),
        row("a1", "q1", "assistant", origin="failed"),
        row("q2", "a1", "user"),
        row("a2", "q2", "assistant"),
        row("q3", "q2", "user"),
        row("a3", "q3", "assistant"),
        row("q4", None, "user", origin="with_files"),
        row("a4", "q4", "assistant"),
        row("q5", None, "user", content=" "),
        row("a5", "q5", "assistant"),
        row("a6", "a5", "assistant"),
    ]
    found = {q.row["message_id"]: q.unfit for q in thread_questions(rows)}
    assert found == {
        "q1": None,
        "q2": "a message before it is not whole",
        "q3": "question and answer do not take turns before it",
        "q4": "question with files",
        "q5": "empty question",
    }
