"""The whole benchmark on a prepared folder, made up."""

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

import polars as pl
import pytest

from ifllm_hf.benchmark import run as run_module
from ifllm_hf.benchmark.protocol.predictions import write_predictions
from ifllm_hf.benchmark.protocol.prepared_turns import PreparedTurns, load_prepared
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.splits import QUICK_REPEATS, REPEATS
from ifllm_hf.benchmark.protocol.suite import HEADLINE, PAPER, Results
from ifllm_hf.benchmark.run import BenchmarkRun, run_benchmark
from ifllm_hf.benchmark.studies.probe import PROBES
from ifllm_hf.benchmark.studies.readers import run_readers
from ifllm_hf.errors import OutputError, TableError
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.length_rule import LengthLR
from tests.helpers.dwell_turns import make_turns


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
    first = run.answer().splitlines()
    starts = ["text alone", "length alone", "length with behaviour", "gain over length", "Accuracy"]
    assert [line[: len(start)] for line, start in zip(first, starts, strict=False)] == starts
    assert f"{QUICK_REPEATS['worker']} repeats" in first[4] and len(first) < 25

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
    with pytest.raises(OutputError, match="taken: is a file"):
        run(tmp_path / "no data", out=place)
    assert place.read_text() == "mine"


def _same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    return json.dumps(left, allow_nan=False) == json.dumps(right, allow_nan=False)


@pytest.mark.slow
def test_without_later_readers_the_protocol_future_is_left_out_and_said() -> None:
    turns = make_turns()
    rows = PreparedTurns(turns, turns, [], (), ())
    run = BenchmarkRun(Results())
    assert "future" in run_module._protocols(run, rows, {HEADLINE: None}, QUICK_REPEATS)
    assert not run.notes
    at_once = turns.with_columns(asked_at=pl.col("asked_at").first())
    rows = PreparedTurns(at_once, at_once, [], (), ())
    repeats = run_module._protocols(run, rows, {HEADLINE: None}, REPEATS)
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
