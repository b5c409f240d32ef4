"""However many sessions there are, one is in memory; who withdraws meanwhile is in no table."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data.prepared import prepare as prepare_module
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.schema import CONFIGS, TURNS
from ifllm_hf.data.sessions import collected
from ifllm_hf.data.sessions.collected import CollectedSessions, open_sessions, reader_of
from ifllm_hf.data.sessions.session_file import Session, read_session, tombstone
from ifllm_hf.errors import WithdrawnMeanwhileError
from tests.helpers.made_up_sessions import TrueSession, write_session, write_sessions


def rows(folder: Path, config: str) -> pl.DataFrame:
    return pl.read_parquet(config_files(folder, config), hive_partitioning=False)


def readers(folder: Path) -> dict[str, set[str]]:
    """Return those of every table that has rows."""
    found = {config: set(rows(folder, config)["user_id"]) for config in CONFIGS}
    assert found.pop("pointwise") == set(), "made-up sessions are pairwise"
    return found


def withdraw(truth: TrueSession) -> None:
    with (truth.path.parent / "withdrawn.txt").open("a") as file:
        file.write(tombstone(truth.session_id) + "\n")
    truth.path.unlink()


class Reading:
    """Stands in for `read_session`: counts the sessions with events that are alive."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Session] = weakref.WeakSet()
        self.most = 0
        self.read: list[str] = []

    def __call__(self, path: Path, **settings: Any) -> Session | None:
        gc.collect()
        self.most = max(self.most, len(self.alive))  # before the next is there
        session = read_session(path, **settings)
        if session is not None and session.batches:
            self.alive.add(session)
            self.read.append(session.session_id)
        return session


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    stand_in = Reading()
    monkeypatch.setattr(Session, "__hash__", object.__hash__, raising=False)
    monkeypatch.setattr(collected, "read_session", stand_in)
    return stand_in


def test_no_session_is_kept_while_the_next_is_read(
    truths: list[TrueSession], reading: Reading, tmp_path: Path
) -> None:
    prepare(truths[0].path.parent, tmp_path / "out", progress=False)
    assert sorted(reading.read) == sorted(t.session_id for t in truths), "each file once"
    assert reading.most == 0


def test_turns_go_to_disk_with_their_shard(
    truths: list[TrueSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: CollectedSessions) -> pl.DataFrame:
        pytest.fail("prepare held a table of all sessions")

    whole = open_sessions(truths[0].path.parent)
    tables = {name: getattr(whole, name) for name in ("turns", "preferences", "tasks")}
    for name in tables:
        monkeypatch.setattr(CollectedSessions, name, property(refuse))
    prepare(truths[0].path.parent, tmp_path / "out", progress=False)
    assert rows(tmp_path / "out", "pairwise").select(TURNS.names).equals(tables["turns"])
    for name in ("preferences", "tasks"):
        assert rows(tmp_path / "out", name).equals(tables[name])


def test_shards_of_any_size_hold_the_same_rows(
    truths: list[TrueSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sessions(truths[0].path.parent, 2, seed=1, kind="pointwise", steps=12)
    prepare(truths[0].path.parent, tmp_path / "one", progress=False)
    written = prepare_module.write_prepared
    monkeypatch.setattr(
        prepare_module, "write_prepared", lambda *a, **k: written(*a, **k, shard_bytes=1)
    )
    prepare(truths[0].path.parent, tmp_path / "many", progress=False)
    assert len(config_files(tmp_path / "many", "ticks")) == 5
    assert len(config_files(tmp_path / "many", "preferences")) > 1
    for config in CONFIGS:
        assert rows(tmp_path / "one", config).equals(rows(tmp_path / "many", config))


def test_who_withdraws_before_the_session_is_read_is_in_no_table(
    truths: list[TrueSession], tmp_path: Path
) -> None:
    opened = open_sessions(truths[0].path.parent)
    withdraw(truths[1])
    shown = {c.user_id for c in opened.conversations()}
    left = {known.user_id for known in opened.sessions if known.session_id != truths[1].session_id}
    assert shown == set(opened.workers["user_id"]) == set(opened.folds) == left
    assert opened.source.ledger.to_dict() | {"repaired_by": 0} == {
        "seen": 3, "kept": 2, "repaired": 0, "dropped": {"withdrawn": 1}, "repaired_by": 0
    }  # fmt: skip
    opened.check_at_the_end()


@pytest.mark.parametrize("which", [0, 2], ids=["already written", "not read yet"])
def test_who_withdraws_while_prepare_runs_is_in_no_table(
    truths: list[TrueSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    read = iter(range(100))

    def session_read(path: Path, **settings: Any) -> Session | None:
        session = read_session(path, **settings)
        if next(read) == 1:
            withdraw(truths[which])
        return session

    monkeypatch.setattr(collected, "read_session", session_read)
    report = prepare(truths[0].path.parent, tmp_path / "out", progress=False)
    stay = [truth for truth in truths if truth is not truths[which]]
    left = {reader_of(truth.session_id, made_up=True) for truth in stay}
    assert all(of_config == left for of_config in readers(tmp_path / "out").values())
    assert report.facts["workers"] == 2
    assert report.ledgers["source_files"]["kept"] == 2
    assert report.digest == prepare(truths[0].path.parent, tmp_path / "b", progress=False).digest


def test_what_is_never_at_rest_is_an_error_and_the_old_folder_stays(
    truths: list[TrueSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(truths[0].path.parent, out, progress=False)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def card(*_: Any, **__: Any) -> str:
        pytest.fail("the card is written of what may not be published")

    real = collected.read_tombstones

    def tombstones(folder: Path) -> frozenset[str]:
        return real(folder) | ({tombstone(truths[0].session_id)} if next(asked) % 2 else set())

    asked = iter(range(100))  # at the beginning and at the end of each attempt
    monkeypatch.setattr(collected, "read_tombstones", tombstones)
    monkeypatch.setattr(collected, "sessions_card", card)
    with pytest.raises(WithdrawnMeanwhileError, match="1 of its sessions were withdrawn"):
        prepare(truths[0].path.parent, out, progress=False)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name != "sessions"] == ["out"]


def test_control_c_in_the_middle_leaves_the_old_folder(
    truths: list[TrueSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(truths[0].path.parent, out, progress=False)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    read = iter(range(100))

    def interrupted(path: Path, **settings: Any) -> Session | None:
        if next(read) == 2:
            raise KeyboardInterrupt
        return read_session(path, **settings)

    monkeypatch.setattr(collected, "read_session", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(truths[0].path.parent, out, progress=False)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "sessions"]


def test_a_session_cut_short_in_its_first_line_is_counted(
    truths: list[TrueSession], tmp_path: Path
) -> None:
    data = truths[0].path.read_bytes()
    for content in (b"", data[:40], data.split(b"\n")[0], b"\n" + data, data.replace(b"\n", b"\r")):
        truths[0].path.write_bytes(content)
        opened = open_sessions(truths[0].path.parent)
        assert opened.source.ledger.dropped == {"no consent on its first line": 1}
        assert len(list(opened.conversations())) == 2
        assert read_session(truths[0].path) is None


def test_files_of_the_report_are_named_one_by_one(tmp_path: Path) -> None:
    truth = write_session(tmp_path / "sessions", 1, turns=1, steps=4)
    report = prepare(tmp_path / "sessions", tmp_path / "out", progress=False)
    files = report.to_dict()["ledgers"]["files"]
    home = f"{reader_of(truth.session_id, made_up=True)}/1"
    assert list(files) == [f"{home}/{k}" for k in ("gaze", "lines", "other", "pointer", "view")]
    assert sum(entry["seen"] for entry in files.values()) == report.ledgers["total"]["seen"]
    assert files[f"{home}/other"]["dropped"].keys() == {
        "no tick: app", "no tick: rating control", "no tick: visibility"
    }  # fmt: skip
