"""Every line of a session file stands where it belongs, or is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.data.sessions.session_file import read_session, session_files
from ifllm_hf.errors import SourceError
from tests.helpers.made_up_sessions import TrueSession, write_session


@pytest.fixture
def one(tmp_path: Path) -> TrueSession:
    return write_session(tmp_path / "one", 7, steps=20)


def written(truth: TrueSession) -> list[dict[str, Any]]:
    return [json.loads(line) for line in truth.path.read_text("utf-8").splitlines()]


def test_each_kind_of_line_has_its_place(one: TrueSession) -> None:
    summary = {"type": "summary", "text": "Tides.", "at_epoch_ms": 1.8e12}
    with one.path.open("a") as file:
        file.write(json.dumps(summary) + "\n")
    lines = written(one)
    session = read_session(one.path)
    assert session is not None
    assert (session.session_id, session.first) == (one.session_id, lines[0])
    of_kind = {kind: [line for line in lines if line["type"] == kind] for kind in
               ("turn", "rating", "calibration", "batch", "end")}  # fmt: skip
    assert session.turns == {turn["turn"]: turn for turn in of_kind["turn"]}
    assert session.ratings == {rating["turn"]: rating for rating in of_kind["rating"]}
    assert session.calibrations == of_kind["calibration"]
    assert session.batches == of_kind["batch"]
    assert (session.summary, [session.end]) == (summary, of_kind["end"])
    assert (session.lines.seen, session.lines.kept) == (len(lines), len(lines))


def test_without_events_no_batch_is_looked_at(one: TrueSession) -> None:
    whole, bare = read_session(one.path), read_session(one.path, events=False)
    assert whole is not None and bare is not None
    assert bare.batches == [] != whole.batches
    assert bare.lines.seen == whole.lines.seen - len(whole.batches)
    assert (bare.turns, bare.ratings, bare.end) == (whole.turns, whole.ratings, whole.end)
    assert bare.content == whole.content


def test_a_file_of_another_session_is_none(one: TrueSession) -> None:
    other = one.path.with_name(f"s_{'x' * 22}.jsonl")
    other.write_bytes(one.path.read_bytes())
    assert read_session(other) is None
    other.write_bytes(b"")
    assert read_session(other) is None


def test_names_that_are_no_sessions_are_left_alone_and_refused(one: TrueSession) -> None:
    stranger = one.path.with_name("s_notes.jsonl")
    stranger.write_bytes(one.path.read_bytes())
    assert session_files(one.path.parent) == [one.path]
    with pytest.raises(SourceError, match="expected a file named s_"):
        read_session(stranger)
    one.path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        read_session(one.path)
