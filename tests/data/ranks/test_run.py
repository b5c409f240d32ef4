"""Ranks give the tables of one process, whatever their number; nothing is counted twice or lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ifllm_hf import cli
from ifllm_hf.data.prepared.folder import working_folder
from ifllm_hf.data.prepared.prepare import PrepareReport, prepare
from ifllm_hf.data.ranks import listing as listing_module
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.listing import cut
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.collected import CollectedSessions, open_sessions, reader_of
from ifllm_hf.data.sessions.review import PUBLISH, WITHHOLD, write_decisions
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import ConfigError, Interrupted, OutputError
from ifllm_hf.files import held
from tests.helpers.made_up_sessions import write_session
from tests.helpers.ranks import Engine, content, in_ranks, rows


def edit_first_line(file: Path, **changes: object) -> None:
    first, rest = file.read_text("utf-8").split("\n", 1)
    file.write_text(json.dumps(json.loads(first) | changes) + "\n" + rest, "utf-8")


@pytest.mark.parametrize("tasks", [2, 5, 40])
def test_ranks_give_the_tables_of_one_process(
    sessions: Path, plain: PrepareReport, tmp_path: Path, tasks: int
) -> None:
    report = in_ranks(sessions, tmp_path / "out", tasks)
    for config in CONFIGS:
        of_ranks, of_one = (rows(r.folder.path, config) for r in (report, plain))
        assert of_ranks.equals(of_one), config
    card = (tmp_path / "out" / "README.md").read_text().split("\n---\n")[1]
    assert card == (tmp_path / "plain" / "README.md").read_text().split("\n---\n")[1]
    known, wanted = report.to_dict(), plain.to_dict()
    for own in ("out", "bytes"):
        del known[own], wanted[own]
    assert known == wanted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "plain", "sessions"]


def test_one_rank_gives_the_very_files(
    sessions: Path, plain: PrepareReport, tmp_path: Path
) -> None:
    in_ranks(sessions, tmp_path / "out", 1)
    assert content(tmp_path / "out") == content(plain.folder.path)


def test_processes_give_the_files_of_this_process(sessions: Path, tmp_path: Path) -> None:
    in_ranks(sessions, tmp_path / "here", 4)
    in_ranks(sessions, tmp_path / "there", 4, engine=engine_for(2))
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_damage_is_counted_once_and_the_rest_kept(sessions: Path, tmp_path: Path) -> None:
    files = sorted(sessions.glob("*.jsonl"))
    files[0].write_bytes(files[0].read_bytes()[:-9])
    files[3].write_bytes(b"no consent\n")
    (sessions / "withdrawn.txt").write_text(tombstone(files[5].stem) + "\n")
    wanted = prepare(sessions, tmp_path / "plain", progress=False)
    report = in_ranks(sessions, tmp_path / "out")
    assert report.ledgers["source_files"]["dropped"] == {
        "no consent on its first line": 1, "withdrawn": 1
    }  # fmt: skip
    assert report.ledgers["total"]["dropped"]["torn line"] == 1
    for ledger in [report.ledgers["total"], *report.ledgers["behavior"].values()]:
        assert ledger["seen"] == ledger["kept"] + sum(ledger["dropped"].values())
    assert dict(report.ledgers["files"]) == dict(wanted.ledgers["files"])
    assert report.ledgers["total"] == wanted.ledgers["total"]


def test_rare_is_what_is_rare_among_all_readers(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    for i, gender in enumerate("xxxxxy------"):
        truth = write_session(sessions, i, turns=1, steps=2)
        told = {"age": "25-34", "gender": None if gender == "-" else gender}
        edit_first_line(truth.path, demographics=told)
    prepare(sessions, tmp_path / "plain", progress=False)
    in_ranks(sessions, tmp_path / "out", tasks=12)  # one reader each: all are rare there
    genders = rows(tmp_path / "out", "workers")["gender"].to_list()
    assert sorted(genders, key=str) == [None] * 7 + ["x"] * 5
    assert rows(tmp_path / "out", "workers").equals(rows(tmp_path / "plain", "workers"))


@pytest.mark.parametrize("file_stays", [True, False])
def test_who_withdraws_after_the_ranks_is_in_no_table(
    sessions: Path, tmp_path: Path, file_stays: bool
) -> None:
    known = open_sessions(sessions).sessions[4]

    def withdraw(_: Path) -> None:
        if not (sessions / "withdrawn.txt").exists():
            (sessions / "withdrawn.txt").write_text(tombstone(known.session_id) + "\n")
            if not file_stays:
                (sessions / f"{known.session_id}.jsonl").unlink()

    engine = Engine(after=withdraw)
    report = in_ranks(sessions, tmp_path / "out", engine=engine)
    assert engine.ran[0] == [0, 1, 2, 3, 4] and len(engine.ran[1]) == 1, "its rank alone, again"
    assert report.ledgers["source_files"]["dropped"] == {"withdrawn": 1}
    assert report.facts["workers"] == 11
    prepare(sessions, tmp_path / "plain", progress=False)
    for config in CONFIGS:
        table = rows(tmp_path / "out", config)
        assert reader_of(known.session_id, made_up=True) not in table["user_id"]
        assert table.equals(rows(tmp_path / "plain", config)), config


def test_what_is_withheld_meanwhile_is_not_public(sessions: Path, tmp_path: Path) -> None:
    waiting = open_sessions(sessions).waiting
    write_decisions(sessions, dict.fromkeys(waiting, PUBLISH))
    refused = next(q for q in waiting if q.turn == 1)

    def withhold(_: Path) -> None:
        write_decisions(sessions, {refused: WITHHOLD})

    in_ranks(sessions, tmp_path / "out", engine=Engine(after=withhold), public=True)
    turns = rows(tmp_path / "out", "pairwise").filter(user_id=refused.user_id)
    assert turns.height == 1 and refused.text not in turns["prompt"]
    assert rows(tmp_path / "out", "pairwise").height == 19


def test_two_runs_into_one_output_are_refused(sessions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def again(_: Path) -> None:
        with pytest.raises(OutputError, match="another run is writing it"):
            in_ranks(sessions, out)

    in_ranks(sessions, out, engine=Engine(after=again))
    with held(working_folder(out) / "run", "busy"), pytest.raises(OutputError, match="another run"):
        in_ranks(sessions, out)


def test_a_folder_of_somebody_is_refused_before_any_work(sessions: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    engine = Engine()
    with pytest.raises(OutputError, match="not a prepared folder"):
        in_ranks(sessions, tmp_path / "out", engine=engine)
    assert engine.ran == [] and not working_folder(tmp_path / "out").exists()


def test_a_rank_of_another_version_is_refused(
    sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade(work: Path, *_: object) -> None:
        monkeypatch.setattr(listing_module, "__version__", "9.9.9")
        engine_for(1)(work, [0], lambda _: None)

    with pytest.raises(ConfigError, match=r"0\.1\.0 .*and this is 9\.9\.9"):
        in_ranks(sessions, tmp_path / "out", engine=upgrade)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--tasks", "2"], "nowhere: holds no collected sessions"),
        (["--tasks", "2"], "name their folder as SOURCE"),
        (["--synthetic", "2", "--tasks", "2"], "name their folder as SOURCE"),
        (["sessions", "--workers", "2"], "Add --tasks"),
    ],
)
def test_wrong_orders_end_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare", *arguments, "--out", "out"]) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_prepares_in_ranks(
    sessions: Path, plain: PrepareReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ranks = ["--tasks", "3", "--workers", "1"]
    assert cli.main(["prepare", str(sessions), "--out", str(out), *ranks]) == 0
    assert "24 turns of 12 workers" in capsys.readouterr().err
    assert rows(out, "ticks").equals(rows(plain.folder.path, "ticks"))


def test_parts_are_about_equal_and_none_is_empty() -> None:
    assert cut([3] * 12, 4) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert cut([100, 1, 1, 1, 1], 2) == [0, 1, 1, 1, 1]
    assert cut([1, 1, 1], 9) == [0, 1, 2]
    assert cut([], 3) == []


def test_what_lies_unfinished_beside_the_output_is_named(
    sessions: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    prepare(sessions, out, progress=False)
    assert caplog.text == ""
    with pytest.raises(Interrupted, match="2 of 2 ranks are done and kept .* goes on"):
        in_ranks(sessions, out, 2, engine=Engine(after=stop))
    left = content(working_folder(out))
    prepare(sessions, out, progress=False)
    assert f"{working_folder(out)}: holds the ranks" in caplog.text
    assert content(working_folder(out)) == left
    caplog.clear()
    in_ranks(sessions, out, 2)
    prepare(sessions, out, progress=False)
    assert caplog.text == ""


def test_ctrl_c_says_what_is_kept(
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = CollectedSessions.check_at_the_end
    whole = iter([True])

    def stopped(self: CollectedSessions) -> None:
        if not next(whole, False):
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(CollectedSessions, "check_at_the_end", stopped)
    order = ["prepare", str(sessions), "--out", str(tmp_path / "out"), "--tasks", "3"]
    assert cli.main([*order, "--workers", "1"]) == 130
    said = capsys.readouterr().err
    assert "interrupted; " in said and "; 1 of 3 ranks are done and kept" in said


def test_the_summary_names_sessions_that_are_left_out(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = sorted(sessions.glob("*.jsonl"))
    first.write_bytes(first.read_bytes()[:40])
    (sessions / "withdrawn.txt").write_text(tombstone(second.stem) + "\n")
    line = "sessions seen 12, kept 10, left out 2: no consent on its first line 1, withdrawn 1\n"
    for ranks in ([], ["--tasks", "2", "--workers", "1"]):
        assert cli.main(["prepare", str(sessions), "--out", str(tmp_path / "out"), *ranks]) == 0
        assert line in capsys.readouterr().err
