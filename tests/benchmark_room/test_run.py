"""The whole benchmark on a prepared folder, made up; and the paper's pairs on the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.behavior.paper.features import paper_tables
from ifllm_hf.benchmark import run as run_module
from ifllm_hf.benchmark.protocol import ahead, prepared_turns
from ifllm_hf.benchmark.protocol.paper_inputs import paper_columns, paper_pairs
from ifllm_hf.benchmark.protocol.predictions import write_predictions
from ifllm_hf.benchmark.protocol.prepared_turns import STILL_MS, PreparedTurns, load_prepared
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.suite import HEADLINE, PAPER, Results
from ifllm_hf.benchmark.run import BenchmarkRun, run_benchmark
from ifllm_hf.benchmark.studies.importance import SHOWN, importance_figure
from ifllm_hf.benchmark.studies.probe import PROBES
from ifllm_hf.benchmark.studies.readers import run_readers
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare_synthetic
from ifllm_hf.data.release import open_release, read_samples
from ifllm_hf.errors import OutputError, TableError
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.reference import LengthLR

_PAPER_PAIRS = 675


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ifllm"
    prepare_synthetic(90, folder, seed=3, progress=False)
    return folder


@pytest.fixture(scope="module")
def pairs(prepared: Path) -> pl.DataFrame:
    return pl.read_parquet(config_files(prepared, "pairwise"))


def test_the_papers_pairs_are_labelled_included_and_touched() -> None:
    rows = pl.DataFrame(
        {
            "query_id": [5, 1, 2, 3, 4, 6, 7],
            "preference": ["a", "b", None, "a", "a", "tie", "b"],
            "excluded_by_paper": [False, False, False, True, False, False, False],
            "gaze_on": [["none", "a"], ["none"], ["a"], ["a"], [], ["a"], None],
            "mouse_on": [["none", "none"], ["b"], ["a"], ["b"], [], ["a"], None],
        }
    )
    assert paper_pairs(rows) == [1, 5]


@pytest.mark.slow
def test_a_quick_run_scores_everything_and_repeats(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    run = run_benchmark(prepared, quick=True, out=out, jobs=1, progress=False)
    told = {(r["task"], r["set"], r["protocol"]) for r in run.results.records}
    assert {(s, p) for t, s, p in told if t == "preference"} == {
        (s, p)
        for s in (PAPER, HEADLINE)
        for p in ("rows", "conversation", "worker", "future", "conversation + side bias")
    }
    assert {t for t, _, _ in told} == {"preference", "likert", "better_than_previous"}
    worker = [r for r in run.results.records if r["protocol"] == "worker" and r["subset"] == "all"]
    for name in ("majority", "length rule", "length LR", baselines.TEXT_MODEL):
        assert any(r["model"] == name for r in worker), name
    assert all(r["n"] > 0 and r["workers"] > 1 for r in run.results.records)
    permuted = [r for r in worker if "permuted_mean_auc" in r]
    assert permuted and all(abs(r["permuted_mean_auc"] - 0.5) < 0.1 for r in permuted)
    assert {p["probe"] for p in run.probes} == {p.name for p in PROBES[:2]}

    page = (out / "report.md").read_text()
    assert "Did the pointer see the click?" in page
    assert "Labels permuted within workers 20 times" in page and "workers with at least" in page
    stored = json.loads((out / "report.json").read_text())
    assert len(stored) == len(run.results.records) + len(run.probes)
    assert any(r.get("published") for r in run.records)
    json.dumps(run.records, allow_nan=False)
    assert "length rule" in run.table()

    # From the cache, and without it: the same numbers.
    again = run_benchmark(prepared, quick=True, cache=out / "cache", jobs=1, progress=False)
    assert _same(again.records, run.records)
    with pytest.raises(OutputError, match="exists"):
        run_benchmark(prepared, quick=True, out=out, progress=False)


@pytest.mark.parametrize("run", [run_benchmark, run_readers])
def test_a_file_where_the_report_should_go_is_named_before_any_data_is_read(
    run: Callable[..., object], tmp_path: Path
) -> None:
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(OutputError, match="taken: is a file; expected a folder"):
        run(tmp_path / "no data", out=place)
    assert place.read_text() == "mine"


def _same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    return json.dumps(left, allow_nan=False) == json.dumps(right, allow_nan=False)


@pytest.mark.slow
def test_without_later_readers_the_protocol_future_is_left_out_and_said(
    make_turns: Callable[..., pl.DataFrame],
) -> None:
    turns = make_turns()
    rows = PreparedTurns(turns, turns, [], (), ())
    run = BenchmarkRun(Results())
    assert "future" in run_module._protocols(run, rows, {HEADLINE: None}, quick=True)
    assert not run.notes
    at_once = turns.with_columns(asked_at=pl.col("asked_at").first())
    rows = PreparedTurns(at_once, at_once, [], (), ())
    repeats = run_module._protocols(run, rows, {HEADLINE: None}, quick=False)
    assert set(repeats) == {"rows", "conversation", "worker"}
    assert "`future`" in run.notes[0] and "first seen at the start" in run.notes[0]


def test_predictions_made_elsewhere_stand_beside_ours(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load_prepared(prepared, ablations=False)
    data = labelled(rows.turns)
    model = baselines.first_behavior_model()
    frame = cross_validate(model, data, "worker", repeats=2, progress=False, swap=rows.swap)
    write_predictions(frame, tmp_path / "mine.parquet")
    few = baselines.Choice([LengthLR("small")])
    monkeypatch.setattr(baselines, "TEXT_MODEL", "small")
    monkeypatch.setattr(baselines, "first_behavior_model", few.models[0].__class__)
    monkeypatch.setattr(baselines, "preference_models", lambda columns, quick: few)
    monkeypatch.setattr(run_module, "run_probes", lambda *args, **kwargs: [])
    run = run_benchmark(
        prepared,
        quick=True,
        predictions=[tmp_path / "mine.parquet"],
        out=tmp_path / "out",
        seed=3,
        jobs=1,
        progress=False,
    )
    made = "Made by `ifllm benchmark --quick --seed 3 --predictions mine.parquet`."
    assert made in (tmp_path / "out" / "report.md").read_text()
    mine = [r for r in run.results.records if r["file"] == "mine.parquet"]
    assert {r["set"] for r in mine} == {PAPER, HEADLINE}
    assert {r["protocol"] for r in mine} == {"worker"}


def test_a_folder_that_is_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="prepare"):
        run_benchmark(tmp_path, quick=True, progress=False)


def test_two_processes_give_what_one_gives(prepared: Path, tmp_path: Path) -> None:
    rows = load_prepared(prepared, ablations=False)
    data = labelled(rows.turns)
    model = baselines.first_behavior_model()
    fits = [ahead.Fits([model], data, {"worker": 2, "rows": 1}, rows.swap)]
    ahead.fit_ahead(fits, tmp_path, seed=5, jobs=2, progress=False)
    assert len(list(tmp_path.rglob("repeat-*.parquet"))) == 3
    cached = cross_validate(
        model, data, "worker", repeats=2, seed=5, cache=tmp_path, progress=False, swap=rows.swap
    )
    fresh = cross_validate(model, data, "worker", repeats=2, seed=5, progress=False, swap=rows.swap)
    assert cached.equals(fresh)
    ahead.fit_ahead(fits, tmp_path / "none", jobs=1, progress=False)
    assert not (tmp_path / "none").exists()


def test_a_killed_run_leaves_no_process_and_can_go_on(prepared: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from ifllm_hf.benchmark.run import BenchmarkRun, run_benchmark\n"
        "run_benchmark(sys.argv[1], quick=True, out=sys.argv[2], jobs=2, progress=False)\n"
    )
    out = tmp_path / "out"
    started = subprocess.Popen([sys.executable, "-c", code, str(prepared), str(out)])
    children = _children_once_something_is_kept(started, out)
    started.kill()
    started.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            break
        time.sleep(0.1)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not list(out.glob("report.*")) and any(out.rglob("repeat-*.parquet"))


def test_ctrl_c_ends_the_run_with_one_line_and_keeps_what_is_done(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["-m", "ifllm_hf", "benchmark", "--quick", "--from", str(prepared), "--out", str(out)]
    started = subprocess.Popen(
        [sys.executable, *command, "--jobs", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _children_once_something_is_kept(started, out)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the command and its processes
    said = started.communicate(timeout=60)[1]
    assert started.returncode == 130
    assert said.splitlines()[-1].startswith("ifllm benchmark: interrupted")
    assert "Traceback" not in said
    assert any(out.rglob("repeat-*.parquet"))


def _children_once_something_is_kept(started: subprocess.Popen[Any], out: Path) -> list[str]:
    for _ in range(1200):
        if any(out.rglob("repeat-*.parquet")):
            listed = Path(f"/proc/{started.pid}/task/{started.pid}/children")
            return listed.read_text().split() if listed.exists() else []
        assert started.poll() is None
        time.sleep(0.1)
    raise AssertionError("nothing was kept in two minutes")


def test_features_are_computed_once(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_prepared(prepared, tmp_path)
    assert first.notes == () and len(list(tmp_path.glob("features-*.parquet"))) == 4
    monkeypatch.setattr(prepared_turns, "behavior_features", None)
    second = load_prepared(prepared, tmp_path)
    assert second.turns.equals(first.turns)
    assert set(second.antisymmetric) <= set(second.turns.columns)
    # Ticks and dialogue stay behind: no model may see them.
    assert not [c for c, d in second.turns.schema.items() if isinstance(d, pl.List)]


def test_still_gaze_needs_a_mouse_at_rest(pairs: pl.DataFrame) -> None:
    still = prepared_turns._still(pairs)
    assert still["query_id"].equals(pairs["query_id"])
    moved = [
        (side, idle)
        for sides, idles in zip(still["gaze_on"], still["mouse_idle_ms"], strict=True)
        if sides is not None
        for side, idle in zip(sides, idles, strict=True)
    ]
    assert all(idle is not None and idle > STILL_MS for side, idle in moved if side in ("a", "b"))
    assert any(side in ("a", "b") for side, _ in moved)
    assert behavior_features(still)["gaze_dwell_ms_a"].fill_nan(0).sum() < (
        behavior_features(pairs)["gaze_dwell_ms_a"].fill_nan(0).sum()
    )


def test_importance_figure_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [
        {
            "model": name,
            "set": HEADLINE,
            "protocol": "worker",
            "subset": "all",
            "auc": 0.6,
            "auc_low": 0.5,
            "auc_high": 0.7,
        }
        for name in SHOWN[:4]
    ]
    importance_figure(rows, tmp_path / "i.png")
    assert (tmp_path / "i.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_rule_gives_exactly_the_papers_pairs(
    prepared_release: Path, release_path: Path, reference_path: Path
) -> None:
    rows = pl.read_parquet(config_files(prepared_release, "pairwise"))
    tables = [
        set(pl.read_parquet(reference_path / f"paper_{name}.parquet")["query_id"].to_list())
        for name in ("features", "metrics")
    ]
    labels = rows.filter(pl.col("preference").is_not_null(), ~pl.col("excluded_by_paper"))
    expected = sorted(set(labels["query_id"].to_list()) & tables[0] & tables[1])
    assert paper_pairs(rows) == expected and len(expected) == _PAPER_PAIRS

    # The prepared ticks hold what the paper's features need: the same as from the files.
    turns = rows.select("query_id", "conversation_id", "prompt", "response_a", "response_b")
    turns = turns.with_columns(rows["asked_at"])
    mine = paper_columns(prepared_release, turns)
    opened = open_release(release_path, hash_content=False)
    assert opened.turns.height > len(turns)
    features, metrics = paper_tables(
        (c for c in read_samples(release_path) if c.kind == "pairwise"), turns
    )
    theirs = features.join(metrics, on="query_id", maintain_order="left")
    assert mine["query_id"].equals(theirs["query_id"])
    differ = 0
    for name in mine.columns[1:]:
        left = mine[name].fill_null(0).to_numpy()
        right = theirs[name].cast(pl.Float64).fill_null(0).to_numpy()
        differ += int((~np.isclose(left, right, rtol=1e-5, atol=1e-9)).sum())
    # Two conversations have a dozen instants without a row in these files.
    assert differ / (len(mine) * (len(mine.columns) - 1)) < 0.005
