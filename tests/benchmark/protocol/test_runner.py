from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.protocol.rows import labelled, swap_sides
from ifllm_hf.benchmark.protocol.runner import PREDICTION_SCHEMA, cross_validate, fit_predict
from ifllm_hf.benchmark.protocol.scores import Scored, score
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.baselines.length_rule import LengthRule, Memory
from ifllm_hf.reward.baselines.protocol import Model, config_hash
from tests.helpers.dwell_turns import DwellModel, make_turns


def run(model, data, protocol="worker", **kwargs):
    return cross_validate(model, data, protocol, **{"repeats": 2, "progress": False} | kwargs)


def test_the_test_model_satisfies_the_protocol() -> None:
    assert isinstance(DwellModel(), Model)
    assert isinstance(LengthRule(), Model)


def test_every_row_gets_one_prediction_per_repeat(turns) -> None:
    predictions = run(DwellModel(), labelled(turns))
    assert dict(predictions.schema) == PREDICTION_SCHEMA
    counted = predictions.group_by("query_id").len()
    assert len(counted) == len(turns)
    assert (counted["len"] == 2).all()
    assert predictions["config_hash"].unique().to_list() == [config_hash(DwellModel())]


def test_row_order_does_not_change_predictions(turns) -> None:
    shuffled = turns.sample(fraction=1.0, shuffle=True, seed=3)
    assert run(DwellModel(), labelled(turns)).equals(run(DwellModel(), labelled(shuffled)))


def test_a_planted_signal_is_found_and_the_test_labels_are_not_used():
    data = labelled(make_turns(workers=20))
    found = score(Scored(run(DwellModel(), data), data), draws=200)
    assert found["auc"] > 0.8
    none = labelled(make_turns(workers=20, signal=0.0))
    assert score(Scored(run(DwellModel(), none), none), draws=200)["auc"] == pytest.approx(
        0.5, abs=0.12
    )


def test_memory_leaks_by_rows_and_not_by_worker() -> None:
    rng = np.random.default_rng(1)
    turns = make_turns(workers=30, turns=4)
    keys = turns["conversation_id"].unique(maintain_order=True).to_list()
    same = dict(zip(keys, rng.choice(["a", "b"], len(keys)), strict=True))
    repeated = turns.with_columns(
        preference=pl.col("conversation_id").replace_strict(same, return_dtype=pl.String)
    )
    data = labelled(repeated)
    by_rows = score(Scored(run(Memory(), data, "rows"), data), draws=50)["accuracy"]
    by_conversation = score(Scored(run(Memory(), data, "conversation"), data), draws=50)["accuracy"]
    by_worker = score(Scored(run(Memory(), data, "worker"), data), draws=50)["accuracy"]
    assert by_rows > 0.95
    assert by_conversation < 0.65
    assert by_worker < 0.65


def test_a_model_is_copied_before_every_fit(turns) -> None:
    log: list[int] = []
    model = DwellModel(log=log)
    run(model, labelled(turns), repeats=3)
    assert len(log) == 15
    assert model.slope == 0.0


def test_one_class_in_training_gives_a_half_and_a_warning(turns, caplog) -> None:
    data = labelled(turns.with_columns(preference=pl.lit("a")))
    p = fit_predict(DwellModel(), data, np.arange(50), np.arange(50, 60))
    assert (p == 0.5).all()
    predictions = run(DwellModel(), data)
    assert (predictions["p_b"] == 0.5).all()
    (warned,) = caplog.messages
    assert warned.startswith("dwell, worker: 10 of 10 ")


def test_a_killed_run_goes_on(turns, tmp_path: Path) -> None:
    data = labelled(turns)
    log: list[int] = []
    first = run(DwellModel(log=log), data, repeats=2, cache=tmp_path)
    assert len(log) == 10
    second = run(DwellModel(log=log), data, repeats=4, cache=tmp_path)
    assert len(log) == 20
    assert second.filter(pl.col("repeat") < 2).equals(first)
    assert second.equals(run(DwellModel(), data, repeats=4))
    assert not list(tmp_path.rglob("*.part"))


def test_other_settings_data_seed_or_protocol_are_computed_anew(turns, tmp_path: Path) -> None:
    data = labelled(turns)
    log: list[int] = []
    run(DwellModel(log=log), data, cache=tmp_path)
    run(DwellModel(log=log), data, cache=tmp_path, seed=1)
    run(DwellModel(log=log), data, "rows", cache=tmp_path)
    run(DwellModel(log=log, antisymmetric=False, intercept=0.1), data, cache=tmp_path)
    flipped = turns.with_columns(dwell_a=pl.col("dwell_a") + 1e-3)
    run(DwellModel(log=log), labelled(flipped), cache=tmp_path)
    assert len(log) == 50


def test_fingerprint_sees_content_and_not_order(turns: pl.DataFrame) -> None:
    base = labelled(turns).fingerprint
    assert base == labelled(turns.sample(fraction=1.0, shuffle=True, seed=9)).fingerprint
    assert base == labelled(turns.select(turns.columns[::-1])).fingerprint
    missing = turns.with_columns(dwell_a=pl.lit(None, pl.Float64))
    nan = turns.with_columns(dwell_a=pl.lit(float("nan")))
    marks = {base, labelled(missing).fingerprint, labelled(nan).fingerprint}
    assert len(marks) == 3


@dataclass
class Broken:
    result: object
    name: str = "broken"
    antisymmetric: bool = False

    def config(self):
        return {}

    def fit(self, rows, y, groups, weight=None):
        return self

    def predict_proba(self, rows):
        return np.full(len(rows), self.result) if np.isscalar(self.result) else self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (float("nan"), "broken predicted nan for query"),
        (1.5, r"broken predicted 1.5 for query \d+; expected a probability"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
    ],
)
def test_predictions_that_are_none_are_refused(turns, result: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(Broken(result), labelled(turns))


def test_labels_are_hidden_from_prediction(turns: pl.DataFrame) -> None:
    class Cheat(Broken):
        def predict_proba(self, rows):
            return (rows["preference"] == "b").to_numpy().astype(float)

    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        run(Cheat(0.5), labelled(turns))


def test_a_model_that_breaks_its_word_on_sides_is_refused(turns) -> None:
    data = labelled(turns)
    with pytest.raises(DataError, match="dwell declares .*, but query"):
        run(DwellModel(intercept=0.01), data)
    run(DwellModel(intercept=0.01, antisymmetric=False), data)


def test_per_pair_features_need_the_right_swap(turns) -> None:
    class Difference(DwellModel):
        @staticmethod
        def _x(rows):
            return rows["dwell_difference"].to_numpy()

        def __deepcopy__(self, memo):
            return Difference()

    data = labelled(turns)
    with pytest.raises(DataError, match="declares that swapping"):
        run(Difference(), data)
    run(Difference(), data, swap=lambda rows: swap_sides(rows, ["dwell_difference"]))


def test_raw_ticks_are_refused(turns) -> None:
    from dataclasses import replace

    data = labelled(turns)
    raw = replace(data, rows=data.rows.with_columns(mouse_x_px=pl.lit([0.1])))
    with pytest.raises(ConfigError, match="raw ticks"):
        run(DwellModel(), raw)
