from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ifllm_hf.alignment.labels.calibration import fit_slope
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.metrics.ridge import sigmoid
from tests.helpers.labelled_turns import GapModel, make_turns


def test_slope_finds_the_temperature() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_000) * 2
    y = (rng.random(20_000) < sigmoid(z)).astype(float)
    assert fit_slope(z, y) == pytest.approx(1.0, abs=0.05)
    assert fit_slope(4 * z, y) == pytest.approx(0.25, abs=0.02)
    assert fit_slope(z / 3, y) == pytest.approx(3.0, abs=0.15)
    assert fit_slope(-z, y) == 0.0


def test_slope_minimises_its_formula() -> None:
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=40), (rng.random(40) < 0.5).astype(float)
    z += y
    t = np.where(y == 1, 41 / 42, 1 / 42)

    def loss(s: float) -> float:
        return float(-np.sum(t * np.log(sigmoid(s * z)) + (1 - t) * np.log(sigmoid(-s * z))))

    s = fit_slope(z, y)
    assert s > 0
    assert all(loss(s) <= loss(s + d) for d in (-0.1, -0.01, 0.01, 0.1))


def test_slope_of_perfect_and_of_silent_logits_is_finite() -> None:
    y = np.array([0.0, 1, 0, 1])
    perfect = fit_slope(np.array([-1.0, 1, -1, 1]), y)
    assert sigmoid(np.array([perfect]))[0] == pytest.approx(5 / 6)  # (n + 1) / (n + 2)
    assert fit_slope(np.zeros(4), y) == 0.0


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=20))
@example([(0.0, False), (3e-132, False), (3e-132, True)])
def test_slope_does_not_know_left_from_right(pairs: list[tuple[float, bool]]) -> None:
    z = np.array([p[0] for p in pairs])
    y = np.array([float(p[1]) for p in pairs])
    assert fit_slope(-z, 1 - y) == pytest.approx(fit_slope(z, y), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("readers", [2, 3])
def test_each_model_is_calibrated_on_readers_that_it_was_not_trained_on(
    tmp_path: Path, readers: int
) -> None:
    """Of two folds of two readers, each trains on one, which leaves nobody to calibrate on."""
    turns, _ = make_turns(workers=readers, per_worker=12)
    with pytest.raises(DataError, match=r"label fold \d: clicks of 1 workers to train on"):
        write_labels(
            turns, tmp_path / "x.parquet", source="reward", model=GapModel, folds=2, progress=False
        )


@pytest.mark.parametrize("folds", [{"folds": 1}, {"inner_folds": 1}, {"inner_folds": 0}])
def test_one_fold_leaves_nobody_to_train_on(tmp_path: Path, folds: Any) -> None:
    turns, _ = make_turns(workers=12, per_worker=10)
    with pytest.raises(ConfigError, match="expected at least 2 each"):
        write_labels(turns, tmp_path / "x.parquet", source="reward", model=GapModel, **folds)


def test_how_far_labelling_is_can_be_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns, _ = make_turns(workers=12, per_worker=10)
    settings: dict[str, Any] = {"source": "reward", "model": GapModel}
    write_labels(turns, tmp_path / "x.parquet", **settings)
    assert "gap · labels" in capsys.readouterr().err
    write_labels(turns, tmp_path / "y.parquet", **settings, progress=False)
    assert capsys.readouterr().err == ""
