"""Sessions of chat pages become the tables; what a page forges or gets wrong harms nothing else."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ifllm_hf.data.rendered.page_alignment import OTHER_MARKDOWN, OTHER_TEXT, WRONG_LENGTH
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.pages.page_session import PageSession, read_page_session, review_key
from ifllm_hf.data.sessions.pages.page_ticks import BEYOND, NO_PLACE
from ifllm_hf.data.sessions.pages.shown_texts import NOT_TOLD
from ifllm_hf.data.sessions.review import PUBLISH
from ifllm_hf.data.sessions.session_file import read_session
from ifllm_hf.data.tables.chat_threads import conversation_key, message_key
from tests.helpers.chats.page_sessions import (
    CHAT,
    PageSessionWriter,
    Pieces,
    TrueChat,
    begin_session,
    plain,
    write_chat,
)

READER = "synthetic_reader"
# A formula: pages show it in another form than the Markdown has it.
FORMULA = Pieces((("Energy is ", True), ("$", False), ("e", True), ("^2$", False), (" now", True)))


def read(writer: PageSessionWriter, **settings: Any) -> PageSession:
    session = read_session(writer.path)
    assert session is not None and session.version == 3
    session.lines.check()
    page = read_page_session(
        session, READER, settings.pop("decisions", {}), public=settings.pop("public", False)
    )
    for ledger in (*page.ledgers.values(), *page.ticks.ledgers.values(), page.rows.ledger):
        ledger.check()
    return page


def ticks_of(page: PageSession) -> pl.DataFrame:
    tables = [pl.from_arrow(table) for table in page.ticks.tables.values()]
    return pl.concat(t for t in tables if isinstance(t, pl.DataFrame)).sort("file_row")


def pointer_ticks(page: PageSession) -> list[tuple[str | None, int | None]]:
    points = ticks_of(page).filter(pl.col("mouse_x_px").is_not_null())
    return list(points.select("message_id", "mouse_char").iter_rows())


def key(message_id: str | None) -> str | None:
    return None if message_id is None else message_key(conversation_key(READER, CHAT), message_id)


def asked(writer: PageSessionWriter, *answers: tuple[str, str]) -> None:
    """Let the owner tell a question and answers to it."""
    writer.owner("question", None, "Why?", role="user", model=None)
    for message_id, text in answers:
        writer.owner(message_id, "question", text)


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_every_point_finds_its_message_and_character(tmp_path: Path, answers: int) -> None:
    chat = write_chat(tmp_path, seed=answers, answers=answers)
    page = read(chat.writer)
    assert pointer_ticks(page) == [(key(name), char) for name, char in chat.seen]
    assert {row["message_id"]: row["content"] for row in page.messages} == {
        key("question"): f"What is true of {answers}?",
        **{key(name): text.markdown for name, text in chat.texts.items()},
    }
    assert [(a["message_id"], a["action"]) for a in page.actions] == [(key("answer-0"), "like")]
    assert len(page.rows.turns) == (answers == 2)
    assert (page.rows.ledger.seen, page.rows.ledger.kept) == (1, int(answers == 2))


def test_two_side_by_side_are_a_turn_with_sides_and_the_end_of_reading(tmp_path: Path) -> None:
    chat = write_chat(tmp_path, steps=30)
    page = read(chat.writer)
    (turn,) = page.rows.turns.values()
    a, b = chat.texts.values()
    assert (turn["response_a"], turn["response_b"]) == (a.markdown, b.markdown)
    assert (turn["kind"], turn["turn"], turn["preference"]) == ("pairwise", 1, None)
    ticks = ticks_of(page)
    assert set(ticks["query_id"]) == {turn["query_id"]}
    assert page.ticks.reading_end_source == {turn["query_id"]: "rating_zone"}
    points = ticks.filter(pl.col("mouse_x_px").is_not_null())
    on = {None: "none", "answer-0": "a", "answer-1": "b"}
    assert points["mouse_on"].to_list() == [on[name] for name, _ in chat.seen]
    assert points["phase"].to_list() == ["reading"] * 30 + ["rating"]
    seen = ticks.filter(pl.col("visible_from_char_b").is_not_null())
    shown = b.shown()
    assert seen["visible_from_char_b"].to_list() == [shown[0][1]]
    assert seen["visible_to_char_b"].to_list() == [shown[4][1] + 1]
    assert seen["message_id"].to_list() == [key("answer-1")]


def test_both_thumbs_are_a_preference(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "left"), ("b", "right"))
    left, right = writer.message("a", plain("left")), writer.message("b", plain("right"))
    writer.turn("question", "b", "a")  # the page has b on the left
    writer.act(left, "dislike")
    writer.act(right, "like")
    writer.send()
    (turn,) = read(writer).rows.turns.values()
    assert (turn["response_a"], turn["preference"]) == ("right", "a")


def test_answers_shown_one_at_a_time_were_regenerated(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "first"), ("b", "second"))
    number = writer.message("a", plain("first"))
    writer.act(number, "regenerate")
    writer.turn("question", "a", "b", shown="one_at_a_time")
    writer.send()
    page = read(writer)
    rows = {row["content"]: row for row in page.messages}
    assert rows["first"]["origin"] == "generated"
    assert rows["second"]["origin"] == "regenerated"
    assert rows["second"]["replaces"] == key("a")
    assert (rows["second"]["sibling_index"], rows["second"]["n_siblings"]) == (1, 2)
    assert page.rows.turns == {} and page.rows.ledger.dropped == {"one answer at a time": 1}
    assert page.actions[0]["message_id"] == key("a")


def test_a_text_edited_while_it_is_read_is_two_texts(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "It is **old**"))
    old = Pieces((("It is ", True), ("**", False), ("old", True), ("**", False)))
    before = writer.message("a", old)
    writer.point(before, old, 4)
    writer.act(before, "edit")
    writer.owner("a", "question", "It is new", origin="edited_by_person")
    after = writer.message("a", plain("It is new"))
    writer.point(after, plain("It is new"), 4)
    writer.point(before, old, 4)  # late: its hash says which text it was
    writer.send()
    page = read(writer)
    rows = {row["content"]: row for row in page.messages if row["role"] == "assistant"}
    former, now = rows["It is **old**"], rows["It is new"]
    assert (now["message_id"], now["replaces"]) == (key("a"), former["message_id"])
    assert (now["origin"], now["model"]) == ("edited_by_person", "person")
    assert page.actions[0]["message_id"] == former["message_id"]
    was = (former["message_id"], 8)
    assert pointer_ticks(page) == [was, (key("a"), 6), was]


def test_a_text_that_grew_is_one(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "It is"))
    half = writer.message("a", plain("It is"))
    writer.point(half, plain("It is"), 3)
    writer.owner("a", "question", "It is whole")
    writer.send()
    page = read(writer)
    assert [r["content"] for r in page.messages] == ["Why?", "It is whole"]
    # The half is no stored text any more, so its offsets are not guessed.
    assert pointer_ticks(page) == [(key("a"), None)]


def test_what_the_browser_aligned_is_taken_where_we_cannot_predict(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", FORMULA.markdown))
    first, second = writer.message("a", FORMULA), writer.message("a", FORMULA, units=12)
    runs = {"source_sha256": sha256(FORMULA.markdown.encode()).hexdigest()}
    writer.event("o", first, {**runs, "runs": [[0, 0, 6], [6, 7, 2], [8, 11, 1], [9, 16, 3]]})
    writer.point(first, FORMULA, 8)
    writer.point(second, FORMULA, 8)
    writer.event("o", second, {"source_sha256": "0" * 64, "runs": [[0, 0, 1]]})
    writer.event("w", first, 0, FORMULA.page_units - 1)
    writer.event("w", second, 0, 1)
    writer.send()
    page = read(writer)
    assert pointer_ticks(page) == [(key("a"), 11), (key("a"), None)]
    assert page.ticks.ledgers["pointer"].repaired == {OTHER_MARKDOWN: 1}
    seen = ticks_of(page).filter(pl.col("visible_from_char_a").is_not_null())
    assert seen["visible_to_char_a"].to_list() == [len(FORMULA.markdown)]
    assert page.ticks.ledgers["view"].dropped == {NO_PLACE: 1}


def test_lies_of_a_page_are_counted_and_used_for_nothing(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    text = plain("Only this is true")
    asked(writer, ("a", text.markdown))
    good = writer.message("a", text)
    forged = writer.message("somebody-elses", text)
    foreign = writer.message("a", text, chat="chat-of-another")
    hashed = writer.message("a", text, sha256="f" * 64)
    longer = writer.message("a", text, units=10**6)
    writer.event("m", good, {"chat": CHAT, "id": "b", **text.facts()})  # the number is taken
    for number in (good, forged, foreign, hashed, longer, 9999):
        writer.point(number, text, 3)
    writer.event("p", good, 1, 1, 1, 1, 999_999, 0, 0, "mouse")
    for number in (forged, foreign, 9999):
        writer.act(number, "like")
        writer.event("w", number, 0, 1)
        writer.event("s", number, 5, 0)
    writer.act(good, "copy", 0, 999_999)
    writer.act(good, "copy", 0, 3)
    writer.act(good, "copy", 0, text.page_units - 1)
    writer.send()
    page = read(writer)
    mine = key("a")
    points = [(mine, 3), (None, None), (None, None), (mine, None), (mine, None), (None, None)]
    assert pointer_ticks(page) == [(mine, text.shown()[3][1]), *points[1:], (mine, None)]
    assert [a["action"] for a in page.actions] == ["copy_part", "copy"]
    assert {a["message_id"] for a in page.actions} == {mine}
    assert {row["message_id"] for row in page.messages} == {mine, key("question")}
    of = page.ticks.ledgers
    assert of["pointer"].repaired == {NOT_TOLD: 3, OTHER_TEXT: 1, WRONG_LENGTH: 1, BEYOND: 1}
    assert of["actions"].dropped == {NOT_TOLD: 3, "offset beyond the page's text": 1}
    assert of["view"].dropped == {NOT_TOLD: 6}
    assert of["other"].dropped["number of a message told twice"] == 1


def test_ten_thousand_siblings(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    ids = [f"a{i}" for i in range(10_000)]
    asked(writer, *((name, f"answer {name}") for name in ids[:50]))
    number = writer.message("a7", plain("answer a7"))
    writer.turn("question", *ids)
    writer.turn("question", *ids, "one-more")  # beyond what the schema takes: it is refused alone
    writer.point(number, plain("answer a7"), 6)
    writer.send()
    page = read(writer)
    assert pointer_ticks(page) == [(key("a7"), 7)]
    assert page.rows.ledger.dropped == {"more than two answers side by side": 1}
    assert page.ticks.ledgers["other"].dropped["malformed"] == 1


def test_messages_that_cannot_be_placed_are_counted(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "here"))
    writer.owner("orphan", "gone", "nobody asked")
    writer.owner("ring-1", "ring-2", "1")
    writer.owner("ring-2", "ring-1", "2")
    writer.owner("self", "self", "3")
    writer.point(writer.message("orphan", plain("nobody asked")), plain("nobody asked"), 1)
    writer.send()
    page = read(writer)
    assert page.ledgers["messages"].kept == 2
    assert page.ledgers["messages"].dropped == {
        "its parent is missing": 1,
        "not reached from a first message": 3,
    }
    assert pointer_ticks(page) == [(None, None)]


def test_lines_of_another_version_are_left_out(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "here"))
    rating = {"likert": {"A": 1}, "preference": None, "better_than_previous": None}
    writer.line(type="rating", turn=0, **rating, at_epoch_ms=1)
    old = {"origin_epoch_ms": 1, "sent_epoch_ms": 1, "received_epoch_ms": 1}
    writer.line(type="batch", tab="tab00000", seq=0, events=[["f", 1, 1]], **old)
    writer.point(writer.message("a", plain("here")), plain("here"), 1)
    writer.send()
    session = read_session(writer.path)
    assert session is not None
    assert session.lines.dropped == {"rating of another version": 1, "batch of another version": 1}
    assert pointer_ticks(read(writer)) == [(key("a"), 1)]


def test_clicks_that_come_again_at_once_are_one(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "here"))
    number = writer.message("a", plain("here"))
    for _ in range(3):
        writer.act(number, "like")
    writer.now_ms += 5000
    writer.act(number, "like")
    writer.send()
    page = read(writer)
    assert [a["value"] for a in page.actions] == [1.0, 1.0]
    assert page.ticks.ledgers["actions"].dropped == {"the same again within a second": 2}


def test_only_what_hangs_on_published_questions_is_public(tmp_path: Path) -> None:
    writer = begin_session(tmp_path)
    asked(writer, ("a", "first"))
    writer.owner("next", "a", "And me@example.org?", role="user", model=None)
    writer.owner("b", "next", "private")
    first, private = writer.message("a", plain("first")), writer.message("b", plain("private"))
    for number, text in ((first, plain("first")), (private, plain("private"))):
        writer.point(number, text, 0)
        writer.act(number, "copy")
    writer.send()
    everything = read(writer)
    assert len(everything.rows.waiting) == 2 and len(everything.messages) == 4
    question = next(row for row in everything.messages if row["role"] == "user")
    page = read(writer, public=True, decisions={review_key(question): PUBLISH})
    assert {row["content"] for row in page.messages} == {"Why?", "first"}
    assert [a["message_id"] for a in page.actions] == [key("a")]
    assert pointer_ticks(page) == [(key("a"), 0)]
    assert page.ticks.ledgers["pointer"].kept == 1
    assert read(writer, public=True).messages == []


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=3),
    lambda inside: st.lists(inside, max_size=4),
    max_leaves=6,
).filter(lambda event: not fits(event, "event", version=3))
_NEARLY = st.sampled_from(
    [
        ["p", 1.0, 10_000, 1, 1, None, None, 0, 0, 0, "mouse"],
        ["p", -1.0, 0, 1, 1, None, None, 0, 0, 0, "mouse"],
        ["w", 1.0, 0, 5, 4],
        ["w", 1.0, 0, None, 4],
        ["a", 1.0, 0, "applaud", None, None],
        ["a", 1.0, 0, "copy", 3, None],
        ["m", 1.0, 0, {"chat": "c", "id": "é", "sha256": "0" * 64, "units": 1}],
        ["u", 1.0, {"chat": "c", "question": "q", "parent": None, "siblings": [], "shown": "x"}],
        ["e", 1.0, "start", {"text": "of the page"}],
    ]
)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> TrueChat:
    return write_chat(tmp_path_factory.mktemp("good"), seed=5, steps=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.lists(st.tuples(st.integers(0, 30), _JUNK | _NEARLY), min_size=1, max_size=8))
def test_any_mix_of_good_and_bad_events_keeps_the_good_ones(
    chat: TrueChat, bad: list[tuple[int, Any]]
) -> None:
    """Whatever stands between them in the batch."""
    session = read_session(chat.writer.path)
    assert session is not None
    whole = read_page_session(session, READER, {}, public=False)
    (batch,) = session.batches
    events = list(batch["events"])
    for place, event in bad:
        events.insert(place, event)
    mixed = {**batch, "events": events}
    session.batches = [mixed]
    page = read_page_session(session, READER, {}, public=False)
    assert page.messages == whole.messages and page.actions == whole.actions
    assert page.rows.turns == whole.rows.turns
    assert ticks_of(page).equals(ticks_of(whole))
    dropped: Counter[str] = sum((of.dropped for of in page.ticks.ledgers.values()), Counter())
    assert dropped["malformed"] == len(bad)
