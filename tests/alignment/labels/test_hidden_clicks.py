from __future__ import annotations

import numpy as np
import pytest

from ifllm_hf.alignment.labels import write as labels
from ifllm_hf.alignment.labels.hidden_clicks import as_markdown, hidden_clicks
from ifllm_hf.errors import DataError
from tests.helpers.labelled_turns import GapModel, make_turns


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_default_model", GapModel)


def test_labels_are_held_to_the_clicks_that_were_hidden() -> None:
    turns, _ = make_turns(workers=30, per_worker=20, separation=1.0, nu=0.05)
    (record,) = hidden_clicks(turns, shares=(0.25,), draws=2, progress=False)
    assert (record["clicks"], record["workers"]) == (150, 30)
    assert record["hidden"] == pytest.approx(450, abs=5)
    clicked = (turns["preference"] == "b").to_numpy()
    gap = sum((turns[f"f{k}_b"] - turns[f"f{k}_a"] for k in range(1, 3)), start=turns["f0_b"])
    best = ((gap - turns["f0_a"]).to_numpy() > 0) == clicked
    right = record["accuracy"]
    assert right["low"] < best.mean() < right["high"]
    assert set(record["bits"]) == {"behavior", "click and behavior"}
    assert "| 150 (25%) |" in as_markdown([record])
    assert np.isfinite(record["mean_confidence"])


def test_behaviour_that_says_nothing_is_right_by_chance() -> None:
    turns, _ = make_turns(workers=30, per_worker=20, separation=0.0, nu=0.05)
    (record,) = hidden_clicks(turns, shares=(0.5,), draws=2, progress=False)
    assert record["accuracy"]["low"] < 0.5 < record["accuracy"]["high"]


def test_turns_are_left_as_they_are() -> None:
    turns, _ = make_turns(workers=10, per_worker=10)
    before = turns.clone()
    hidden_clicks(turns, shares=(0.5,), draws=1, progress=False)
    assert turns.equals(before)


def test_the_labelling_model_sees_the_inputs_that_are_asked_for() -> None:
    turns, _ = make_turns(workers=10, per_worker=10)
    with pytest.raises(DataError, match="no column gaze_late_20pct_log_ratio"):
        hidden_clicks(turns, shares=(0.5,), draws=1, inputs="gaze", progress=False)
