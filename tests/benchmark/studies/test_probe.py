from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.studies.probe import GRID_X, PREFIX, Probe, pointer_histogram, run_probes
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.dwell_turns import make_turns

OFF = Probe("off", "off", "reading")
WHOLE = Probe("whole", "off", None, contaminated=True)


def one_turn(**lists: list) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "query_id": [1],
            "conversation_id": ["w/1"],
            "response_a": ["x" * 20],
            "response_b": ["y" * 10],
            **{name: [values] for name, values in lists.items()},
        }
    )


def cells(table: pl.DataFrame) -> dict[int, float]:
    names = [c for c in table.columns if c.startswith(PREFIX) and c != f"{PREFIX}ticks"]
    values = table.select(names).row(0)
    return {int(n.removeprefix(PREFIX)): v for n, v in zip(names, values, strict=True) if v}


def test_only_ticks_of_the_place_and_phase_are_counted() -> None:
    turn = one_turn(
        mouse_x_px=[0.0, 50.0, 100.0, None, 100.0],
        mouse_y_px=[0.0, 0.0, 80.0, None, 0.0],
        mouse_on=["none", "none", "none", "none", "a"],
        phase=["reading", "reading", "rating", "reading", "reading"],
    )
    reading = pointer_histogram(turn, OFF)
    assert cells(reading) == {0: 0.5, 5: 0.5}
    assert reading[f"{PREFIX}ticks"][0] == pytest.approx(np.log(3))
    whole = cells(pointer_histogram(turn, WHOLE))
    assert whole == pytest.approx({0: 1 / 3, 5: 1 / 3, 7 * GRID_X + 11: 1 / 3})
    assert cells(pointer_histogram(turn, Probe("on", "on", "reading"))) == {11: 1.0}


def test_text_positions_are_tenths_of_each_answer() -> None:
    turn = one_turn(
        mouse_x_px=[1.0, 1.0, 1.0, 1.0],
        mouse_y_px=[1.0, 1.0, 1.0, 1.0],
        mouse_on=["a", "a", "b", "none"],
        mouse_char=[0, 20, 5, None],
        phase=["reading"] * 4,
    )
    found = cells(pointer_histogram(turn, Probe("text", "text", "reading")))
    assert found == pytest.approx({0: 1 / 3, 9: 1 / 3, 15: 1 / 3})


def test_a_turn_without_ticks_is_missing_and_not_zero() -> None:
    turn = one_turn(mouse_x_px=[], mouse_y_px=[], mouse_on=[], phase=[]).cast(
        {"mouse_x_px": pl.List(pl.Float32), "mouse_y_px": pl.List(pl.Float32)}
        | {"mouse_on": pl.List(pl.String), "phase": pl.List(pl.String)}
    )
    table = pointer_histogram(turn, OFF)
    assert len(table) == 1
    assert table[f"{PREFIX}ticks"][0] == 0
    assert np.isnan(table[f"{PREFIX}00"][0])


def test_missing_columns_and_unknown_places_are_named() -> None:
    turn = one_turn(mouse_x_px=[1.0], mouse_y_px=[1.0], mouse_on=["a"])
    with pytest.raises(DataError, match="no column phase"):
        pointer_histogram(turn, OFF)
    with pytest.raises(ConfigError, match="'below'"):
        pointer_histogram(turn, Probe("x", "below", None))


def test_probe_sees_the_click_and_nothing_before_it():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1005)
    turns = make_turns(workers=25, seed=5)
    lists: dict[str, list] = {n: [] for n in ("mouse_x_px", "mouse_y_px", "mouse_on", "phase")}
    for preference in turns["preference"]:
        x = [
            *rng.uniform(0, 1200, 40),
            *([1200.0] * 2),
            *([600.0 if preference == "a" else 800.0] * 8),
        ]
        lists["mouse_x_px"].append(x)
        lists["mouse_y_px"].append([*rng.uniform(0, 500, 42), *([750.0] * 8)])
        lists["mouse_on"].append(["none"] * 50)
        lists["phase"].append(["reading"] * 42 + ["rating"] * 8)
    whole, reading = run_probes(
        turns.with_columns(**{k: pl.Series(v) for k, v in lists.items()}),
        probes=(WHOLE, OFF),
        kinds=("logistic",),
        repeats=2,
        draws=200,
        progress=False,
    )
    assert whole["auc"] > 0.9
    assert whole["contaminated"]
    assert reading["auc"] < 0.62
    assert reading["auc_low"] < 0.5 < reading["auc_high"]
    assert reading["turns_without_ticks"] == 0
