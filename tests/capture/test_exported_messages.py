"""A page's own export gives sessions the texts that they read, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.capture.exported_messages import main
from ifllm_hf.data.sessions.pages.page_session import PageSession, read_page_session
from ifllm_hf.data.sessions.session_file import read_session
from tests.helpers.chats.open_webui_chats import START_S, MadeChat, two_answers, write_export
from tests.helpers.chats.page_sessions import ORIGIN_MS, PageSessionWriter, begin_session, plain

SKY = "Because of scattering, chat-1."


@pytest.fixture
def writer(tmp_path: Path) -> PageSessionWriter:
    return begin_session(tmp_path / "sessions")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    chat = two_answers()
    chat.ask("q2", "And at night?", after="left")
    chat.answer("n", "It is *drk*.", "q2")
    chat.edit("n", "It is dark.")
    private = MadeChat("chat-2", "bob")
    private.ask("p", "A secret?")
    private.answer("s", "Yes.", "p")
    return write_export(tmp_path / "chats.json", [chat.export(), private.export()])


def put(writer: PageSessionWriter, export: Path) -> PageSession:
    assert main([str(writer.path.parent), str(export)]) == 0
    session = read_session(writer.path)
    assert session is not None and session.lines.dropped == {}
    return read_page_session(session, "reader", {}, public=False)


def test_a_session_gets_what_it_read_and_what_was_said_before(
    writer: PageSessionWriter, export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = writer.message("left", plain(SKY), chat="chat-1")
    writer.message("n", plain("It is drk."), chat="chat-1")
    writer.point(left, plain(SKY), 4)
    forged = writer.message("s", plain("No."), chat="chat-2")  # an id of somebody else's chat
    writer.point(forged, plain("No."), 0)
    writer.send()
    page = put(writer, export)
    assert "of 3 messages that sessions told of and did not hold, 2" in capsys.readouterr().err
    rows = {row["content"]: row for row in page.messages}
    assert list(rows) == [
        "Why is the sky blue?",
        SKY,
        "And at night?",
        "It is *drk*.",
        "It is dark.",
    ]
    assert rows["It is dark."]["origin"] == "edited_by_person"
    assert rows["It is dark."]["replaces"] == rows["It is *drk*."]["message_id"]
    assert rows[SKY]["created_at"].timestamp() == START_S + 60
    points = [of for t in page.ticks.tables.values() for of in t["mouse_char"].to_pylist()]
    assert sorted(points, key=str) == [4, None]
    before = writer.path.read_bytes()
    put(writer, export)
    assert writer.path.read_bytes() == before, "what is there is not stored again"


def test_the_page_told_what_is_side_by_side(writer: PageSessionWriter, export: Path) -> None:
    texts = {"left": plain(SKY), "right": plain("It is the sea, chat-1.")}
    for message_id, text in texts.items():
        writer.message(message_id, text, chat="chat-1")
    writer.turn("q", "right", "left", chat="chat-1")
    writer.send()
    (turn,) = put(writer, export).rows.turns.values()
    assert (turn["response_a"], turn["model_b"]) == ("It is the sea, chat-1.", "model-0")
    assert turn["asked_at"].timestamp() < ORIGIN_MS / 1000


def test_what_is_no_export_leaves_sessions_as_they_are(
    writer: PageSessionWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer.message("left", plain(SKY), chat="chat-1")
    writer.send()
    before = writer.path.read_bytes()
    other = write_export(tmp_path / "other.json", [{"messages": 3}])
    assert main([str(writer.path.parent), str(other)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert writer.path.read_bytes() == before
