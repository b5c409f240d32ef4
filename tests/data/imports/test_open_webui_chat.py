"""The tree of a chat becomes rows: kinship, regeneration, edits, stops, and what a reader did."""

from __future__ import annotations

from typing import Any

import pytest

from ifllm_hf.data.imports.open_webui_chat import ChatRows, chat_rows
from ifllm_hf.data.imports.open_webui_export import ExportedChat
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.tables.chat_threads import message_key
from tests.helpers.chats.open_webui_chats import MadeChat, two_answers

PART = {"id": "part-1", "type": "message", "status": "completed"}


def read(chat: MadeChat, **more: Any) -> tuple[ChatRows, Ledger]:
    ledger = Ledger("messages")
    exported = ExportedChat(chat.chat_id, chat.user_id, 1, 1, chat.messages)
    rows = chat_rows(exported, "reader_1", ledger, **more)
    ledger.check()
    assert ledger.kept == len(rows.messages)
    return rows, ledger


def key(message_id: str) -> str:
    return message_key("chat-1", message_id)


def by_id(rows: ChatRows) -> dict[str, dict[str, Any]]:
    found = {row["message_id"]: row for row in rows.messages}
    assert len(found) == len(rows.messages)
    return found


def acts(rows: ChatRows) -> set[tuple[str, str]]:
    return {(row["action"], row["message_id"]) for row in rows.actions}


def test_answers_side_by_side_are_siblings_and_not_regenerated() -> None:
    rows, _ = read(two_answers())
    left, right = by_id(rows)[key("left")], by_id(rows)[key("right")]
    assert [(r["sibling_index"], r["n_siblings"], r["origin"]) for r in (left, right)] == [
        (0, 2, "generated"),
        (1, 2, "generated"),
    ]
    assert left["parent_id"] == right["parent_id"] == key("q")
    assert (left["model"], right["model"]) == ("model-0", "model-1")
    assert rows.actions == []


def test_another_answer_of_the_same_model_was_regenerated() -> None:
    chat = two_answers()
    chat.answer("left 2", "Light scatters.", "q", side=0)
    rows, _ = read(chat)
    again = by_id(rows)[key("left 2")]
    assert (again["origin"], again["replaces"]) == ("regenerated", key("left"))
    assert acts(rows) == {("regenerate", key("left"))}
    (action,) = rows.actions
    assert action["at"].timestamp() == chat.messages["left 2"]["timestamp"]


def test_an_edit_keeps_both_texts_and_credits_the_new_one_to_a_person() -> None:
    chat = two_answers()
    chat.edit("left", "Because light is scattered.")
    rows, ledger = read(chat)
    edited = by_id(rows)[key("left")]
    original = by_id(rows)[edited["replaces"]]
    assert (edited["origin"], edited["model"]) == ("edited_by_person", "person")
    assert edited["content"] == "Because light is scattered."
    assert (original["content"], original["model"]) == (
        "Because of scattering, chat-1.",
        "model-0",
    )
    assert [edited["sibling_index"], original["sibling_index"], edited["n_siblings"]] == [1, 0, 3]
    assert acts(rows) == {("edit", original["message_id"])}
    assert ledger.repaired["text before an edit is a row of its own"] == 1


@pytest.mark.parametrize(
    "mark",
    [{"output": [PART]}, {"feedbackId": "f-1"}, {"usage": {"total_duration": 123}}],
)
def test_a_saved_copy_is_a_persons_and_no_regeneration(mark: dict[str, Any]) -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    chat.answer("a", "So.", "q", **mark)
    chat.save_copy("b", "a", "So, and so on.")
    chat.answer("c", "Because.", "q")
    rows, _ = read(chat)
    found = by_id(rows)
    copy = found[key("b")]
    assert (copy["origin"], copy["model"], copy["replaces"]) == (
        "edited_by_person",
        "person",
        key("a"),
    )
    assert found[key("c")]["replaces"] == key("a")
    assert acts(rows) == {("edit", key("a")), ("regenerate", key("a"))}


def test_two_answers_of_equal_length_are_no_copies() -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    for name in "ab":
        chat.answer(name, f"So {name}.", "q", usage={"completion_tokens": 3, "total_tokens": 9})
    assert by_id(read(chat)[0])[key("b")]["origin"] == "regenerated"


def test_a_stopped_answer_is_marked_though_it_is_done() -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    chat.answer("a", "So and", "q", output=[{**PART, "status": "incomplete"}])
    chat.answer("b", "So", "q", done=False)
    rows, _ = read(chat)
    assert [by_id(rows)[key(i)]["stopped"] for i in "ab"] == [True, True]
    assert ("stop", key("a")) in acts(rows) and ("stop", key("b")) not in acts(rows)


def test_a_question_after_an_answer_is_a_follow_up() -> None:
    chat = two_answers()
    chat.ask("q2", "And at night?", after="left")
    rows, _ = read(chat)
    assert acts(rows) == {("follow_up", key("left"))}
    assert by_id(rows)[key("q2")]["parent_id"] == key("left")


def test_what_came_with_a_copied_chat_is_no_action() -> None:
    chat = two_answers()
    chat.answer("left 2", "Light scatters.", "q", side=0, annotation={"rating": 1})
    chat.ask("q2", "And at night?", after="left")
    rows, _ = read(chat, copied={"q", "left", "left 2"})
    assert acts(rows) == {("follow_up", key("left"))}
    assert rows.thumbs == {}
    assert read(chat)[0].thumbs == {"left 2": (1, None)}


def test_thinking_is_cut_out_and_tools_are_marked() -> None:
    chat = MadeChat()
    chat.ask("q", "Why?", files=[{"type": "file"}])
    thought = (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> Hm\n</details>\n'
    )
    chat.answer("a", f"{thought}So.", "q")
    chat.answer("b", '<details type="tool_calls" name="web">x</details>\nSo.', "q", side=1)
    chat.answer("c", "So.", "q", side=2, sources=[{"document": ["x"]}])
    chat.answer("d", "", "q", side=3, output=[{**PART, "content": [{"text": "So."}]}])
    chat.answer("e", "So.", "q", side=4, output=[{"type": "function_call", "name": "web"}])
    chat.answer("f", "", "q", side=5, error={"content": "out of memory"})
    chat.answer("g", "<details><summary>Why?</summary>So.</details>", "q", side=6, output=5)
    rows, ledger = read(chat)
    found = by_id(rows)
    assert [found[key(i)]["origin"] for i in "abcdef"] == [
        *("generated", "with_tools", "with_tools", "generated", "with_tools", "failed")
    ]
    assert [found[key(i)]["content"] for i in "abcde"] == ["So."] * 5
    assert found[key("g")]["content"].startswith("<details>")  # the model's own words
    assert found[key("q")]["origin"] == "with_files"
    assert ledger.repaired["thinking cut out"] == 2


@pytest.mark.parametrize("tag", ['<details type="reasoning">', "<details ", '<details\nx type="'])
def test_tags_that_never_end_are_text_and_read_in_one_pass(tag: str) -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    chat.answer("a", tag * 50_000, "q")  # a quarter of an hour by a backtracking expression
    rows, ledger = read(chat)
    assert by_id(rows)[key("a")]["content"] == tag * 50_000 and not ledger.repaired


def test_rings_orphans_and_strangers_are_counted() -> None:
    chat = two_answers()
    chat.messages |= {
        "half \ud800": {"role": "user", "content": "x", "parentId": None},
        "ring 1": {"role": "user", "content": "x", "parentId": "ring 2"},
        "ring 2": {"role": "assistant", "content": "x", "parentId": "ring 1"},
        "below a ring": {"role": "user", "content": "x", "parentId": "ring 2"},
        "orphan": {"role": "user", "content": "x", "parentId": "gone"},
        "child of the orphan": {"role": "assistant", "content": "x", "parentId": "orphan"},
        "itself": {"role": "user", "content": "x", "parentId": "itself"},
        "tool": {"role": "tool", "content": "x", "parentId": None},
        "no text": {"role": "user", "content": None, "parentId": None},
        "none": None,
        "list": {"role": "user", "content": "x", "parentId": ["q"]},
    }
    chat.messages["q"]["childrenIds"] = ["right", "right", 7, "left", "nobody"]
    rows, ledger = read(chat)
    assert dict(ledger.dropped) == {
        "not reached from a first message": 5,
        "its parent is missing": 2,
        "role other than user and assistant": 1,
        "content is no text": 1,
        "no message": 2,
    }
    assert by_id(rows)[key("right")]["sibling_index"] == 0  # the order of the page


def test_ten_thousand_siblings_and_a_deep_chat() -> None:
    chat = MadeChat()
    chat.ask("q", "Why?")
    for i in range(10_000):
        chat.answer(f"a{i}", f"So {i}.", "q")
    for i in range(3000):
        chat.ask(f"q{i}", "And?", after=f"q{i - 1}" if i else "a0")
    rows, _ = read(chat)
    assert len(rows.messages) == 13_001
    assert sum(row["action"] == "regenerate" for row in rows.actions) == 9_999


def test_half_a_character_is_mended() -> None:
    chat = MadeChat()
    chat.ask("q", "Why \ud83d?")
    rows, ledger = read(chat)
    assert rows.messages[0]["content"] == "Why ??"
    assert ledger.repaired["half a character"] == 1
