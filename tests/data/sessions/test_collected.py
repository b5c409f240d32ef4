"""Collected sessions become the tables of a release, and every line and event is accounted for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import PrepareReport, prepare
from ifllm_hf.data.schema import VIEW_COLUMNS
from ifllm_hf.data.sessions import session_file
from ifllm_hf.data.sessions.collected import open_sessions, query_id_of, reader_of
from ifllm_hf.data.sessions.session_file import read_session
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.errors import ConfigError, DataError, SourceError
from tests.helpers.made_up_sessions import TrueSession, write_session, write_sessions


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> list[TrueSession]:
    folder = tmp_path_factory.mktemp("collected") / "sessions"
    pairs = write_sessions(folder, 24)
    return pairs + write_sessions(folder, 2, seed=1, kind="pointwise", gaze=False)


@pytest.fixture(scope="module")
def sessions(truths: list[TrueSession]) -> Path:
    return truths[0].path.parent


@pytest.fixture(scope="module")
def report(sessions: Path, tmp_path_factory: pytest.TempPathFactory) -> PrepareReport:
    return prepare(sessions, tmp_path_factory.mktemp("prepared") / "ifllm", progress=False)


def rows(folder: Path, config: str) -> pl.DataFrame:
    return pl.read_parquet(config_files(folder, config), hive_partitioning=False)


@pytest.fixture
def one(tmp_path: Path) -> TrueSession:
    return write_session(tmp_path / "one", 7, steps=20)


def lines_of(truth: TrueSession) -> list[Any]:
    return [json.loads(line) for line in truth.path.read_text("utf-8").splitlines()]


def rewrite(truth: TrueSession, lines: list[Any]) -> None:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    truth.path.write_text(text, "utf-8")


def edited(truth: TrueSession, edit: Callable[[list[Any]], list[Any]]) -> None:
    """Change the events of every batch of a session."""
    lines = lines_of(truth)
    for line in lines:
        if line["type"] == "batch":
            line["events"] = edit(line["events"])
    rewrite(truth, lines)


def ticks_of(folder: Path) -> pl.DataFrame:
    opened = open_sessions(folder)
    tables = [pl.from_arrow(c.ticks) for c in opened.conversations()]
    for ledger in opened.file_ledgers.values():
        ledger.check()
    return pl.concat(tables)  # type: ignore[type-var, return-value]


def test_every_event_is_the_tick_that_it_should_be(truths: list[TrueSession]) -> None:
    for truth in truths:
        opened = open_sessions(truth.path.parent)
        opened.sessions = [s for s in opened.sessions if s.session_id == truth.session_id]
        (conversation,) = opened.conversations()
        ticks = pl.from_arrow(conversation.ticks)
        assert isinstance(ticks, pl.DataFrame)
        got = []
        for row in ticks.iter_rows(named=True):
            view = {name: row[name] for name in VIEW_COLUMNS if row[name] is not None}
            channels = [c for c in ("mouse", "gaze") if row[f"{c}_on"] is not None]
            for silent in {"mouse", "gaze"} - set(channels):
                assert all(row[f"{silent}_{k}"] is None for k in ("x_px", "char", "surface"))
            assert (row["surface"] is None) == (not channels)
            assert len(channels) + bool(view) == 1
            channel = channels[0] if channels else "view"
            place = [row[f"{channel}_{k}"] for k in ("on", "char")] if channels else ["none", None]
            got.append(
                (channel, row["query_id"], *place)
                + (row["phase"], row["page_load"], round(row["t_ms"], 1), view)
            )
        want = [
            (t.channel, query_id_of(truth.session_id, t.turn), t.on, t.char)
            + (t.phase, t.page_load, round(t.t_ms, 1), t.view)
            for t in truth.ticks
        ]
        assert got == want


def test_characters_are_those_under_the_point(report: PrepareReport) -> None:
    pairs = rows(report.folder.path, "pairwise")
    assert pairs["response_a"].str.contains("🙂").all()
    on = pairs.explode("mouse_on", "mouse_char").filter(pl.col("mouse_char").is_not_null())
    lengths = on.select(
        pl.when(mouse_on="a").then("response_a").otherwise("response_b").str.len_chars()
    )
    assert (on["mouse_char"] < lengths.to_series()).all()


def test_tables_say_what_the_reader_said(report: PrepareReport, truths: list[TrueSession]) -> None:
    folder = report.folder.path
    pairs, single = rows(folder, "pairwise"), rows(folder, "pointwise")
    for truth in truths:
        for turn, liked in truth.preferences.items():
            query_id = query_id_of(truth.session_id, turn)
            (row,) = pl.concat([pairs, single]).filter(query_id=query_id).to_dicts()
            answers = truth.answers[turn]
            assert [row["response_a"], row["response_b"]] == [*answers, None][:2]
            assert row["preference"] == (liked if len(answers) == 2 else None)
            assert row["likert_a"] == (5 if liked == "a" else 2)
            assert row["turn"] == turn + 1
            assert row["reading_end_source"] == "rating_zone"
            assert len(row["history_a"]) == 2 * turn
    for frame in (pairs, single, rows(folder, "workers"), rows(folder, "tasks")):
        folds = [fold_of_unknown(user) for user in frame["user_id"]]
        assert frame["fold"].to_list() == folds
    assert rows(folder, "tasks")["finished"].all()
    assert pairs["calibration_score"].to_list() == pytest.approx([70.0] * 48)
    assert single["calibration_score"].is_null().all()
    assert report.synthetic


def test_rare_demographics_are_withheld(tmp_path: Path) -> None:
    for i in range(7):
        truth = write_session(tmp_path, i, turns=1, steps=2)
        lines = lines_of(truth)
        lines[0]["demographics"] = {"age": "25-34", "gender": "x" if i == 0 else None}
        rewrite(truth, lines)
    workers = open_sessions(tmp_path).workers
    assert workers["age"].to_list() == ["25-34"] * 7
    assert workers["gender"].is_null().all()


def test_preferences_are_pairs_for_trl(report: PrepareReport, truths: list[TrueSession]) -> None:
    pairs = rows(report.folder.path, "preferences")
    assert pairs.height == 48
    for truth in truths[:24]:
        for turn, liked in truth.preferences.items():
            (pair,) = pairs.filter(query_id=query_id_of(truth.session_id, turn)).to_dicts()
            a, b = truth.answers[turn]
            assert (pair["chosen"], pair["rejected"]) == ((a, b) if liked == "a" else (b, a))


def test_seen_is_kept_plus_dropped(report: PrepareReport) -> None:
    ledgers = report.to_dict()["ledgers"]
    total = ledgers["total"]
    assert total["seen"] == total["kept"] + sum(total["dropped"].values())
    assert total["dropped"].keys() == {
        "no tick: app",
        "no tick: rating control",
        "no tick: visibility",
    }
    assert ledgers["source_files"]["seen"] == 26


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ('{"type":"batch","tab":"tab0', "torn line"),
        ('{"type":"batch","tab":\n', "not JSON"),
        ('{"type":"end","at_epoch_ms":NaN}\n', "not JSON"),
        ("[1, 2]\n", "not an object"),
        ('{"type":"surprise"}\n', "unknown type"),
        ('{"type":"batch","tab":"tab00000","seq":0}\n', "batch does not fit the schema"),
        ('{"type":"turn","turn":0,"kind":"pairwise"}\n', "turn does not fit the schema"),
        ('{"type":"rating","turn":0,"likert":{"A":9}}\n', "rating does not fit the schema"),
        ('{"type":"summary","text":"\\ud83e"}\n', "half a character"),
        ('{"type":"summary","\\udd8a":1}\n', "half a character"),
        ('{"type":"end","at_epoch_ms":' + "9" * 5000 + "}\n", "not JSON"),
        ('{"type":"end","at_epoch_ms":1e400}\n', "end does not fit the schema"),
        ('{"type":"turn","x":' + "[" * 10**5 + "]" * 10**5 + "}\n", "not JSON"),
        ("\n", "not JSON"),
        ("\xff\n", "not JSON"),
    ],
)
def test_a_damaged_line_is_counted_and_the_rest_kept(
    one: TrueSession, damage: str, reason: str, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:  # as without the extra that brings orjson
        monkeypatch.setattr(session_file, "orjson", None)
    whole = ticks_of(one.path.parent)
    one.path.write_bytes(one.path.read_bytes() + damage.encode("latin-1"))
    session = read_session(one.path)
    assert session is not None
    assert session.lines.dropped == {reason: 1}
    assert ticks_of(one.path.parent).equals(whole)


def test_what_comes_twice_counts_once(one: TrueSession) -> None:
    whole = ticks_of(one.path.parent)
    lines = lines_of(one)
    rewrite(one, [*lines, *lines[1:]])
    session = read_session(one.path)
    assert session is not None
    batches = sum(line["type"] == "batch" for line in lines)
    assert session.lines.dropped == {
        "batch came twice": batches,
        "turn came twice": 2,
        "rating came twice": 2,
    }
    assert ticks_of(one.path.parent).equals(whole)


def test_late_batches_find_their_place(one: TrueSession) -> None:
    whole = ticks_of(one.path.parent)
    lines = lines_of(one)
    batches = [line for line in lines if line["type"] == "batch"]
    others = [line for line in lines if line["type"] != "batch"]
    rewrite(one, [*others, *reversed(batches)])
    assert ticks_of(one.path.parent).equals(whole)


@pytest.mark.parametrize(
    "event",
    [["p"], ["p", "soon"], ["p", 1.0, 0, "A", None, 1], ["x", 1.0, 2], 7, [], ["g", 1.0, -1] * 4],
)
def test_a_malformed_event_is_counted(one: TrueSession, event: Any) -> None:
    whole = ticks_of(one.path.parent)
    edited(one, lambda events: [*events, event])
    batches = sum(line["type"] == "batch" for line in lines_of(one))
    opened = open_sessions(one.path.parent)
    assert pl.concat([pl.from_arrow(c.ticks) for c in opened.conversations()]).equals(whole)  # type: ignore[type-var]
    dropped = [led.dropped.get("malformed", 0) for led in opened.file_ledgers.values()]
    assert sum(dropped) == batches


def test_an_offset_beyond_the_answer_is_no_character(one: TrueSession) -> None:
    edited(one, lambda es: [e[:8] + [10**5] + e[9:] if e[0] == "p" and e[3] else e for e in es])
    opened = open_sessions(one.path.parent)
    (conversation,) = opened.conversations()
    assert conversation.ticks["mouse_char"].null_count == conversation.ticks.num_rows
    pointer = next(led for name, led in opened.file_ledgers.items() if name.endswith("/pointer"))
    assert pointer.repaired["offset beyond the answer"] > 0


def test_ticks_of_a_turn_that_is_not_there_stay_without_one(one: TrueSession) -> None:
    rewrite(one, [x for x in lines_of(one) if not (x["type"] == "turn" and x["turn"] == 1)])
    ticks = ticks_of(one.path.parent)
    gone = ticks.filter(pl.col("query_id").is_null())
    assert gone.height == sum(t.turn == 1 for t in one.ticks)
    assert gone["mouse_char"].is_null().all() and gone["phase"].is_null().all()


def test_answers_of_other_pages_are_no_answers_of_a_turn(one: TrueSession) -> None:
    edited(one, lambda es: [[*e[:2], None, *e[3:]] if e[0] in "pgw" else e for e in es])
    ticks = ticks_of(one.path.parent)
    assert ticks["query_id"].is_null().all()
    assert set(ticks["mouse_on"].drop_nulls()) == {"none"}


def test_without_its_events_a_rating_ends_reading_at_the_last_answer(one: TrueSession) -> None:
    edited(one, lambda events: [e for e in events if e[0] != "r"])
    opened = open_sessions(one.path.parent)
    (conversation,) = opened.conversations()
    assert set(conversation.reading_end_source.values()) == {"fallback"}
    ticks = pl.from_arrow(conversation.ticks)
    assert isinstance(ticks, pl.DataFrame)
    rest = ticks.filter(pl.col("phase") != "reading")
    assert rest.height and (rest["mouse_on"] == "none").all()


def test_a_session_without_consent_is_not_read(one: TrueSession) -> None:
    other = write_session(one.path.parent, 8, steps=5)
    rewrite(one, lines_of(one)[1:])
    opened = open_sessions(one.path.parent)
    assert opened.source.ledger.dropped == {"no consent on its first line": 1}
    assert [s.session_id for s in opened.sessions] == [other.session_id]


def test_a_withdrawn_session_is_not_read(one: TrueSession) -> None:
    from ifllm_hf.data.sessions.session_file import tombstone

    other = write_session(one.path.parent, 8, steps=5)
    (one.path.parent / "withdrawn.txt").write_text(tombstone(one.session_id) + "\n")
    opened = open_sessions(one.path.parent)
    assert opened.source.ledger.dropped == {"withdrawn": 1}
    assert [s.session_id for s in opened.sessions] == [other.session_id]


def test_a_copy_of_the_hub_repository_is_read(one: TrueSession, tmp_path: Path) -> None:
    shutil.move(one.path.parent, tmp_path / "clone" / "sessions")
    assert len(open_sessions(tmp_path / "clone").sessions) == 1
    with pytest.raises(SourceError, match="no session file"):
        open_sessions(tmp_path / "nowhere")


def test_pseudonyms_begin_a_tombstone_and_tell_nothing() -> None:
    from ifllm_hf.data.sessions.session_file import tombstone

    session_id = "s_" + "A" * 22
    assert reader_of(session_id) == "reader_" + tombstone(session_id)[:16]
    assert 0 <= query_id_of(session_id, 0) < 2**52
    assert query_id_of(session_id, 0) != query_id_of(session_id, 1)


def test_the_paper_set_is_refused_with_the_reason(sessions: Path, tmp_path: Path) -> None:
    from ifllm_hf.behavior.paper.feature_file import write_paper_features

    with pytest.raises(DataError, match="Use --set ours"):
        write_paper_features(sessions, tmp_path / "paper.parquet")


def test_public_is_a_matter_of_sessions_only(small_release: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Leave --public out"):
        prepare(small_release, tmp_path / "out", public=True)


def test_load_features_benchmark_and_labels_run_unchanged(
    sessions: Path,
    report: PrepareReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from datasets import load_dataset

    import ifllm_hf  # noqa: F401
    from ifllm_hf.cli import main

    monkeypatch.chdir(tmp_path)
    loaded = load_dataset(
        "ifllm", data_dir=str(sessions), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == 48 and sum(map(len, loaded["t_ms"])) > 1000
    folder = str(report.folder.path)
    assert main(["features", "features.parquet", "--from", folder]) == 0
    features = pl.read_parquet("features.parquet")
    pairs = rows(report.folder.path, "pairwise")
    dwell = pairs.join(features, on="query_id")
    longer = (dwell["mouse_dwell_ms_b"] > dwell["mouse_dwell_ms_a"]) == (dwell["preference"] == "b")
    assert longer.mean() > 0.75  # the made-up readers look longer at what they like
    assert main(["benchmark", "--quick", "--from", folder, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert max(s["workers"] for s in scores if s.get("protocol") == "worker") == 24
    assert main(["label", "pairs.parquet", "--source", "both", "--from", folder]) == 0
    assert pl.read_parquet("pairs.parquet").height == 48
