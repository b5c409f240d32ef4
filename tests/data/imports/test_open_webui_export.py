"""What is no export is one clear error; what is one is counted to the last entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.cli import main
from ifllm_hf.data.imports.open_webui_export import read_exports
from ifllm_hf.errors import SourceError
from tests.helpers.chats.open_webui_chats import MadeChat, two_answers, write_export

CHAT = json.dumps([two_answers().export()])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!doctype html><html><body>Sign in</body></html>", "web page"),
        (b'{"detail": "401 Unauthorized"}', "401 Unauthorized"),
        (CHAT[:-9].encode(), "cut off"),
        (b"", "cut off"),
        (b'[{"title": "x", "mapping": {}, "create_time": 1}]', "title, mapping, create_time"),
        (b'{"items": [], "total": 0}', "items, total"),
        (b"[]", "empty list"),
        (b"[1, 2]", "no chat and no rating"),
        (b'"chats"', "not a list"),
        (CHAT.replace("sky", "skÿ").encode("latin-1"), "not UTF-8"),
        (b'[{"id": "a", "id": "b", "chat": {}}]', "'id' stands twice"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_export_is_one_line(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_bytes(content)
    out = tmp_path / "out"
    assert main(["import", "open-webui", str(tmp_path / "x.json"), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert words in said and "x.json" in said and "Traceback" not in said
    assert said.count("ifllm import:") == 1 and not out.exists()


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            read_exports([path])


def test_chats_may_stand_one_a_line(tmp_path: Path) -> None:
    chats = [two_answers(f"chat-{i}").export() for i in range(3)]
    path = tmp_path / "chats.json"
    path.write_text("\n".join(json.dumps(chat) for chat in chats), encoding="utf-8")
    assert sorted(read_exports([path]).chats) == ["chat-0", "chat-1", "chat-2"]
    path.write_text(path.read_text()[:-5], encoding="utf-8")
    with pytest.raises(SourceError, match="line 3"):
        read_exports([path])


def changed(entry: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Return a rating with other fields in `data`, `meta` or at the top."""
    made = json.loads(json.dumps(entry))
    for name, part in parts.items():
        made[name] = {**made[name], **part} if isinstance(part, dict) else part
    return dict(made)


def test_every_rating_is_kept_or_dropped_for_a_reason(tmp_path: Path) -> None:
    chat = two_answers()
    good = chat.rate("left", 1, 9)
    entries = [
        good,
        changed(good, id="again", updated_at=good["updated_at"] + 5, data={"rating": "-1"}),
        changed(good, data={"rating": None}, meta={"message_id": "right"}),
        changed(good, data={"rating": 7}, meta={"message_id": "right"}),
        changed(good, meta={"chat_id": "local:socket"}),
        changed(good, meta={"chat_id": None}),
        changed(good, data=None),
        changed(good, data=[1]),
        "neither",
    ]
    export = read_exports([write_export(tmp_path / "f.json", entries)])
    assert dict(export.rating_ledger.dropped) == {
        "rated again later": 1,
        "rating was taken back": 2,  # with no data there is none
        "rating is neither 1 nor -1": 1,
        "temporary chat": 1,
        "rating without a chat, message or reader": 1,
        "rating without data": 1,
    }
    (rating,) = export.ratings.values()
    assert (rating.thumb, rating.stars) == (-1, 9)
    assert export.chat_ledger.dropped == {"older copy of the chat": 7, "neither chat nor rating": 1}


def test_a_chat_is_taken_as_it_stood_last(tmp_path: Path) -> None:
    old, new = two_answers(), two_answers()
    new.ask("q2", "And at night?", after="left")
    entries = [new.export(updated_s=1_760_050_000), old.export(updated_s=1_760_010_000)]
    for order in (entries, entries[::-1]):
        export = read_exports([write_export(tmp_path / "c.json", order)])
        assert len(export.chats["chat-1"].messages) == 4


def test_chats_without_history_are_counted(tmp_path: Path) -> None:
    bare = {**two_answers("a").export(), "chat": {"messages": [{"role": "user"}]}}
    nobody = {**two_answers("b").export(), "user_id": None}
    export = read_exports([write_export(tmp_path / "c.json", [bare, nobody, MadeChat().export()])])
    assert export.chats == {}
    assert export.chat_ledger.dropped == {
        "chat without history": 2,
        "chat without an id or a reader": 1,
    }


def test_of_hidden_models_the_rating_names_the_true_one(tmp_path: Path) -> None:
    good = two_answers().rate("left", 1)
    masked = changed(good, data={"model_id": "true-model"}, meta={"arena": True})
    for entry, model in ((good, None), (masked, "true-model")):
        (rating,) = read_exports([write_export(tmp_path / "f.json", [entry])]).ratings.values()
        assert rating.model == model
