"""To and from pymovements; skipped where it is not installed."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.features.fixations import fixations_by_dispersion
from ifllm_hf.behavior.features.table import behavior_features
from ifllm_hf.behavior.pymovements_adapter import from_pymovements, to_pymovements
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.reading_turns import random_turns, table, turn


@pytest.fixture(name="row")
def row_fixture() -> dict[str, Any]:
    row = turn(
        [1000.5, 1090.0, 1160.0, 1250.0, 30.0, 120.0, 210.0],
        gaze=["a3", "a5", "-", "b7", "b9", "none", "b9"],
        mouse=["-"] * 7,
        page_load=[0, 0, 0, 0, 1, 1, 1],
        phase=["reading"] * 6 + ["rating"],
    )
    row["gaze_x_px"] = [10.0, 20.0, 30.0, 40.0, 50.0, None, 70.0]
    row["gaze_y_px"] = [1.0, 2.0, 3.0, 4.0, 5.0, None, 7.0]
    return row


def test_without_the_package_the_error_says_what_to_do(
    row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "pymovements":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install pymovements"):
        to_pymovements(row)


def test_samples_of_the_reading_phase(row: dict[str, Any]) -> None:
    pytest.importorskip("pymovements")
    gaze = to_pymovements(row)
    assert gaze.samples["time"].to_list() == [1000.5, 1090.0, 1160.0, 1250.0, 30.0]
    assert gaze.samples["pixel"].to_list() == [[10, 1], [20, 2], [30, 3], [40, 4], [50, 5]]
    assert gaze.samples["char"].to_list() == [3, 5, None, 7, 9]
    assert gaze.samples["page_load"].to_list() == [0, 0, 0, 0, 1]
    assert gaze.trial_columns == ["page_load"]
    assert gaze.metadata == {"query_id": 1, "channel": "gaze"}
    with_rating = to_pymovements(row, phases=("reading", "rating"))
    assert len(with_rating.samples) == 6


def test_there_and_back_gives_the_same_features() -> None:
    pytest.importorskip("pymovements")
    rows = random_turns(8, n=20)
    scalars = [n for n, dtype in rows.schema.items() if not isinstance(dtype, pl.List)]
    known = behavior_features(rows)
    checked = 0
    for i, row in enumerate(rows.iter_rows(named=True)):
        for channel in ("gaze", "mouse"):
            if not np.isfinite(known[f"{channel}_dwell_ms_a"][i]):
                continue
            ticks = from_pymovements(to_pymovements(row, channel), channel)
            back = {**{name: row[name] for name in scalars}, **ticks}
            again = behavior_features(pl.DataFrame([back], infer_schema_length=None))
            for name in ("dwell_ms_a", "visits_a", "speed_chars_per_s_a", "fixations_a"):
                column = f"{channel}_{name}"
                np.testing.assert_array_equal(again[column].to_numpy(), known[column][i])
            checked += 1
    assert checked > 10


def test_its_event_detection_works_on_the_grid() -> None:
    pytest.importorskip("pymovements")
    rng = np.random.default_rng(0)
    t = 500 + np.cumsum(rng.uniform(60, 110, 60))
    row = turn(t, gaze=["a0"] * 60)
    x = np.repeat([100.0, 600.0], 30) + rng.uniform(-5, 5, 60)
    row["gaze_x_px"], row["gaze_y_px"] = x.tolist(), [300.0] * 60
    gaze = to_pymovements(row, rate_hz=50, position_in_px=True)
    assert set(np.diff(gaze.samples["time"].to_numpy())) == {20}
    gaze.detect("idt", dispersion_threshold=30, minimum_duration=200)
    events = gaze.events.frame.sort("onset")
    first, last = fixations_by_dispersion(t, x, max_dispersion=30, min_duration_ms=200)
    assert len(first) == len(events) == 2
    # the same events, up to two steps of the grid and one sample
    assert np.abs(events["onset"].to_numpy() - t[first]).max() <= 40
    assert np.abs(events["offset"].to_numpy() - t[last]).max() <= 130


def test_a_long_gap_is_null_on_the_grid(row: dict[str, Any]) -> None:
    pytest.importorskip("pymovements")
    row["t_ms"] = [1000.0, 1100.0, 3000.0, 3100.0, 30.0, 120.0, 210.0]
    samples = to_pymovements(row, rate_hz=10).samples.filter(pl.col("page_load") == 0)
    assert samples["time"].to_list() == list(range(1000, 3101, 100))
    held = samples["on"].is_not_null().to_list()
    assert held == [True] * 12 + [False] * 8 + [True] * 2


def test_trials_of_a_foreign_recording_become_page_loads() -> None:
    pymovements = pytest.importorskip("pymovements")
    samples = pl.DataFrame(
        {
            "trial": ["late", "late", "early", "early"],
            "t": [5, 105, 7, 207],
            "x": [1.0, 2.0, 3.0, 4.0],
            "y": [1.0, 2.0, 3.0, 4.0],
            "answer": ["a", "b", "b", None],
            "index": [0, 150, 3, None],
        }
    )
    gaze = pymovements.Gaze(
        samples=samples, trial_columns="trial", time_column="t", pixel_columns=["x", "y"]
    )
    ticks = from_pymovements(gaze, on="answer", char="index")
    assert ticks["page_load"] == [0, 0, 1, 1]
    assert ticks["gaze_on"] == ["a", "b", "b", "none"]
    assert ticks["mouse_on"] == [None] * 4
    f = behavior_features(table([{**turn(), **ticks, "camera_ok": [None] * 4,
        "mouse_idle_ms": [None] * 4}])).row(0, named=True)  # fmt: skip
    assert f["gaze_dwell_ms_a"] == 100.0
    assert f["gaze_dwell_ms_b"] == 200.0
    assert np.isnan(f["mouse_dwell_ms_a"])
    with pytest.raises(DataError, match="no column on, char"):
        from_pymovements(gaze)


def test_bad_arguments_are_named(row: dict[str, Any]) -> None:
    pytest.importorskip("pymovements")
    with pytest.raises(ConfigError, match="'eye'"):
        to_pymovements(row, "eye")
    with pytest.raises(ConfigError, match="rate_hz is 0"):
        to_pymovements(row, rate_hz=0)
    with pytest.raises(DataError, match="no tick of the mouse"):
        to_pymovements(turn([0, 1], gaze=["a0", "a0"]), "mouse")
    with pytest.raises(DataError, match="there is no gaze_on"):
        to_pymovements({k: v for k, v in row.items() if k != "gaze_on"})


def test_the_examples_of_its_page_run(
    prepared_synthetic: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pymovements")
    page = Path(__file__).parents[2] / "docs" / "pymovements.md"
    ours, theirs = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(prepared_synthetic.parent)
    names: dict[str, Any] = {}
    exec(ours, names)
    assert names["gaze"].events.frame["name"].unique().to_list() == ["fixation"]
    exec(theirs, names)
    assert names["features"].row(0, named=True)["gaze_dwell_ms_a"] == 750.0
    assert "gaze_visits_a" in capsys.readouterr().out
