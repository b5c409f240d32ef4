"""Packed sessions give the tables of loose ones; none is lost, read twice, or comes back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf import cli
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.collected import open_sessions
from ifllm_hf.data.sessions.packed import PackReport, pack, pack_as_writer, take_out
from ifllm_hf.data.sessions.review import PUBLISH, write_decisions
from ifllm_hf.data.sessions.session_file import session_files, tombstone
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import OutputError, SourceError
from ifllm_hf.files import held
from tests.helpers.fresh_process import python
from tests.helpers.made_up_sessions import TrueSession, write_session, write_sessions
from tests.helpers.ranks import content, in_ranks

TINY_MB = 0.01
_KILLED = """
import os, shutil, signal
from pathlib import Path
from ifllm_hf.data.sessions.packed import pack_as_writer, take_out

def killing(function):
    def then(*arguments, **named):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **named)
    return then

os.replace, os.fsync = killing(os.replace), killing(os.fsync)
Path.unlink = killing(Path.unlink)
step, killed = 0, True
while killed:
    folder = Path("{place}", f"killed {{step}}")
    shutil.copytree("{sessions}", folder)
    left = step
    if not (child := os.fork()):
        pack_as_writer(folder, shard_mb=100, idle_hours=0)
        take_out(folder, {{"{mark}"}})
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    step += 1
print(step)
"""


def packed(folder: Path, **settings: Any) -> PackReport:
    return pack(folder, **{"idle_hours": 0, "progress": False, **settings})


def files_of(folder: Path) -> dict[str, bytes]:
    """Return each session as it is read."""
    stored = StoredSessions(folder)
    return {i: stored.place(i).read_bytes() for i in stored.sizes()}


def withdraw(folder: Path, session_id: str) -> frozenset[str]:
    with (folder / "withdrawn.txt").open("a") as file:
        file.write(tombstone(session_id) + "\n")
    return frozenset([tombstone(session_id)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[TrueSession]:
    folder = tmp_path_factory.mktemp("made") / "sessions"
    return [*write_sessions(folder, 6, steps=8), write_session(folder, 99, kind="pointwise")]


@pytest.fixture
def sessions(made: list[TrueSession], tmp_path: Path) -> Path:
    """Good ones, and every kind that is left out or mended."""
    folder = tmp_path / "sessions"
    shutil.copytree(made[0].path.parent, folder)
    torn, other_version, middle = (folder / truth.path.name for truth in made[:3])
    torn.write_bytes(torn.read_bytes() + b'{"type":"batch"\n')
    other_version.write_bytes(other_version.read_bytes().replace(b'"v":2', b'"v":1', 1))
    middle.write_bytes(middle.read_bytes().replace(b'"type":"turn"', b'"type":"churn"', 1))
    return folder


@pytest.mark.parametrize("group_bytes", [2**20, 1], ids=["one shard", "many"])
def test_packed_sessions_give_the_files_of_loose_ones(
    sessions: Path, tmp_path: Path, group_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ifllm_hf.data.sessions.shard._GROUP_BYTES", group_bytes)
    wanted = prepare(sessions, tmp_path / "loose", progress=False)
    in_ranks(sessions, tmp_path / "loose ranks", 3)
    waiting = open_sessions(sessions).waiting
    before = files_of(sessions)
    report = packed(sessions, shard_mb=TINY_MB)
    assert (report.packed, session_files(sessions)) == (7, [])
    assert (len(report.shards) == 1) is (group_bytes > 1)
    assert files_of(sessions) == before
    found = prepare(sessions, tmp_path / "packed", progress=False)
    in_ranks(sessions, tmp_path / "packed ranks", 3)
    assert content(tmp_path / "packed") == content(tmp_path / "loose")
    assert content(tmp_path / "packed ranks") == content(tmp_path / "loose ranks")
    assert found.to_dict() | {"out": ""} == wanted.to_dict() | {"out": ""}
    assert wanted.ledgers["source_files"]["dropped"] == {"no consent on its first line": 1}
    assert open_sessions(sessions).waiting == waiting
    write_decisions(sessions, dict.fromkeys(waiting, PUBLISH))
    assert open_sessions(sessions).waiting == []


def test_packed_sessions_are_read_where_a_url_names_them(
    sessions: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import fsspec

    prepare(sessions, tmp_path / "loose", progress=False)
    packed(sessions, shard_mb=TINY_MB)
    memory, name = fsspec.filesystem("memory"), f"/packed-{os.getpid()}"
    request.addfinalizer(lambda: memory.rm(name, recursive=True))
    memory.put(str(sessions), name, recursive=True)
    prepare(f"memory:/{name}", tmp_path / "far", progress=False)
    assert content(tmp_path / "far") == content(tmp_path / "loose")


def test_the_builder_of_datasets_reads_packed_sessions(
    sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.data.prepared.ifllm import prepared_in_cache

    def cached() -> dict[str, bytes]:
        root = tmp_path / "cache"
        return content(Path(prepared_in_cache(str(sessions), root, built=root, progress=False)))

    loose = cached()
    packed(sessions)
    assert cached() == loose


def test_who_is_still_reading_is_not_packed(sessions: Path, made: list[TrueSession]) -> None:
    for truth in made[1:]:
        os.utime(sessions / truth.path.name, (0, 0))
    (sessions / f"s_{'x' * 22}.jsonl").write_bytes(b"{}\n")
    os.utime(sessions / f"s_{'x' * 22}.jsonl", (0, 0))
    torn = sessions / made[3].path.name
    torn.write_bytes(torn.read_bytes() + b'{"type":"batch"')
    os.utime(torn, (0, 0))
    report = packed(sessions, idle_hours=24)
    assert report.packed == 5
    left = {"still open": 1, "not its own first line": 1, "ends in half a line": 1}
    assert report.left == left and len(session_files(sessions)) == 3


def test_what_goes_on_after_it_was_packed_is_read_once_and_packed_again(
    sessions: Path, made: list[TrueSession]
) -> None:
    whole = files_of(sessions)
    file = sessions / made[4].path.name
    file.write_bytes(b"".join(whole[file.stem].splitlines(keepends=True)[:-2]))
    packed(sessions, shard_mb=TINY_MB)
    assert files_of(sessions) != whole
    file.write_bytes(whole[file.stem])
    assert files_of(sessions) == whole and open_sessions(sessions).source.ledger.seen == 7
    again = packed(sessions)
    assert (again.packed, len(again.shards), session_files(sessions)) == (1, 1, [])
    assert files_of(sessions) == whole
    assert len(StoredSessions(sessions).shards) == 1, "small shards are packed together"
    file.write_bytes(whole[file.stem].partition(b"\n")[0] + b"\n")  # copied back from before
    assert files_of(sessions) == whole
    assert (packed(sessions).shards, session_files(sessions)) == ([], [])


def test_a_file_that_is_no_longer_its_own_takes_nothing_along(
    sessions: Path, made: list[TrueSession]
) -> None:
    whole = files_of(sessions)
    packed(sessions)
    for truth, line in zip(made[3:5], (b"{}", whole[made[3].session_id][:400]), strict=True):
        overwritten = line * 99 + b"\n"  # longer than it was; the second is of another session
        (sessions / truth.path.name).write_bytes(overwritten)
    write_session(sessions, 1234, steps=4)
    report = packed(sessions)
    assert (report.packed, report.left["not its own first line"]) == (1, 2)
    for truth in made[3:5]:
        (sessions / truth.path.name).unlink()
    assert whole.items() <= files_of(sessions).items()


def test_a_file_that_grew_while_it_was_packed_stays(
    sessions: Path, made: list[TrueSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.data.sessions import packed as module

    written = module.write_shard
    file = sessions / made[5].path.name

    def grows(*arguments: Any) -> Any:
        shard = written(*arguments)
        if shard:
            file.write_bytes(file.read_bytes() + b'{"type":"end"}\n')
        return shard

    monkeypatch.setattr(module, "write_shard", grows)
    report = packed(sessions)
    assert report.packed == 6 and session_files(sessions) == [file]
    assert files_of(sessions)[file.stem] == file.read_bytes()


def test_withdrawal_writes_the_shard_anew_without_the_session(
    sessions: Path, made: list[TrueSession], tmp_path: Path
) -> None:
    packed(sessions)
    (shard,) = sessions.glob("*.parquet")
    old = tmp_path / shard.name
    shutil.copy(shard, old)
    before = files_of(sessions)
    gone = made[3].session_id
    marks = withdraw(sessions, gone)
    assert take_out(sessions, marks) == [shard]
    assert files_of(sessions) == {i: of for i, of in before.items() if i != gone}
    for file in sessions.iterdir():
        assert gone.encode() not in file.read_bytes()
    assert take_out(sessions, marks) == []
    alone = prepare(sessions, tmp_path / "without", progress=False)
    shutil.copy(old, shard)  # from a copy of before
    back = prepare(sessions, tmp_path / "back", progress=False)
    assert content(tmp_path / "back") == content(tmp_path / "without")
    assert back.ledgers["source_files"]["dropped"]["withdrawn"] == 1
    assert alone.ledgers["source_files"]["seen"] == 6
    assert take_out(sessions, marks) == [shard]
    assert take_out(sessions, {tombstone(i) for i in before}) != []
    assert list(sessions.glob("*.parquet")) == []


@pytest.mark.parametrize("damage", ["cut short", "bit flipped", "another file"])
def test_a_damaged_shard_is_one_error_and_stays(
    sessions: Path,
    made: list[TrueSession],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    packed(sessions)
    (shard,) = sessions.glob("*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    flipped = {"cut short": data[:-50], "bit flipped": data}.get(damage)
    if flipped is None:
        import polars as pl

        pl.DataFrame({"a": [1]}).write_parquet(shard)
    else:
        shard.write_bytes(flipped)
    left = shard.read_bytes()
    assert cli.main(["prepare", str(sessions), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and shard.name in said[0] and "elsewhere" in said[0]
    assert not (tmp_path / "out").exists() and shard.read_bytes() == left
    with pytest.raises(SourceError, match=shard.name):
        take_out(sessions, {tombstone(made[0].session_id)})
    assert shard.read_bytes() == left


def test_sessions_are_packed_and_withdrawn_while_they_are_read(
    sessions: Path, made: list[TrueSession], tmp_path: Path
) -> None:
    opened = open_sessions(sessions)
    seen = [next(rows := opened.conversations()).user_id]
    packed(sessions)
    marks = withdraw(sessions, made[5].session_id)
    take_out(sessions, marks)
    seen += [conversation.user_id for conversation in rows]
    assert len(set(seen)) == len(opened.sessions) - 1
    assert opened.source.ledger.dropped["withdrawn"] == 1
    assert set(opened.workers["user_id"]) == set(seen)


def test_a_full_disk_loses_nothing(
    sessions: Path, made: list[TrueSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(sessions)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.data.sessions.shard.os.fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            packed(sessions)
    assert files_of(sessions) == before and list(sessions.glob(".*.part")) == []
    packed(sessions)
    marks = withdraw(sessions, made[0].session_id)
    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.data.sessions.shard.os.fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            take_out(sessions, marks)
    assert files_of(sessions) == before
    assert open_sessions(sessions).source.ledger.dropped["withdrawn"] == 1


def test_the_command_says_one_line(sessions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(sessions / ".writer", "busy"):
        assert cli.main(["pack", str(sessions)]) == 1
    assert "the app runs there" in capsys.readouterr().err
    assert cli.main(["pack", str(sessions), "--idle-hours", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["packed"] == 7 and json.loads(out)["left"] == {}
    assert err.splitlines()[-1].startswith("7 sessions -> 1 shards (")
    assert cli.main(["pack", str(sessions)]) == 0
    assert json.loads(capsys.readouterr().out or "{}") == {}
    for wrong in (sessions / "none", sessions.parent, "hf://datasets/lab/sessions"):
        assert cli.main(["pack", str(wrong)]) == (0 if wrong == sessions.parent else 1)
    said = capsys.readouterr().err.splitlines()
    assert [("no session in it" in line) for line in said] == [True, False, True]


def test_killed_at_any_step_every_session_is_read_once(
    sessions: Path, made: list[TrueSession], tmp_path: Path
) -> None:
    """The steps are those after which the disk is another: writes, renames, deletions."""
    packed(sessions, shard_mb=TINY_MB)  # a small shard, which the next pack replaces
    write_sessions(sessions, 2, seed=5, steps=4)
    leaving = made[2].session_id
    mark = tombstone(leaving)
    script = _KILLED.format(sessions=sessions, place=tmp_path, mark=mark)
    steps = python(script, tmp_path, tmp_path)
    assert steps > 12
    whole = files_of(sessions)
    left = {session_id: of for session_id, of in whole.items() if session_id != leaving}
    for step in range(steps):
        folder = tmp_path / f"killed {step}"
        found = files_of(folder)
        assert {**found, leaving: whole[leaving]} == whole, f"after step {step}"
        pack_as_writer(folder, shard_mb=100, idle_hours=0)
        take_out(folder, {mark})
        assert files_of(folder) == left and session_files(folder) == []
        assert not list(folder.glob(".*.part"))
    assert leaving not in found, "the last was not killed"
