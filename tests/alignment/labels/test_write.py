from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from ifllm_hf.alignment.labels import write as labels
from ifllm_hf.alignment.labels.label_file import LABELS, METADATA_KEY
from ifllm_hf.alignment.labels.noise import ASSUMPTION, combine
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.errors import ConfigError, DataError, OutputError
from tests.helpers.alignment.written_labels import awkward, changed, label, small
from tests.helpers.labelled_turns import GapModel, against_truth, make_turns

# --- explicit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_explicit_is_the_preferences_table(tmp_path: Path, suffix: str) -> None:
    turns = awkward()
    table, report = label(turns, tmp_path / f"x{suffix}", source="explicit", model=None)
    pairs, ledger = build_preferences(turns)
    same = table.select(pairs.columns).cast(dict(pairs.schema))
    assert same.equals(pairs)
    assert report.ledger == ledger
    assert (report.label_model, report.nu, report.behavior) == (None, None, None)
    assert table["label_model"].null_count() == table.height
    assert set(table["p_b"]) == {0.0, 1.0}


def test_explicit_needs_no_features(tmp_path: Path) -> None:
    turns = small().drop([f"f{k}_{side}" for k in range(3) for side in "ab"])
    assert label(turns, tmp_path / "x.parquet", source="explicit", model=None)[0].height == 120


# --- what the file says --------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["explicit", "reward", "both", "all"])
def test_columns_types_and_metadata(tmp_path: Path, source: str) -> None:
    out = tmp_path / "x.parquet"
    table, report = label(small(), out, source=source)
    schema = pq.read_schema(out)
    assert schema.remove_metadata().equals(LABELS)
    written = json.loads(schema.metadata[METADATA_KEY])
    assert written["pairs"] == table.height == report.pairs
    assert written["assumption"] == (ASSUMPTION if source in ("both", "all") else None)
    assert table["confidence"].is_between(0.5, 1).all()
    assert set(table["source"]) == {source}
    np.testing.assert_allclose(
        table["confidence"], np.maximum(table["p_b"], 1 - table["p_b"]), rtol=1e-6
    )


@pytest.mark.parametrize("source", ["reward", "both", "all"])
def test_chosen_is_the_side_that_p_b_names(tmp_path: Path, source: str) -> None:
    table, _ = label(small(nu=0.3), tmp_path / "x.parquet", source=source, nu=0.3)
    for row in table.iter_rows(named=True):
        n = row["query_id"] - 1000
        answers = (f"left {n}", f"right {n}")
        assert (row["chosen"], row["rejected"]) == (answers if row["p_b"] < 0.5 else answers[::-1])
        past = [message["content"] for message in row["history_chosen"]]
        assert past in ([], ["past of b" if row["p_b"] > 0.5 else "past of a"])


def test_both_is_the_formula_on_the_columns(tmp_path: Path) -> None:
    table, report = label(small(nu=0.2), tmp_path / "x.parquet", nu=0.1)
    for row in table.iter_rows(named=True):
        y_b = min(max((row["p_b_behavior"] - 0.1) / 0.8, 0.01), 0.99)
        on_b = row["explicit_preference"] == "b"
        odds = 9 * (y_b / (1 - y_b) if on_b else (1 - y_b) / y_b)
        of_clicked = odds / (1 + odds)
        assert row["p_b"] == pytest.approx(of_clicked if on_b else 1 - of_clicked)
    assert set(table["nu"]) == {0.1}
    flips = (table["explicit_preference"] == "b") != (table["p_b"] > 0.5)
    assert report.against_click == {"n": table.height, "against": int(flips.sum())}
    row = next(row for row in report.nu_table if row["nu"] == 0.1)
    assert (row["flips"], row["n"]) == (int(flips.sum()), table.height)
    assert row["mean_confidence"] == pytest.approx(report.mean_confidence, abs=1e-6)
    assert row["unsure"] == pytest.approx(report.unsure)


def test_reward_is_the_behaviour_alone(tmp_path: Path) -> None:
    table, report = label(small(), tmp_path / "x.parquet", source="reward")
    assert table["p_b"].equals(table["p_b_behavior"])
    assert table["nu"].null_count() == table.height
    assert report.nu_table == []


def test_all_is_both_where_there_is_a_click_and_behaviour_elsewhere(tmp_path: Path) -> None:
    turns = changed(small(nu=0.2), "preference", {0: None, 13: None, 27: "tie"})
    every, report = label(turns, tmp_path / "a.parquet", source="all", nu=0.1)
    clicked = every["origin"] == "click and behavior"
    of_click = every.filter(clicked)
    on_b = of_click["explicit_preference"] == "b"
    np.testing.assert_allclose(of_click["p_b"], combine(of_click["p_b_behavior"], on_b, 0.1))
    elsewhere = every.filter(~clicked)
    assert elsewhere["query_id"].to_list() == [1000, 1013, 1027]
    assert set(elsewhere["origin"]) == {"behavior"}
    for row in elsewhere.iter_rows(named=True):
        truth = min(max((row["p_b_behavior"] - 0.1) / 0.8, 0.01), 0.99)
        assert row["p_b"] == pytest.approx(truth)
    worth = report.origins
    assert {name: of["pairs"] for name, of in worth.items()} == {
        "behavior": 3,
        "click and behavior": 117,
    }
    assert worth["behavior"]["bits"] == pytest.approx(
        sum(1 + p * np.log2(p) + (1 - p) * np.log2(1 - p) for p in elsewhere["p_b"]),
        abs=1e-6,
    )
    assert "from behavior: 3 pairs" in report.text()


def test_confidence_of_all_is_right_by_origin_where_most_clicks_are_hidden(tmp_path: Path) -> None:
    turns, b_liked = make_turns(workers=60, per_worker=50, separation=0.8, nu=0.05, seed=2)
    rare = np.random.default_rng(0).random(turns.height) < 0.2
    seen = turns.with_columns(preference=pl.when(pl.lit(rare)).then("preference"))
    table, _ = label(seen, tmp_path / "x.parquet", source="all", nu=0.05)
    right = (table["p_b"] > 0.5).to_numpy() == b_liked[table["query_id"].to_numpy() - 1000]
    behavior = (table["origin"] == "behavior").to_numpy()
    confidence = table["confidence"].to_numpy()
    for origin in (behavior, ~behavior):
        # Calibrated on some 480 clicks: a little cautious, and not too sure.
        assert -0.02 < right[origin].mean() - confidence[origin].mean() < 0.05
    doubtful = behavior & (confidence > 0.7) & (confidence < 0.8)
    assert doubtful.sum() > 300
    assert right[doubtful].mean() == pytest.approx(confidence[doubtful].mean(), abs=0.06)


def test_all_labels_by_behaviour_what_clicks_on_one_side_do_not_tell(tmp_path: Path) -> None:
    turns = small().with_columns(preference=pl.lit("b"))
    table, _ = label(turns, tmp_path / "x.parquet", source="all", nu=0.1)
    assert set(table["chosen"].str.split(" ").list.first()) == {"right"}
    np.testing.assert_allclose(table["confidence"], 0.9, rtol=1e-6)


def test_all_without_a_click_says_so(tmp_path: Path) -> None:
    turns = small().with_columns(preference=pl.lit(None, dtype=pl.String))
    with pytest.raises(DataError, match="clicks of 0 workers to train on"):
        label(turns, tmp_path / "x.parquet", source="all")
    assert not (tmp_path / "x.parquet").exists()


def test_every_turn_is_accounted_for(tmp_path: Path) -> None:
    turns = awkward()
    both, of_both = label(turns, tmp_path / "b.parquet", source="both")
    reward, of_reward = label(turns, tmp_path / "r.parquet", source="reward")
    left_out = {"error_answer": 1, "empty_answer": 1, "identical_answers": 1, "pointwise": 1}
    assert of_both.ledger.dropped == {**left_out, "no_preference": 2, "tie": 1}
    assert of_reward.ledger.dropped == left_out
    for table, report in ((both, of_both), (reward, of_reward)):
        assert (
            report.ledger.seen == turns.height == table.height + sum(report.ledger.dropped.values())
        )
        assert table["query_id"].is_unique().all()
    unrated = reward.filter(pl.col("query_id").is_in([1000, 1013, 1027]))
    assert unrated["explicit_preference"].to_list() == [None, None, "tie"]
    assert of_reward.against_click["n"] == reward.height - 3
    assert of_reward.behavior["n"] == reward.height - 3


def test_an_answer_that_behaviour_cannot_tell_is_left_out_of_reward(tmp_path: Path) -> None:
    turns = small()
    even = [pl.col(f"f{k}_a").alias(f"f{k}_b") for k in range(3)]
    same = turns.head(1).with_columns(even)
    turns = pl.concat([same, turns.tail(-1)])
    table, report = label(turns, tmp_path / "r.parquet", source="reward")
    assert report.ledger.dropped == {"undecided": 1}
    assert 1000 not in table["query_id"]
    table, _ = label(turns, tmp_path / "b.parquet", source="both", nu=0.1)
    assert table["confidence"][0] == pytest.approx(0.9)


def test_order_of_rows_changes_no_label(tmp_path: Path) -> None:
    turns = small()
    table, _ = label(turns, tmp_path / "x.parquet")
    shuffled, _ = label(turns.sample(fraction=1, shuffle=True, seed=3), tmp_path / "y.parquet")
    assert shuffled.sort("query_id").equals(table)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    label(small(), tmp_path / "x.jsonl", seed=4)
    label(small(), tmp_path / "y.jsonl", seed=4)
    label(small(), tmp_path / "z.jsonl", seed=5)
    x, y, z = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "xyz")
    assert x == y != z


@pytest.mark.parametrize("source", ["reward", "both", "all"])
def test_exchanging_left_and_right_exchanges_nothing_else(tmp_path: Path, source: str) -> None:
    from ifllm_hf.benchmark.protocol.rows import swap_sides

    turns = small()
    table, _ = label(turns, tmp_path / "x.parquet", source=source)
    mirrored, _ = label(swap_sides(turns), tmp_path / "y.parquet", source=source)
    assert mirrored.select("chosen", "rejected").equals(table.select("chosen", "rejected"))
    np.testing.assert_allclose(mirrored["p_b"], 1 - table["p_b"], atol=1e-9)


def test_a_lopsided_model_is_made_even(tmp_path: Path) -> None:
    def lopsided() -> Any:
        return GapModel(antisymmetric=False, bias=0.8)

    even, of_even = label(small(), tmp_path / "x.parquet", source="reward")
    table, report = label(small(), tmp_path / "y.parquet", source="reward", model=lopsided)
    np.testing.assert_allclose(table["p_b"], even["p_b"], atol=1e-9)
    assert report.slopes == pytest.approx(of_even.slopes)


def test_a_model_that_lies_about_symmetry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="declares that swapping"):
        label(small(), tmp_path / "x.parquet", model=lambda: GapModel(bias=0.8))
    assert not (tmp_path / "x.parquet").exists()


# --- who trains what -----------------------------------------------------------------------------


def test_no_model_labels_a_worker_it_has_seen(tmp_path: Path) -> None:
    log: list[Any] = []
    label(small(), tmp_path / "x.parquet", model=lambda: GapModel(log=log))
    assert log and all(not trained & asked for _, trained, asked in log)
    assert {worker for _, _, asked in log for worker in asked} == set(small()["user_id"])


def test_judged_workers_train_nothing(tmp_path: Path) -> None:
    log: list[Any] = []
    turns = small()
    table, report = label(
        turns, tmp_path / "x.parquet", model=lambda: GapModel(log=log), judge_fold=2
    )
    judged = set(turns.filter(pl.col("fold") == 2)["user_id"])
    assert judged and not any(trained & judged for _, trained, _ in log)
    assert set(table.filter(pl.col("fold") == 2)["label_fold"]) == {-1}
    assert -1 not in set(table.filter(pl.col("fold") != 2)["label_fold"])
    assert report.trained_on[-1] == (turns["fold"] != 2).sum()
    # Their clicks change no label of anybody else.
    other = turns.with_columns(
        preference=pl.when(pl.col("fold") == 2)
        .then(pl.col("preference").replace({"a": "b", "b": "a"}))
        .otherwise("preference")
    )
    again, _ = label(other, tmp_path / "y.parquet", judge_fold=2)
    rest = pl.col("fold") != 2
    assert again.filter(rest).equals(table.filter(rest))
    with pytest.raises(ConfigError, match="no pair has fold 7"):
        label(turns, tmp_path / "z.parquet", judge_fold=7)


def test_a_workers_own_clicks_do_not_change_its_reward_labels(tmp_path: Path) -> None:
    turns = small()
    other = turns.with_columns(
        preference=pl.when(pl.col("user_id") == "w003")
        .then(pl.col("preference").replace({"a": "b", "b": "a"}))
        .otherwise("preference")
    )
    mine = pl.col("user_id") == "w003"
    p = [
        label(frame, tmp_path / f"{i}.parquet", source="reward")[0].filter(mine)["p_b"]
        for i, frame in enumerate((turns, other))
    ]
    assert p[0].equals(p[1])


def test_calibration_mends_an_overconfident_model(tmp_path: Path) -> None:
    turns, _ = make_turns(nu=0.0, separation=0.5)
    table, report = label(
        turns, tmp_path / "x.parquet", source="reward", model=lambda: GapModel(sharpness=4.0)
    )
    assert all(0.15 < slope < 0.4 for slope in report.slopes.values())
    assert report.behavior["ece"] < report.behavior["ece_if_calibrated"] + 0.02
    plain, _ = label(turns, tmp_path / "y.parquet", source="reward")
    np.testing.assert_allclose(table["p_b"], plain["p_b"], atol=0.01)


def test_behaviour_that_says_nothing_leaves_the_click(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turns, _ = make_turns(workers=20, per_worker=20, separation=0.0, nu=0.1)
    table, report = label(turns, tmp_path / "x.parquet", nu=0.1)
    assert report.against_click["against"] == 0
    assert report.mean_confidence == pytest.approx(0.9, abs=0.01)
    if not all(report.slopes.values()):
        assert "no better than chance" in caplog.text


def test_one_class_teaches_nothing(tmp_path: Path) -> None:
    turns = small().with_columns(preference=pl.lit("b"))
    table, report = label(turns, tmp_path / "x.parquet", nu=0.05)
    assert table["confidence"].to_list() == pytest.approx([0.95] * table.height)
    with pytest.raises(DataError, match="0 of 120 .*'reward'"):
        label(turns, tmp_path / "y.parquet", source="reward")


# --- the truth behind noisy clicks ---------------------------------------------------------------


def gain(better: np.ndarray, than: np.ndarray) -> float:
    """Return the paired difference in standard errors."""
    d = better.astype(float) - than
    return float(d.mean() / (d.std() / np.sqrt(len(d))))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_combined_is_right_more_often_than_either_alone(tmp_path: Path, seed: int) -> None:
    turns, b_liked = make_turns(workers=50, per_worker=60, separation=1.0, nu=0.15, seed=seed)
    table, report = label(turns, tmp_path / "x.parquet", nu=0.15)
    found = against_truth(table, b_liked)
    assert found["click"].mean() == pytest.approx(0.85, abs=0.02)
    assert gain(found["both"], found["click"]) > 4
    assert gain(found["both"], found["behaviour"]) > 4
    assert report.against_click["against"] > 50
    # And the confidence is honest about it.
    assert found["confidence"].mean() == pytest.approx(found["both"].mean(), abs=0.015)
    sure = found["confidence"] > 0.95
    assert found["both"][sure].mean() > 0.95 > found["both"][~sure].mean()


def test_confidence_ranks_the_wrong_clicks(tmp_path: Path) -> None:
    """Where behaviour is too weak to overrule a click it still finds the doubtful ones."""
    turns, b_liked = make_turns(workers=50, per_worker=60, separation=0.5, nu=0.05, seed=3)
    table, report = label(turns, tmp_path / "x.parquet", nu=0.05)
    found = against_truth(table, b_liked)
    assert abs(found["both"].mean() - found["click"].mean()) < 0.005
    order = np.argsort(found["confidence"])
    third = len(order) // 3
    assert found["click"][order[:third]].mean() < found["click"][order[-third:]].mean() - 0.04


def test_errors_that_follow_behaviour_break_the_assumption(tmp_path: Path) -> None:
    """Readers who click what they were drawn to: combining does harm, and is far too sure."""
    settings = {"workers": 50, "per_worker": 60, "separation": 1.0, "nu": 0.1}
    gaps, overs = {}, {}
    for errors in ("independent", "follow"):
        turns, b_liked = make_turns(**settings, errors=errors)
        table, _ = label(turns, tmp_path / f"{errors}.parquet", nu=0.1)
        found = against_truth(table, b_liked)
        gaps[errors] = found["both"].mean() - found["click"].mean()
        overs[errors] = found["confidence"].mean() - found["both"].mean()
    assert 0.015 < gaps["independent"] < 0.045
    assert -0.045 < gaps["follow"] < -0.01
    assert abs(overs["independent"]) < 0.015
    assert 0.08 < overs["follow"] < 0.13


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"source": "guess"}, ConfigError, "expected one of explicit, reward, both"),
        ({"nu": 0.5}, ConfigError, "below 0.5"),
        ({"folds": 1}, ConfigError, "at least 2"),
        ({"folds": 13}, DataError, "12 different values of user_id"),
    ],
)
def test_settings_that_cannot_work(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        label(small(), tmp_path / "x.parquet", **settings)
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=".parquet or .jsonl"):
        write_labels(small(), tmp_path / "x.csv", source="explicit")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (lambda: small().drop("history_a"), "no column history_a"),
        (lambda: pl.concat([small(), small()]), "query_id 1000 stands in 2 rows"),
        (lambda: changed(small(), "preference", {3: "left"}), "query 1003 has the preference"),
        (lambda: changed(small(), "f0_a", {3: float("inf")}), "'f0_a' is infinite at query 1003"),
        (lambda: small().with_columns(preference=pl.lit("tie")), "nothing to label"),
        (lambda: small(workers=5).filter(pl.col("user_id") > "w003"), "cannot fill 5 folds"),
        (
            lambda: small().with_columns(
                preference=pl.when(pl.col("user_id") == "w000").then("preference")
            ),
            "at least 2",
        ),
    ],
)
def test_turns_that_cannot_be_labelled(tmp_path: Path, turns: Any, message: str) -> None:
    source = "reward" if message == "at least 2" else "both"
    with pytest.raises(DataError, match=message):
        label(turns(), tmp_path / "x.parquet", source=source)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_returns_nonsense(tmp_path: Path) -> None:
    class Nonsense(GapModel):  # type: ignore[misc, valid-type]
        def __deepcopy__(self, memo: object) -> Any:
            return self

        def predict_proba(self, rows: pl.DataFrame) -> Any:
            return np.full(rows.height, np.nan)

    with pytest.raises(DataError, match="expected a probability"):
        label(small(), tmp_path / "x.parquet", model=Nonsense)


def test_what_is_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        label(small(), out)
    assert out.read_text() == "mine"
    assert label(small(), out, overwrite=True)[0].height == 120
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.parquet"
    label(small(), out)
    before = out.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        label(small(), out, overwrite=True, source="explicit")
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_default_model_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ifllm_hf.reward.baselines.choice", None)
    with pytest.raises(ConfigError, match=r"ifllm-hf\[learn\]"):
        label(small(), tmp_path / "x.parquet", model=None)


# --- the report ----------------------------------------------------------------------------------


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, ifllm_hf.alignment.labels.write, ifllm_hf.alignment.labels.check;"
        "print([m for m in ('torch', 'transformers', 'trl', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the whole way: made-up release, ticks, features, labels -------------------------------------


class DwellModel(GapModel):  # type: ignore[misc, valid-type]
    """The same regression on how long and how lately each answer was looked at."""

    def __deepcopy__(self, memo: object) -> DwellModel:
        return DwellModel(self.name)

    @staticmethod
    def _x(rows: pl.DataFrame) -> np.ndarray:
        names = [
            "gaze_dwell_ms_log_ratio",
            "mouse_dwell_ms_log_ratio",
            "gaze_recency_3s_ms_log_ratio",
        ]
        return rows.select(pl.col(names).fill_nan(0).fill_null(0)).to_numpy()


@pytest.mark.slow
def test_labels_of_a_made_up_release_are_right_more_often_than_its_clicks(tmp_path: Path) -> None:
    features = pytest.importorskip("ifllm_hf.behavior.features.table")
    missing = {"gaze_dwell_ms_log_ratio"} - set(features.FEATURE_COLUMNS)
    if missing:
        pytest.skip(f"the features have no column {missing}")
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.synthetic import Readers, write_synthetic_release

    truth = write_synthetic_release(
        tmp_path / "release",
        conversations=300,
        readers=Readers(click_error=0.2),
        ticks_per_turn=120,
    )
    prepare(tmp_path / "release", tmp_path / "ifllm", progress=False)
    turns = labels.read_turns_with_features(tmp_path / "ifllm")
    assert not {"t_ms", "gaze_x_px"} & set(turns.columns)
    table, report = label(turns, tmp_path / "x.parquet", model=DwellModel, nu=0.2)
    known = table.join(truth.turns.select("query_id", "liked"), on="query_id")
    assert known.height == table.height > 350
    b_liked = known["liked"] == "b"
    clicked = (known["explicit_preference"] == "b") == b_liked
    combined = (known["p_b"] > 0.5) == b_liked
    assert clicked.mean() == pytest.approx(0.8, abs=0.06)
    assert gain(combined.to_numpy(), clicked.to_numpy()) > 3
    assert known["confidence"].mean() == pytest.approx(combined.mean(), abs=0.05)
    assert report.without_behavior is not None
    assert report.ledger.seen == turns.height
