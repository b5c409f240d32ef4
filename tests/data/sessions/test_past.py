"""A turn goes on from what its reader saw of the same conversation, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.collected import open_sessions, reader_of
from tests.helpers.made_up_sessions import write_session


def sources(folder: Path, *said: str, **changes: Any) -> dict[int, dict[str, Any]]:
    """Write a session whose turns came from `said`; return its turns as exported, by number."""
    truth = write_session(folder, 7, turns=len(said), steps=2, gaze=False)
    lines = [json.loads(line) for line in truth.path.read_text("utf-8").splitlines()]
    kept = []
    for line in lines:
        if line["type"] == "turn":
            line["question"] = f"q{line['turn']}"
            line["source"] = said[line["turn"]]
            for answer in line["responses"]:
                answer["source"] = f"{answer['box']}{line['turn']}"
            line |= changes.get(f"turn_{line['turn']}", {})
        if line["type"] == "rating" and line["turn"] in changes.get("unrated", ()):
            continue
        kept.append(line)
    truth.path.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    turns = open_sessions(folder).turns.to_dicts()
    return {int(turn["prompt"][1:]): turn for turn in turns}


def words(messages: list[dict[str, str]] | None) -> list[str]:
    return [message["content"] for message in messages or []]


def test_a_conversation_goes_on_on_each_side(tmp_path: Path) -> None:
    turns = sources(tmp_path, "hub", "hub", "hub")
    assert words(turns[0]["history_a"]) == words(turns[0]["history_b"]) == []
    assert words(turns[2]["history_a"]) == ["q0", "A0", "q1", "A1"]
    assert words(turns[2]["history_b"]) == ["q0", "B0", "q1", "B1"]
    assert [m["role"] for m in turns[1]["history_a"]] == ["user", "assistant"]


def test_what_is_replayed_has_no_past_and_is_nobodys(tmp_path: Path) -> None:
    turns = sources(tmp_path, "replay", "replay", "hub", "openai")
    assert all(not turn["history_a"] and not turn["history_b"] for turn in turns.values())


def test_what_was_never_on_the_screen_is_no_past(tmp_path: Path) -> None:
    failed = [{"box": "A", "source": "seen by nobody"}, {"box": "B", "source": "", "error": "busy"}]
    turns = sources(tmp_path, "hub", "hub", "hub", turn_0={"responses": failed}, unrated=(1,))
    assert turns[0]["has_error_answer"] and turns[2]["history_a"] == []


def test_without_its_past_a_turn_is_not_published(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    sources(folder, "hub", "hub", "replay")
    (file,) = folder.glob("s_*.jsonl")
    user = reader_of(file.stem, made_up=True)
    decided = [f"{user},{turn},{say}," for turn, say in enumerate(("withhold", *["publish"] * 2))]
    (folder / "reviews.csv").write_text("\n".join(["user_id,turn,decision,flags", *decided, ""]))
    report = prepare(folder, tmp_path / "out", progress=False, public=True)
    dropped = report.ledgers["tables"]["turns"]["dropped"]
    assert sum(dropped.values()) == 2 and any("before it" in reason for reason in dropped)
    files = config_files(tmp_path / "out", "pairwise")
    assert pl.read_parquet(files, hive_partitioning=False)["prompt"].to_list() == ["q2"]
