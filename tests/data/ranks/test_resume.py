"""What is done stays done: after kills and damage the same command does the rest, and no more."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.data.prepared.folder import working_folder
from ifllm_hf.data.ranks import rank as rank_module
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.listing import LISTING, SESSIONS, write_listing
from ifllm_hf.data.ranks.rank import run_rank
from ifllm_hf.errors import ConfigError, SourceError, UnfinishedError
from tests.helpers.made_up_sessions import write_session
from tests.helpers.ranks import Engine, content, in_ranks
from tests.helpers.ranks.killed import KILLED, failing_rank, killed_rank


@pytest.fixture
def undisturbed(sessions: Path, tmp_path: Path) -> dict[str, bytes]:
    in_ranks(sessions, tmp_path / "undisturbed")
    return content(tmp_path / "undisturbed")


@pytest.fixture
def out(sessions: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> Path:
    """An output of which all ranks are done, and which was not joined."""

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_ranks(sessions, tmp_path / "out", engine=Engine(after=stop))
    assert not (tmp_path / "out").exists()
    return tmp_path / "out"


def records(out: Path) -> dict[str, int]:
    """Return the times at which ranks were recorded."""
    return {p.name: p.stat().st_mtime_ns for p in working_folder(out).glob("ranks/*.json")}


def test_killed_ranks_are_done_by_the_same_command_and_no_other_again(
    sessions: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UnfinishedError, match=r"2 of 5 ranks .*: 1, 3\. .*same command again"):
        in_ranks(sessions, out, engine=engine_for(2, rank=killed_rank))
    assert not out.exists(), "nobody sees half of it"
    before = records(out)
    assert before.keys() == {f"{rank:05d}.json" for rank in range(5) if rank not in KILLED}
    after: dict[str, int] = {}
    engine = Engine(after=lambda _: after.update(records(out)))
    in_ranks(sessions, out, engine=engine)
    assert engine.ran == [[1, 3]]
    assert before.items() <= after.items()
    assert content(out) == undisturbed
    assert not working_folder(out).exists()


def test_whole_ranks_are_joined_without_another_look_at_the_sessions(
    sessions: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    for file in sessions.glob("*.jsonl"):
        file.write_bytes(file.read_bytes() + b"more\n")  # the app goes on writing
    engine = Engine()
    in_ranks(sessions, out, engine=engine)
    assert engine.ran == [] and content(out) == undisturbed


@pytest.mark.parametrize(
    "damage", ["cut short", "gone", "bit flipped", "record cut short", "no record"]
)
def test_a_damaged_rank_is_done_again(
    sessions: Path,
    out: Path,
    undisturbed: dict[str, bytes],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ranks = working_folder(out) / "ranks"
    (shard,) = ranks.glob("00002-*/ticks/*.parquet")
    if damage == "gone":
        shard.unlink()
    elif damage == "record cut short":
        record = ranks / "00002.json"
        record.write_bytes(record.read_bytes()[:99])
    elif damage == "no record":
        (ranks / "00002.json").write_text("{}")
    else:
        data = bytearray(shard.read_bytes())
        data[50] ^= 1
        shard.write_bytes(data[:-20] if damage == "cut short" else data)
    engine = Engine()
    in_ranks(sessions, out, engine=engine)
    assert engine.ran == [[2]] and content(out) == undisturbed
    assert "rank 2" in caplog.text and "done again" in caplog.text


@pytest.mark.parametrize("name", [LISTING, SESSIONS])
def test_a_damaged_listing_is_one_line(name: str, sessions: Path, tmp_path: Path) -> None:
    work = working_folder(tmp_path / "out")
    write_listing(work, sessions, {"source": str(sessions), "tasks": 5, "public": False})
    whole = (work / name).read_bytes()
    halves = [whole[: len(whole) // 2]]
    if name == LISTING:
        known = json.loads(whole)
        halves += [json.dumps({k: known[k] for k in ("package", "schema")}).encode(), b"[]"]
    for half in halves:
        (work / name).write_bytes(half)
        with pytest.raises(ConfigError, match=f"{name}: cannot be read .*begins anew"):
            in_ranks(sessions, tmp_path / "out")
    (work / name).write_bytes(whole)
    in_ranks(sessions, tmp_path / "out")


def test_what_is_damaged_again_and_again_is_one_error(sessions: Path, tmp_path: Path) -> None:
    def damage(work: Path) -> None:
        next(work.glob("ranks/00002-*/ticks/*.parquet")).write_bytes(b"")

    with pytest.raises(UnfinishedError, match="rank 2 was damaged.*3 times"):
        in_ranks(sessions, tmp_path / "out", engine=Engine(after=damage))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [{"tasks": 4}, {"public": True}])
def test_other_settings_do_not_mix_with_what_was_begun(
    sessions: Path, out: Path, undisturbed: dict[str, bytes], other: dict[str, int]
) -> None:
    with pytest.raises(ConfigError, match="unfinished run with other settings"):
        in_ranks(sessions, out, **other)
    in_ranks(sessions, out)
    assert content(out) == undisturbed


def test_another_version_does_not_go_on(sessions: Path, out: Path) -> None:
    listing = working_folder(out) / "listing.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"package": "0.0.9"}))
    before = content(working_folder(out))
    with pytest.raises(ConfigError, match=r"listed by ifllm_hf 0\.0\.9"):
        in_ranks(sessions, out)
    assert content(working_folder(out)) == before


def test_sessions_that_came_since_are_named(
    sessions: Path, out: Path, undisturbed: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    write_session(sessions, 77, steps=4)
    with caplog.at_level(logging.WARNING):
        in_ranks(sessions, out)
    assert "1 came since" in caplog.text
    assert content(out) == undisturbed


def test_an_error_of_a_rank_is_that_error_and_what_runs_is_done(
    sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SourceError, match="a session cannot be read"):
        in_ranks(sessions, out, engine=engine_for(2, rank=failing_rank))
    assert not out.exists()
    engine = Engine()
    in_ranks(sessions, out, engine=engine)
    assert 0 in engine.ran[0] and len(engine.ran[0]) < 5


def test_of_two_processes_that_do_the_same_rank_the_first_record_counts(
    sessions: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rank_module._counted
    begun: list[int] = []

    def twice(conversations: Iterable[Any], ends: Any) -> Iterator[Any]:
        for number, conversation in enumerate(real(conversations, ends)):
            if number == 1 and not begun:  # the node was cut off, and its rank began elsewhere
                begun.append(1)
                run_rank(working_folder(tmp_path / "out"), 0)
                records_then.update(records(tmp_path / "out"))
            yield conversation

    records_then: dict[str, int] = {}
    monkeypatch.setattr(rank_module, "_counted", twice)
    engine = Engine(after=lambda work: records_after.update(records(tmp_path / "out")))
    records_after: dict[str, int] = {}
    in_ranks(sessions, tmp_path / "out", engine=engine)
    assert engine.ran == [[0, 1, 2, 3, 4]] and begun
    assert records_then and records_then.items() <= records_after.items()
    assert content(tmp_path / "out") == undisturbed
