"""A release read to the end: every defect accounted for, and the facts of the real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.data import release as release_module
from ifllm_hf.data.prepared.prepare import PrepareReport
from ifllm_hf.data.release import open_release, read_samples
from ifllm_hf.data.synthetic import Defect, Truth, read_truth, write_synthetic_release
from ifllm_hf.data.ticks.merge import ABSENT_ROW
from ifllm_hf.errors import SourceError, TableError

REL = ("rel_gaze_one.csv", "rel_gaze_two.csv", "rel_mouse_left.csv", "rel_mouse_right.csv")
POINTWISE = ("abs_gaze.csv", "abs_mouse.csv", "rel_gaze.csv", "rel_mouse.csv")
TWICE = "batch written twice"


@pytest.fixture(scope="module")
def truth(synthetic_release: Path) -> Truth:
    return read_truth(synthetic_release)


@pytest.fixture(scope="module")
def ticks(prepared_synthetic: Path) -> pl.DataFrame:
    return pl.read_parquet(prepared_synthetic / "ticks" / "*.parquet")


@pytest.fixture(scope="module")
def turns(prepared_synthetic: Path) -> pl.DataFrame:
    parts = [
        pl.read_parquet(prepared_synthetic / k / "*.parquet") for k in ("pairwise", "pointwise")
    ]
    return pl.concat(parts)


def conversation(ticks: pl.DataFrame, key: str | None) -> dict[str, Any]:
    return ticks.row(by_predicate=pl.col("conversation_id") == key, named=True)


def test_ledgers_balance_and_add_up(synthetic_report: PrepareReport) -> None:
    ledgers = synthetic_report.ledgers
    json.dumps(ledgers)
    every = [*ledgers["tables"].values(), *ledgers["behavior"].values(), *ledgers["files"].values()]
    for entry in [*every, ledgers["total"], ledgers["source_files"]]:
        assert entry["seen"] == entry["kept"] + sum(entry["dropped"].values())
        assert entry["repaired"] == sum(entry["repaired_by"].values()) <= entry["kept"]
    for part in ("seen", "kept", "repaired"):
        behavior = sum(entry[part] for entry in ledgers["behavior"].values())
        assert behavior == sum(entry[part] for entry in ledgers["files"].values())
        read = {name: entry for name, entry in ledgers["tables"].items() if name != "preferences"}
        tables = sum(entry[part] for entry in read.values())
        assert ledgers["total"][part] == behavior + tables


def test_every_uploaded_tick_is_there(
    synthetic_report: PrepareReport, truth: Truth, ticks: pl.DataFrame
) -> None:
    known = truth.ticks().group_by("conversation_id").len()
    found = ticks.select("conversation_id", len=pl.col("t_ms").list.len())
    assert sorted(found.rows()) == sorted(known.rows())
    behavior = synthetic_report.ledgers["behavior"]
    assert behavior["abs_mouse.csv"]["kept"] == truth.ticks().height
    assert synthetic_report.folder.rows["ticks"] == ticks.height


def test_facts_are_those_of_the_truth(synthetic_report: PrepareReport, truth: Truth) -> None:
    pairwise = truth.turns.filter(pl.col("kind") == "pairwise")
    behavior = truth.ticks()["conversation_id"].unique()
    assert synthetic_report.facts == {
        "turns": truth.turns.height,
        "workers": truth.turns["user_id"].n_unique(),
        "conversations": truth.turns["conversation_id"].n_unique(),
        "pairwise": pairwise.height,
        "pointwise": truth.turns.height - pairwise.height,
        "preference_a": int((pairwise["click"] == "a").sum()),
        "preference_b": int((pairwise["click"] == "b").sum()),
        "conversations_with_behavior": len(behavior),
        "workers_with_behavior": behavior.str.split("/").list.first().n_unique(),
    }
    assert synthetic_report.quality["agreement"]["share"] > 0.985


def test_defects_of_behaviour_files_are_counted(
    synthetic_report: PrepareReport, truth: Truth, ticks: pl.DataFrame
) -> None:
    files = synthetic_report.ledgers["files"]
    seen: set[str] = set()

    def each(kind: str) -> list[Defect]:
        seen.add(kind)
        assert truth.of(kind), kind
        return truth.of(kind)

    for defect in each("doubled_abs_gaze"):
        assert files[f"{defect.conversation_id}/abs_gaze.csv"]["dropped"] == {TWICE: defect.count}
    for defect in each("doubled_upload"):
        entry = files[f"{defect.conversation_id}/{defect.place}"]
        assert entry["dropped"] == {TWICE: defect.count}
        assert entry["kept"] == len(conversation(ticks, defect.conversation_id)["t_ms"])
    assert {d.place for d in truth.of("doubled_upload")} == {*REL, *POINTWISE}
    for defect in each("line_break_in_window"):
        entry = files[f"{defect.conversation_id}/{defect.place}"]
        assert entry["repaired_by"] == {"line break inside the window": defect.count}
        assert entry["dropped"] == {}
    for defect in each("missing_in_rel"):
        for file in REL:
            entry = files[f"{defect.conversation_id}/{file}"]
            assert entry["dropped"] == {ABSENT_ROW: defect.count}
    stray = {(d.conversation_id, d.place): d.count for d in each("stray_quote")}
    for defect in each("requoted"):
        entry = files[f"{defect.conversation_id}/{defect.place}"]
        again = entry["repaired_by"].get("line quoted again by a CSV writer", 0)
        assert again == stray.get((defect.conversation_id, defect.place), 0)
        assert 0 < entry["repaired_by"]["window without its quotes"] <= defect.count
        assert entry["dropped"] == {}
    for defect in each("six_fields"):
        row = conversation(ticks, defect.conversation_id)
        assert set(row["camera_ok"]) == {None}
    six = {d.conversation_id for d in truth.of("six_fields")}
    gaps = {d.conversation_id for d in truth.of("missing_in_rel")}
    for row in ticks.iter_rows(named=True):
        if row["conversation_id"] not in six:
            assert (None in row["camera_ok"]) == (row["conversation_id"] in gaps)
    for defect in each("reload"):
        assert set(conversation(ticks, defect.conversation_id)["page_load"]) == {0, 1}
    reloaded = {d.conversation_id for d in truth.of("reload")}
    for row in ticks.iter_rows(named=True):
        assert (max(row["page_load"]) > 0) == (row["conversation_id"] in reloaded)
    for defect in each("epoch_backwards"):
        row = conversation(ticks, defect.conversation_id)
        assert row["file_row"] != sorted(row["file_row"])
        assert row["t_ms"] == sorted(row["t_ms"])
        assert row["epoch_ms"] == sorted(row["epoch_ms"])
    for defect in each("behavior_without_query"):
        row = conversation(ticks, defect.conversation_id)
        assert set(row["query_id"]) == set(row["phase"]) == {None}
        assert len(row["t_ms"]) > 100
    for defect in each("no_behavior"):
        assert defect.conversation_id not in ticks["conversation_id"]
    seen.add("last_buffer_lost")  # nobody can read what was never sent
    behavior_kinds = {
        d.kind for d in truth.defects if d.place in ("user_behavior", "rel", "batches")
        or d.place.startswith(("rel_", "abs_"))
    }  # fmt: skip
    assert behavior_kinds <= seen


def test_defects_of_the_tables_are_handled(
    synthetic_report: PrepareReport, truth: Truth, turns: pl.DataFrame, prepared_synthetic: Path
) -> None:
    ledgers = synthetic_report.ledgers["tables"]
    by_id = {row["query_id"]: row for row in turns.iter_rows(named=True)}
    assert turns.height == truth.turns.height == len(by_id)

    def count(kind: str) -> int:
        assert truth.of(kind), kind
        return sum(d.count for d in truth.of(kind))

    assert ledgers["turns"]["dropped"] == {}
    assert ledgers["turns"]["repaired_by"]["zero_date"] == count("zero_date")
    assert ledgers["turns"]["repaired_by"]["line_break_in_model_name"] == count("crlf_in_llm_name")
    for defect in truth.of("zero_date"):
        assert defect.query_id is not None
        assert by_id[defect.query_id]["asked_at"] is None
        known = truth.turns.row(by_predicate=pl.col("query_id") == defect.query_id, named=True)
        assert by_id[defect.query_id]["turn"] == known["turn"]
        assert len(by_id[defect.query_id]["t_ms"]) > 100  # placed by the texts seen
    assert not any("\n" in (r[m] or "") for r in by_id.values() for m in ("model_a", "model_b"))
    flagged = {q for q, row in by_id.items() if row["has_error_answer"]}
    assert flagged == {d.query_id for d in truth.of("error_answer")} != set()
    for defect in truth.of("unlabelled"):
        assert defect.query_id is not None
        assert by_id[defect.query_id]["preference"] is None
    for defect in truth.of("pointwise_in_odd_task"):
        rows = turns.filter(pl.col("conversation_id") == defect.conversation_id)
        assert set(rows["kind"]) == {"pointwise"}
        assert (rows["task_id"] % 2 == 1).all()
    for kind in ("crlf_in_answer", "blank_lines_in_answer"):
        for defect in truth.of(kind):
            assert defect.query_id is not None
            stored = by_id[defect.query_id]["response_a"]
            assert ("\r\n" if kind == "crlf_in_answer" else "\n\n") in stored
            chars = by_id[defect.query_id]["gaze_char"]  # reaches beyond the damage
            assert max(c for c in chars if c is not None) > len(stored) / 3
    assert ledgers["tasks"]["dropped"] == {"duplicate_task": count("duplicated_task")}
    assert ledgers["tasks"]["repaired_by"]["html_entities"] == count("html_entities")
    assert ledgers["workers"]["dropped"] == {"duplicate_worker": count("duplicated_worker")}
    tasks = pl.read_parquet(prepared_synthetic / "tasks" / "*.parquet")
    assert int((~tasks["finished"]).sum()) == count("never_done")
    workers = pl.read_parquet(prepared_synthetic / "workers" / "*.parquet")
    assert int((workers["consent"] == False).sum()) == count("no_consent")  # noqa: E712


def test_labels_are_what_was_clicked(truth: Truth, turns: pl.DataFrame) -> None:
    both = truth.turns.join(turns, on="query_id", suffix="_read")
    assert both.height == truth.turns.height
    pairwise = both.filter(pl.col("kind") == "pairwise")
    assert pairwise["preference"].equals(pairwise["click"], check_names=False, null_equal=True)
    assert pairwise["likert_a_read"].equals(
        pairwise["likert_a"].cast(pl.Int8), check_names=False, null_equal=True
    )
    pointwise = both.filter(pl.col("kind") == "pointwise")
    said = pointwise["click"].replace_strict({"a": True, "b": False}, default=None)
    assert pointwise["better_than_previous"].equals(said, check_names=False, null_equal=True)
    assert both["turn_read"].cast(pl.Int64).to_list() == both["turn"].to_list()


def test_ticks_of_a_turn_are_those_of_its_conversation(
    ticks: pl.DataFrame, turns: pl.DataFrame
) -> None:
    columns = ["page_load", "file_row", "t_ms", "mouse_x_px", "gaze_on", "gaze_char", "phase"]
    long = ticks.select("conversation_id", "query_id", *columns).explode("query_id", *columns)
    wanted = long.drop_nulls("query_id").drop("conversation_id")
    got = turns.select("query_id", *columns).explode(columns).drop_nulls("t_ms")
    assert got.height == wanted.height
    order = ["query_id", "file_row"]
    assert got.sort(order).equals(wanted.sort(order))
    ended = turns.select(pl.col("t_ms").list.len() > 0, pl.col("reading_end_source").is_not_null())
    assert ended.to_series(0).equals(ended.to_series(1), check_names=False)


def test_a_folder_and_its_archive_are_read_the_same(small_release: Path, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "gztar", small_release, "dataset")
    read = []
    for place in (small_release, packed):
        release = open_release(place)
        ticks = {r.conversation_id: r.ticks for r in release.conversations()}
        read.append((release.source.fingerprint(), release.ledgers(), release.turns, ticks))
    for one, other in zip(*read, strict=True):
        assert one.equals(other) if isinstance(one, pl.DataFrame) else one == other


def test_other_processes_read_the_same_in_the_same_order(
    small_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    for alone in (100, 1):
        monkeypatch.setattr(release_module, "_ALONE", alone)
        release = open_release(small_release, hash_content=False)
        ticks = [(r.conversation_id, r.fold, r.ticks) for r in release.conversations()]
        read.append((ticks, release.ledgers(), release.agreement))
    assert read[0] == read[1]
    assert len(read[0][0]) == 4


def test_an_error_in_another_process_arrives_as_it_is(
    small_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_module, "_ALONE", 1)
    copy = tmp_path / "release"
    shutil.copytree(small_release, copy)
    victim = sorted((copy / "dataset" / "user_behavior").glob("*/*/abs_gaze.csv"))[-1]
    victim.write_bytes(b"nonsense\n" * 9)
    with pytest.raises(TableError, match=r"abs_gaze\.csv: line 1 is b'nonsense'"):
        for _ in open_release(copy, hash_content=False).conversations():
            pass


def test_stopping_early_leaves_no_thread_and_no_process(synthetic_release: Path) -> None:
    import gc
    import threading

    before = threading.active_count()
    rows = open_release(synthetic_release, hash_content=False).conversations()
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    gc.collect()
    assert threading.active_count() <= before + 1  # loky keeps one manager


def test_a_broken_file_deep_in_the_release_is_named(small_release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "release"
    shutil.copytree(small_release, copy)
    victim = sorted((copy / "dataset" / "user_behavior").glob("*/*/rel_gaze_one.csv"))[-1]
    victim.write_bytes(bytes(range(256)) * 20)
    key = "/".join(victim.parts[-3:-1])
    with pytest.raises(TableError, match=rf"^{key}/rel_gaze_one\.csv: line \d+ is b"):
        for _ in open_release(copy, hash_content=False).conversations():
            pass
    victim.unlink()
    with pytest.raises(TableError, match=rf"^{key}: rel_gaze.csv, rel_mouse.csv missing beside"):
        for _ in open_release(copy, hash_content=False).conversations():
            pass


def test_a_table_without_a_column_is_named(small_release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "release"
    shutil.copytree(small_release, copy)
    table = copy / "dataset" / "query_logs_table.csv"
    table.write_text(table.read_text().replace("likert_2", "likert_9", 1))
    with pytest.raises(TableError, match=r"query_logs_table\.csv.*likert_2"):
        open_release(copy)
    with pytest.raises(SourceError, match="does not exist"):
        open_release(tmp_path / "nowhere")


def test_a_release_without_behaviour_has_turns_without_ticks(tmp_path: Path) -> None:
    write_synthetic_release(tmp_path / "r", conversations=2, ticks_per_turn=100)
    shutil.rmtree(tmp_path / "r" / "dataset" / "user_behavior")
    release = open_release(tmp_path / "r")
    assert list(release.conversations()) == []
    assert release.turns.height > 0
    assert release.ledgers()["behavior"] == {}
    assert release.agreement.to_dict()["share"] is None  # JSON has no NaN


def test_samples_are_those_of_the_files(synthetic_release: Path, truth: Truth) -> None:
    found = {c.conversation_id: c for c in read_samples(synthetic_release)}
    known = dict(truth.ticks().group_by("conversation_id").len().iter_rows())
    gaps = {d.conversation_id: d.count for d in truth.of("missing_in_rel")}
    assert set(found) == set(known)
    for key, samples in found.items():
        assert samples.gaze_a is not None
        assert len(samples.gaze_a.x) == known[key] - gaps.get(key, 0)
