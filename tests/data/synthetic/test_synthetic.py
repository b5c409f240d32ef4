"""The made-up release: formats, determinism, truth, and every defect it promises."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf.data.synthetic import (
    SYNTHETIC_PREFIX,
    Readers,
    Truth,
    page,
    read_truth,
    write_synthetic_release,
    writer,
)
from ifllm_hf.errors import ConfigError, OutputError, SourceError

NUMBER = r"-?\d+(?:\.\d+)?"
ABS = re.compile(rf"{NUMBER},{NUMBER},\d+(?:\.\d+)?,\d{{13}}\n")
OFF = r"-1,-1,,"
ON = rf'{NUMBER},{NUMBER},(?:"[^\n]*",\d+|,)'
REL = re.compile(rf"(?:{OFF}|{ON}),\d+(?:\.\d+)?,[01],\d{{13}}\n")
FIELDS = re.compile(
    rf'^({NUMBER}),({NUMBER}),(|"[^\n]*"),(\d*),({NUMBER}),(?:[01],)?(\d{{13}})$', re.MULTILINE
)
PAIRED = ("rel_gaze_one", "rel_gaze_two", "rel_mouse_left", "rel_mouse_right")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    out = tmp_path_factory.mktemp("clean") / "release"
    return write_synthetic_release(out, conversations=16, defects=False, ticks_per_turn=200)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    out = tmp_path_factory.mktemp("damaged") / "release"
    return write_synthetic_release(out, ticks_per_turn=200)


def release(truth: Truth) -> Path:
    return truth.folder.parent / "dataset"


def conversation(truth: Truth, key: str) -> Path:
    return release(truth) / "user_behavior" / key


def table(truth: Truth, name: str) -> list[dict[str, str]]:
    with (release(truth) / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rel_fields(path: Path) -> list[tuple[str, ...]]:
    return FIELDS.findall(path.read_text(encoding="utf-8"))


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".parquet":
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_same_seed_gives_same_bytes_and_truth(tmp_path: Path) -> None:
    truths = [
        write_synthetic_release(tmp_path / name, conversations=5, seed=seed, ticks_per_turn=120)
        for name, seed in (("one", 3), ("two", 3), ("three", 4))
    ]
    prints = [fingerprint(tmp_path / name) for name in ("one", "two", "three")]
    assert prints[0] == prints[1] != prints[2]
    assert truths[0].ticks().equals(truths[1].ticks())
    assert truths[0].turns.equals(truths[1].turns)


def test_every_line_of_a_clean_release_has_the_format(clean: Truth) -> None:
    files = list((release(clean) / "user_behavior").glob("*/*/*.csv"))
    assert len(files) == 8 * 4 + 8 * 6
    for path in files:
        text = path.read_bytes().decode()
        pattern = ABS if path.name.startswith("abs") else REL
        bad = [line for line in text.splitlines(keepends=True) if not pattern.fullmatch(line)]
        assert not bad, (path, bad[:3])
        assert "\r" not in text
        assert not re.search(r"\.\d*0,", re.sub(r'"[^\n]*"', "", text))


def test_numbers_are_written_as_php_and_javascript_do() -> None:
    values = np.array([499.618451383512345, -2.07530791669551, 2857.5, 706.0, 0.0, -15.25])
    written = writer._strings(writer._significant(values))
    assert written == ["499.61845138351", "-2.0753079166955", "2857.5", "706", "0", "-15.25"]


def test_files_of_a_conversation_hold_the_same_ticks(clean: Truth) -> None:
    for (key,), ticks in clean.ticks().group_by("conversation_id"):
        folder = conversation(clean, str(key))
        lines = {p.stem: p.read_text().splitlines() for p in folder.iterdir()}
        gaze_time = [float(line.split(",")[2]) for line in lines["abs_gaze"]]
        assert gaze_time == ticks["t_ms"].to_list()
        mouse_time = [float(line.split(",")[2]) for line in lines["abs_mouse"]]
        assert mouse_time == gaze_time
        for name in lines.keys() - {"abs_gaze", "abs_mouse"}:
            fields = rel_fields(folder / f"{name}.csv")
            assert [float(f[4]) for f in fields] == gaze_time
            late = np.array([int(f[5]) for f in fields]) - ticks["epoch_ms"].to_numpy()
            assert set(late.tolist()) <= {0, 1}


def test_tables_have_the_columns_and_quoting_of_the_release(damaged: Truth) -> None:
    heads = {
        "query_logs_table": "query_ID,user_id,task_id,user_query,llm_response_1,llm_response_2,"
        "llm_name_1,llm_name_2,likert_1,likert_2,preference,adjustment,query_timestamp",
        "task_table": "user_id,task_id,copy_sentence,summary,feedback,understand_before,"
        "understand_after,query_copy,llm_response_copy,accuracy,finished,domain",
        "record_info_table": "user_id,consent,age,location,education,race,gender,inserted_at",
    }
    for name, head in heads.items():
        text = (release(damaged) / f"{name}.csv").read_bytes().decode()
        assert text.startswith(head + "\n")
        rows = list(csv.reader(text.splitlines(keepends=True)))
        assert {len(row) for row in rows} == {head.count(",") + 1}
    rows_of = table(damaged, "query_logs_table")
    assert {r["preference"] for r in rows_of} == {"", "0.0", "1.0", "2.0"}
    assert {r["adjustment"] for r in rows_of} == {"0", "1"}
    assert {r["likert_1"] for r in rows_of} <= {"", "1.0", "2.0", "3.0", "4.0", "5.0"}
    ids = [int(r["query_ID"]) for r in rows_of]
    assert ids == sorted(set(ids)) == damaged.turns["query_id"].to_list()


@pytest.mark.parametrize("which", ["clean", "damaged"])
def test_windows_and_carets_point_at_the_true_character(
    which: str, request: pytest.FixtureRequest
) -> None:
    truth: Truth = request.getfixturevalue(which)
    spoilt = {d.conversation_id for d in truth.of("requoted") + truth.of("line_break_in_window")}
    spoilt |= {d.conversation_id for d in truth.of("missing_in_rel") + truth.of("doubled_upload")}
    answers = {int(r["query_ID"]): r for r in table(truth, "query_logs_table")}
    checked = astral = 0
    for (key,), ticks in truth.ticks().group_by("conversation_id"):
        if key in spoilt:
            continue
        paired = (conversation(truth, str(key)) / "rel_gaze_one.csv").exists()
        names = PAIRED if paired else ("rel_gaze", "rel_mouse")
        rows = ticks.select("query_id", "phase", "gaze_on", "gaze_char", "mouse_on", "mouse_char")
        for number, name in enumerate(names):
            channel = "mouse" if "mouse" in name else "gaze"
            side = "ab"[number % 2] if paired else "a"
            fields = rel_fields(conversation(truth, str(key)) / f"{name}.csv")
            assert len(fields) == ticks.height
            for field, row in zip(fields, rows.iter_rows(named=True), strict=True):
                assert (row[f"{channel}_on"] == side) == (field[:2] != ("-1", "-1"))
                char = row[f"{channel}_char"]
                if row[f"{channel}_on"] != side or char is None or row["query_id"] is None:
                    continue
                column = "llm_response_1" if side == "a" else "llm_response_2"
                stored = answers[row["query_id"]][column]
                shown = re.sub(r"\n\s*\n", "\n", stored.strip())
                units = shown.encode("utf-16-le")
                caret, window = int(field[3]), field[2][1:-1]
                before = units[: 2 * caret].decode("utf-16-le")
                under = min(len(before), len(shown) - 1)  # behind the text: its last character
                assert stored[char].strip() == shown[under].strip()
                near = units[2 * max(0, caret - 10) : 2 * (caret + 10)]
                assert window in near.decode("utf-16-le", errors="ignore")
                checked += 1
                astral += caret != len(before)
    assert checked > 5000
    assert astral > 0


def test_layout_breaks_lines_and_keeps_surrogate_pairs_whole() -> None:
    layout = page.Layout("one two 😀three\nfour", columns=9)
    assert layout.line_start.tolist() == [0, 8, 16]
    assert layout.line_end.tolist() == [8, 15, 20]
    unit, line = layout.caret(np.array([0.0, 12.0, 500.0]), np.array([0.0, 75.0, 999.0]))
    assert unit.tolist() == [0, 8, 20]  # in the middle of the pair: its start
    assert line.tolist() == [0, 1, 2]
    assert layout.windows(np.array([10]), np.array([1])) == ["😀three"]
    assert layout.windows(np.array([19]), np.array([1])) == ["three"]  # half a pair is dropped


def test_phases_are_contiguous_and_reading_has_no_rating(clean: Truth) -> None:
    order = {None: 0, "reading": 1, "rating": 2, "after": 3}
    ticks = clean.ticks()
    for _, one in ticks.group_by("conversation_id"):
        steps = [(t or 0) * 10 + order[p] for t, p in one.select("turn", "phase").iter_rows()]
        assert steps == sorted(steps)
    reading = ticks.filter(pl.col("phase") == "reading")
    assert (reading["mouse_surface"] == "rating").sum() == 0
    rating = ticks.filter(pl.col("phase") == "rating")
    assert (rating["mouse_surface"] == "rating").mean() > 0.95
    counts = ticks.drop_nulls("query_id").group_by("query_id").agg(pl.col("phase").n_unique())
    assert (counts["phase"] == 3).all()


def test_pointer_clicks_the_choice_at_half_or_two_thirds_of_the_width(clean: Truth) -> None:
    widths = {w for w, _ in ((1920, 950), (1536, 730), (1366, 650), (1440, 790), (1280, 660))}
    turns = clean.turns.filter(pl.col("kind") == "pairwise", pl.col("click").is_not_null())
    assert turns.height > 15
    for key, query_id, click in turns.select("conversation_id", "query_id", "click").iter_rows():
        ticks = clean.ticks(key).with_row_index()
        at = ticks.filter((pl.col("query_id") == query_id) & (pl.col("phase") == "rating"))["index"]
        lines = (conversation(clean, key) / "abs_mouse.csv").read_text().splitlines()
        xs = np.array([int(lines[i].split(",")[0]) for i in at])
        share = page.CHOICE_X[click]
        assert min(np.abs(xs - share * w).min() for w in widths) <= 20
        assert share == pytest.approx(0.5 if click == "a" else 2 / 3, abs=0.007)


def test_questions_are_stamped_when_the_answers_arrive(clean: Truth) -> None:
    rows = table(clean, "query_logs_table")
    for row, arrived in zip(rows, clean.turns["arrived_epoch_ms"], strict=True):
        stamped = dt.datetime.fromisoformat(row["query_timestamp"] + "+00:00").timestamp()
        assert -1.3 <= stamped - arrived / 1000 <= 0.8


def dwell_accuracy(truth: Truth, channel: str) -> float:
    turns = truth.turns.filter(pl.col("kind") == "pairwise", pl.col("has_behavior"))
    sign = (pl.col(channel) == "b").cast(pl.Int32) - (pl.col(channel) == "a").cast(pl.Int32)
    dwell = truth.ticks().filter(pl.col("phase") == "reading").group_by("query_id").agg(sign.sum())
    both = turns.join(dwell, on="query_id")
    assert both.height == turns.height > 60
    return float(((both[channel] > 0) == (both["liked"] == "b")).mean())


@pytest.mark.parametrize(("strength", "low", "high"), [(0.9, 0.8, 0.97), (0.5, 0.35, 0.65)])
def test_behavior_tells_as_strongly_as_asked(
    strength: float, low: float, high: float, tmp_path: Path
) -> None:
    truth = write_synthetic_release(
        tmp_path / "r",
        conversations=50,
        readers=Readers(behavior_strength=strength, click_error=0.2, text_strength=0.8),
        defects=False,
        ticks_per_turn=130,
    )
    assert low <= dwell_accuracy(truth, "gaze_on") <= high
    turns = truth.turns.drop_nulls("liked")
    pointed = (turns["behavior_points_to"] == turns["liked"]).mean()
    assert abs(pointed - strength) < 0.12
    assert 0.1 < turns["click_is_mistake"].mean() < 0.3
    wrong = turns["click"] != turns["liked"]
    assert (wrong == turns["click_is_mistake"]).all()
    assert 0.8 < (turns["longer"] == turns["liked"]).mean() < 0.98


def test_click_decides_preference_and_likert_in_the_log(clean: Truth) -> None:
    said = {"pairwise": {"a": "1.0", "b": "2.0"}, "pointwise": {"a": "1.0", "b": "0.0"}}
    rows = table(clean, "query_logs_table")
    for row, turn in zip(rows, clean.turns.iter_rows(named=True), strict=True):
        assert row["preference"] == said[turn["kind"]].get(turn["click"], "")
        likert = turn["likert_a"], turn["likert_b"]
        assert row["likert_1"] == f"{likert[0]}.0"
        assert row["likert_2"] == ("" if turn["kind"] == "pointwise" else f"{likert[1]}.0")


def test_gaze_leaks_towards_the_moving_pointer(tmp_path: Path) -> None:
    truth = write_synthetic_release(
        tmp_path / "r", conversations=2, defects=False, ticks_per_turn=1000
    )
    (key,) = truth.turns.filter(pl.col("kind") == "pairwise")["conversation_id"].unique()
    ticks = truth.ticks(key)
    read = {
        name: np.loadtxt(conversation(truth, key) / f"abs_{name}.csv", delimiter=",")[:, :2]
        for name in ("gaze", "mouse")
    }
    gap = np.hypot(*(read["gaze"] - read["mouse"]).T)
    idle = ticks["mouse_idle_ms"].to_numpy()
    typing = ticks["phase"].eq_missing("after").to_numpy() & (read["mouse"][:, 0] >= 0)
    assert np.median(gap[typing & (idle < 100)]) < 0.9 * np.median(gap[typing & (idle > 1000)])


def test_ticks_come_as_irregularly_as_in_the_release(clean: Truth) -> None:
    step = clean.ticks().select(pl.col("t_ms").diff().over("conversation_id"))["t_ms"].drop_nulls()
    expected = {0.05: 49, 0.25: 62, 0.5: 74, 0.75: 88, 0.95: 155}
    for share, ms in expected.items():
        assert step.quantile(share) == pytest.approx(ms, rel=0.25)
    assert step.min() > 20


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_releases_with_all_defects_that_fit(count: int, tmp_path: Path) -> None:
    truth = write_synthetic_release(tmp_path / "r", conversations=count, ticks_per_turn=100)
    assert truth.turns["conversation_id"].n_unique() == count
    assert len(table(truth, "query_logs_table")) == truth.turns.height
    assert truth.ticks().height > 0


def test_truth_is_read_back_the_same(damaged: Truth) -> None:
    again = read_truth(damaged.folder.parent)
    assert again.turns.equals(damaged.turns)
    assert again.defects == damaged.defects
    assert again.settings == damaged.settings


def test_bad_arguments_and_taken_places_are_refused(tmp_path: Path) -> None:
    for wrong in (
        {"conversations": 0},
        {"ticks_per_turn": 5},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            write_synthetic_release(tmp_path / "r", **wrong)  # type: ignore[arg-type]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(OutputError, match="exists already"):
        write_synthetic_release(tmp_path / "taken")
    with pytest.raises(SourceError, match="no truth"):
        read_truth(tmp_path / "taken")


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, rows: list[str]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", fail)
    with pytest.raises(OutputError, match="No space"):
        write_synthetic_release(tmp_path / "r", conversations=2)
    assert not list(tmp_path.iterdir())


# The defects, each looked up in the files themselves.


def raw(truth: Truth, kind: str) -> list[tuple[Path, int]]:
    found = [(conversation(truth, str(d.conversation_id)), d) for d in truth.of(kind)]
    assert found, f"no {kind}"
    return [
        (folder / d.place if d.place.endswith(".csv") else folder, d.count) for folder, d in found
    ]


def test_pairwise_gaze_is_written_twice_by_the_buffer(damaged: Truth) -> None:
    for path, count in raw(damaged, "doubled_abs_gaze"):
        lines = path.read_text().splitlines()
        assert len(lines) == 2 * count
        assert len(dict.fromkeys(lines)) == count
        first = next(i for i in range(1, len(lines)) if lines[i] == lines[0])
        assert first >= writer.BUFFER_TICKS
        assert lines[first : 2 * first] == lines[:first]
    pointwise = (release(damaged) / "user_behavior").glob("*/*/rel_gaze.csv")
    again = {path.parent for path, _ in raw(damaged, "doubled_upload")}
    for path in pointwise:
        if path.parent in again:
            continue
        lines = (path.parent / "abs_gaze.csv").read_text().splitlines()
        assert len(set(lines)) == len(lines)


def test_last_buffers_are_lost(damaged: Truth, tmp_path: Path) -> None:
    lost = damaged.of("last_buffer_lost")
    assert lost
    assert all(0 < d.count < 2 * writer.BUFFER_TICKS for d in lost)


def test_old_sessions_have_six_fields(damaged: Truth) -> None:
    old = {folder for folder, _ in raw(damaged, "six_fields")}
    for path in (release(damaged) / "user_behavior").glob("*/*/rel_gaze*.csv"):
        tail = path.read_text().splitlines()[-1].split(",")
        assert (len(tail[-2]) == 1) == (path.parent not in old)


def page_times(folder: Path) -> list[float]:
    return [
        float(line.split(",")[2]) for line in (folder / "abs_mouse.csv").read_text().splitlines()
    ]


def test_reload_restarts_the_page_clock(damaged: Truth) -> None:
    for folder, _ in raw(damaged, "reload"):
        times = page_times(folder)
        back = [i for i in range(1, len(times)) if times[i] < times[i - 1]]
        ticks = damaged.ticks("/".join(folder.parts[-2:]))
        assert ticks["page_load"].to_list() == [0] * back[0] + [1] * (len(times) - back[0])
        assert len(back) == 1
        assert times[back[0]] < 10_000


def test_epochs_run_backwards_where_batches_were_swapped(damaged: Truth) -> None:
    for d in damaged.of("epoch_backwards"):
        folder = conversation(damaged, str(d.conversation_id))
        epochs = [
            int(line.rsplit(",", 1)[1])
            for line in (folder / "abs_mouse.csv").read_text().splitlines()
        ]
        assert sum(b < a - 1000 for a, b in itertools.pairwise(epochs)) >= 1
        assert sorted(page_times(folder)) != page_times(folder)


def test_windows_carry_quotes_commas_and_line_breaks(damaged: Truth) -> None:
    for path, count in raw(damaged, "line_break_in_window"):
        broken = [x for x in path.read_text().split("\n")[:-1] if not FIELDS.fullmatch(x)]
        assert count > 0
        assert len(broken) >= 2 * count
    text = "".join(p.read_text() for p in (release(damaged) / "user_behavior").glob("*/*/rel*.csv"))
    assert re.search(r',"[^"\n]*"[^"\n,]+",\d+,', text)
    assert re.search(r',"[^"\n,]*,[^"\n,]*",\d+,', text)


def test_requoted_files_double_quotes_and_end_in_stray_ones(damaged: Truth) -> None:
    mended = raw(damaged, "requoted")
    assert all(n > 0 for _, n in mended)
    text = "".join(path.read_text() for path, _ in mended)
    assert re.search(r'[^",]""[^",]', text)
    assert re.search(r"^[\d.]+,[\d.]+,[^\",\n]+,\d+,", text, re.MULTILINE)
    for path, count in raw(damaged, "stray_quote"):
        assert len(re.findall(r'\d{13}"$', path.read_text(), re.MULTILINE)) == count


def test_ticks_missing_in_rel_files_are_in_the_others(damaged: Truth) -> None:
    for d in damaged.of("missing_in_rel"):
        folder = conversation(damaged, str(d.conversation_id))
        ticks = damaged.ticks(d.conversation_id)
        n = len(page_times(folder))
        assert ticks.height == n
        assert (~ticks["in_rel"]).sum() == 5
        for name in PAIRED:
            assert len((folder / f"{name}.csv").read_text().splitlines()) == n - 5


def test_defects_of_the_query_log(damaged: Truth) -> None:
    rows = {int(r["query_ID"]): r for r in table(damaged, "query_logs_table")}
    checks = {
        "zero_date": lambda v: v == "0000-00-00 00:00:00",
        "crlf_in_llm_name": lambda v: "\r\n" in v,
        "error_answer": lambda v: v.startswith("AI Error. Please report to "),
        "crlf_in_answer": lambda v: "\r\n" in v,
        "blank_lines_in_answer": lambda v: "\n\n" in v and v != v.strip(),
        "unlabelled": lambda v: v == "",
    }
    for kind, holds in checks.items():
        found = damaged.of(kind)
        assert found, kind
        for d in found:
            column = d.place.split(":")[1]
            assert holds(rows[int(d.query_id or 0)][column]), kind
            hits = [q for q, r in rows.items() if kind != "unlabelled" and holds(r[column])]
            assert set(hits) <= {x.query_id for x in found}, kind


def test_defects_of_tasks_and_workers(damaged: Truth) -> None:
    tasks, workers = table(damaged, "task_table"), table(damaged, "record_info_table")
    keys = [(r["user_id"], r["task_id"]) for r in tasks]
    assert len(keys) - len(set(keys)) == len(damaged.of("duplicated_task")) == 1
    never = [r for r in tasks if not r["finished"]]
    assert len(never) == sum(d.count for d in damaged.of("never_done")) > 0
    assert all(not r["accuracy"] and r["domain"] for r in never)
    assert damaged.of("html_entities")
    assert any(re.search("&(quot|amp|#039);", r["llm_response_copy"]) for r in tasks)
    without = [r for r in workers if r["consent"] == "0"]
    assert len(without) == sum(d.count for d in damaged.of("no_consent")) > 0
    assert all(not r["age"] and not r["location"] for r in without)
    assert len({r["user_id"] for r in workers}) == len(workers) - 1
    assert damaged.of("duplicated_worker")


def test_conversations_without_behavior_and_behavior_without_query(damaged: Truth) -> None:
    logged = {f"{r['user_id']}/{r['task_id']}" for r in table(damaged, "query_logs_table")}
    folders = (release(damaged) / "user_behavior").glob("*/*")
    recorded = {"/".join(p.parts[-2:]) for p in folders}
    assert logged - recorded == {d.conversation_id for d in damaged.of("no_behavior")} != set()
    assert (
        recorded - logged
        == {d.conversation_id for d in damaged.of("behavior_without_query")}
        != set()
    )
    assert len(logged) == 24
    odd = [str(d.conversation_id) for d in damaged.of("pointwise_in_odd_task")]
    assert odd
    assert all(int(key.split("/")[1]) % 2 == 1 for key in odd)


def test_made_up_workers_can_be_told_by_their_names(damaged: Truth) -> None:
    names = {r["user_id"] for r in table(damaged, "record_info_table")}
    names |= {p.name for p in (release(damaged) / "user_behavior").iterdir()}
    assert all(name.startswith(SYNTHETIC_PREFIX) for name in names)


def test_clean_release_has_no_defects(clean: Truth) -> None:
    assert clean.defects == []
    assert clean.turns["has_behavior"].all()
