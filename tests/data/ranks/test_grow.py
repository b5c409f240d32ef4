"""What arrives is read and nothing else, and the tables are those of all sessions read at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.ranks import grow, listing
from ifllm_hf.data.ranks.grow import is_up_to_date, prepare_new
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.collected import open_sessions
from ifllm_hf.data.sessions.origin import reader_of
from ifllm_hf.data.sessions.packed import pack
from ifllm_hf.data.sessions.review import PUBLISH, write_decisions
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import SourceError
from tests.helpers.made_up_sessions import TrueSession, write_session
from tests.helpers.ranks import Engine, content, rows


class Growing:
    """A folder that collects, what is prepared of it, and a whole copy of it to compare with."""

    def __init__(self, place: Path) -> None:
        self.sessions, self.copy = place / "sessions", place / "copy"
        self.out, self.work, self.fresh = place / "out", place / "ranks", place / "fresh"

    def arrive(self, *seeds: int, **told: str) -> list[TrueSession]:
        made = [write_session(self.sessions, seed, turns=1, steps=4) for seed in seeds]
        self.copy.mkdir(exist_ok=True)
        for session in made:
            if told:
                first, rest = session.path.read_text("utf-8").split("\n", 1)
                line = json.dumps(json.loads(first) | {"demographics": told})
                session.path.write_text(f"{line}\n{rest}", "utf-8")
            shutil.copy(session.path, self.copy)
        return made

    def prepare(self) -> list[int]:
        """Prepare what is new; return the ranks that read sessions."""
        engine = Engine()
        self.report = prepare_new(self.sessions, self.out, self.work, engine=engine, progress=False)
        return [rank for ran in engine.ran for rank in ran]

    def blank(self) -> None:
        """Make what lies there unreadable: zeros, as many as there were bytes."""
        for file in self.sessions.glob("s_*.jsonl"):
            file.write_bytes(bytes(file.stat().st_size))

    def whole_again(self) -> None:
        shutil.copytree(self.copy, self.sessions, dirs_exist_ok=True)

    def withdraw(self, session: TrueSession, *, file_goes: bool = True) -> None:
        for folder in (self.sessions, self.copy):
            with (folder / "withdrawn.txt").open("a") as file:
                file.write(tombstone(session.session_id) + "\n")
            if file_goes:
                (folder / session.path.name).unlink()

    def is_as_fresh(self) -> bool:
        """Tell whether tables and counts are those of all sessions read at once."""
        wanted = prepare(self.copy, self.fresh, progress=False).to_dict()
        assert self.report is not None
        found = self.report.to_dict()
        for name in ("facts", "quality", "ledgers", "digest", "rows"):
            assert found[name] == wanted[name], name
        return all(rows(self.out, c).equals(rows(self.fresh, c)) for c in CONFIGS)


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Growing:
    monkeypatch.setattr(grow, "RANK_BYTES", 10_000)  # two or three of these sessions
    return Growing(tmp_path)


def shards(growing: Growing) -> dict[str, bytes]:
    return {k: v for k, v in content(growing.work).items() if k.endswith(".parquet")}


def test_what_arrived_is_read_and_nothing_that_was_read_before(growing: Growing) -> None:
    growing.arrive(*range(5))
    first = growing.prepare()
    assert len(first) > 1 and growing.is_as_fresh()
    assert growing.prepare() == [] and growing.report is None
    before = {k: v for k, v in shards(growing).items() if k.startswith("ranks/")}
    growing.blank()
    growing.arrive(7, 8)
    assert not is_up_to_date(growing.sessions, growing.out, growing.work)
    new = growing.prepare()
    assert new == list(range(len(first), len(first) + len(new)))
    assert growing.is_as_fresh() and before.items() <= shards(growing).items()
    assert is_up_to_date(growing.sessions, growing.out, growing.work)
    assert growing.prepare() == [] and growing.report is None


def test_what_came_late_or_has_grown_is_read_with_its_rank_alone(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow, "RANK_BYTES", 1)  # each a rank of its own
    growing.arrive(2, 4, 6)
    assert growing.prepare() == [0, 1, 2]
    growing.arrive(5)
    assert growing.prepare() == [1] and growing.is_as_fresh()
    growing.arrive(1, 9)
    assert growing.prepare() == [0, 3] and growing.is_as_fresh()
    (session,) = growing.arrive(6)  # writes its lines once more behind those that are there
    assert session.path.stat().st_size > 0
    assert growing.prepare() == [2] and growing.is_as_fresh()


def test_sessions_that_were_packed_since_are_not_read_again(growing: Growing) -> None:
    growing.arrive(*range(3))
    ranks = growing.prepare()
    pack(growing.sessions, idle_hours=0, progress=False)
    assert not list(growing.sessions.glob("s_*.jsonl"))
    assert growing.prepare() == []
    growing.arrive(5)
    assert growing.prepare() == [len(ranks)] and growing.is_as_fresh()


@pytest.mark.parametrize("file_goes", [True, False])
def test_who_withdraws_is_gone_from_old_shards_and_from_what_is_kept(
    growing: Growing, file_goes: bool
) -> None:
    made = growing.arrive(*range(5))
    growing.prepare()
    reader = reader_of(made[0].session_id, made_up=True).encode()
    assert any(reader in shard for shard in shards(growing).values())
    growing.withdraw(made[0], file_goes=file_goes)
    assert not is_up_to_date(growing.sessions, growing.out, growing.work)
    assert growing.prepare() == [0] and growing.is_as_fresh()
    kept = {**content(growing.work), **content(growing.out)}
    assert not [name for name, of in kept.items() if reader in of]
    for session in made[1:]:
        growing.withdraw(session, file_goes=file_goes)
    growing.arrive(9)
    growing.prepare()
    assert growing.is_as_fresh() and rows(growing.out, "workers").height == 1


def test_rare_is_what_is_rare_among_all_who_came_so_far(growing: Growing) -> None:
    first = growing.arrive(*range(4), gender="x")
    growing.prepare()
    assert rows(growing.out, "workers")["gender"].to_list() == [None] * 4
    growing.blank()
    growing.arrive(5, gender="x")
    growing.prepare()
    assert rows(growing.out, "workers")["gender"].to_list() == ["x"] * 5
    growing.whole_again()
    growing.withdraw(first[0])
    growing.prepare()
    assert growing.is_as_fresh()
    assert rows(growing.out, "workers")["gender"].to_list() == [None] * 4


def test_an_interrupted_call_goes_on_and_a_review_is_new(growing: Growing) -> None:
    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    growing.arrive(*range(5))
    engine = Engine(after=stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_new(growing.sessions, growing.out, growing.work, engine=engine, progress=False)
    growing.arrive(7)  # came meanwhile
    assert growing.prepare() == [engine.ran[0][-1] + 1] and growing.is_as_fresh()
    (growing.work / grow.JOINED).write_text("{")
    assert growing.prepare() == [] and growing.report is not None
    waiting = open_sessions(growing.sessions).waiting
    for folder in (growing.sessions, growing.copy):
        write_decisions(folder, {waiting[0]: PUBLISH})
    assert len(growing.prepare()) == 1 and growing.is_as_fresh()


def test_another_version_reads_all_anew(
    growing: Growing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    growing.arrive(*range(3))
    ranks = growing.prepare()
    monkeypatch.setattr(listing, "__version__", "9.9.9")
    assert growing.prepare() == ranks and "are read anew" in caplog.text
    assert "done again" not in caplog.text


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no collected sessions"):
        prepare_new(tmp_path, tmp_path / "out", tmp_path / "w", engine=Engine())
