"""Readers differ: styles and clusters with known truth, and what the channels go with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.studies.channel_links import channel_links, habit_links, outcomes
from ifllm_hf.benchmark.studies.reader_styles import HABITS, find_clusters, reader_styles
from ifllm_hf.benchmark.studies.readers import _verdict, run_readers
from ifllm_hf.cli import main
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import write_synthetic_release
from ifllm_hf.errors import DataError, OutputError


def build_features(
    readers: int = 24, conversations: int = 4, kinds: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Turns with made-up habits: readers of two kinds that lie `kinds` SD apart in each habit."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for r in range(readers):
        own = rng.normal(size=len(HABITS)) * 0.5 + kinds * (r % 2)
        for c in range(conversations):
            kind = "pairwise" if c % 2 else "pointwise"
            for t in range(2):
                felt = own + rng.normal(size=len(HABITS)) * 0.5
                values = dict(zip(HABITS, np.exp(felt), strict=True))
                rows.append(
                    {
                        "query_id": len(rows),
                        "user_id": f"reader_{r:02d}",
                        "conversation_id": f"reader_{r:02d}/{c}",
                        "kind": kind,
                        "turn": t + 1,
                        "reading_ms": values.pop("reading_ms"),
                        "gaze_switches_per_min": values.pop("gaze_switches_per_min"),
                        "mouse_switches_per_min": values.pop("mouse_switches_per_min"),
                        "mouse_gaze_agreement": values.pop("mouse_gaze_agreement"),
                        **{f"{k}_a": v for k, v in values.items()},
                        **{f"{k}_b": v for k, v in values.items()},
                    }
                )
    return pl.DataFrame(rows)


def test_readers_of_two_kinds_are_told_apart_and_called_real() -> None:
    styles = reader_styles(build_features(kinds=3.0))
    found = find_clusters(styles, draws=40)
    assert len(found.centres) == 2
    kind = [int(user.rsplit("_", 1)[1]) % 2 for user in styles.users]
    agreement = np.mean(np.asarray(kind) == found.of_reader)
    assert agreement in (0.0, 1.0)
    assert found.bootstrap > 0.95
    assert found.real
    assert found.same_in_half == 1.0
    assert found.same_by_chance == pytest.approx(0.5)


def test_slices_of_one_cloud_are_not_called_kinds_of_readers() -> None:
    found = find_clusters(reader_styles(build_features(kinds=0.0)), draws=40)
    assert not found.real


def test_clusters_are_the_same_for_the_same_seed_and_in_any_order_of_rows() -> None:
    turns = build_features(kinds=1.0)
    first = find_clusters(reader_styles(turns), draws=30, seed=5)
    shuffled = turns.sample(fraction=1.0, shuffle=True, seed=9)
    again = find_clusters(reader_styles(shuffled), draws=30, seed=5)
    np.testing.assert_array_equal(first.of_reader, again.of_reader)
    assert first.bootstrap == pytest.approx(again.bootstrap)


def test_readers_with_few_turns_are_left_out_and_counted() -> None:
    turns = build_features(readers=12)
    few = turns.filter((pl.col("user_id") != "reader_03") | (pl.col("turn") == 1)).filter(
        (pl.col("user_id") != "reader_03") | pl.col("conversation_id").str.ends_with("0")
    )
    styles = reader_styles(few)
    assert styles.too_few == 1
    assert "reader_03" not in styles.users
    with pytest.raises(DataError, match="styles need 8 readers"):
        reader_styles(build_features(readers=5))


def answers_of(
    readers: int = 12, each: int = 14, gaze: float = 0.0, mouse: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Pointwise turns whose rating follows gaze and mouse coverage within readers, as told.

    Readers who cover more rate lower throughout, which must not show within readers.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for r in range(readers):
        level = rng.normal() * 2
        for _ in range(each):
            g, m = rng.normal(size=2)
            rating = np.clip(np.rint(3 - level + gaze * g + mouse * m + rng.normal() * 0.3), 1, 5)
            rows.append(
                {
                    "query_id": len(rows),
                    "user_id": f"reader_{r:02d}",
                    "conversation_id": f"reader_{r:02d}/{len(rows) // 3}",
                    "kind": "pointwise",
                    "response_a": "x" * int(rng.integers(50, 90)),
                    "response_b": None,
                    "likert_a": int(rating),
                    "likert_b": None,
                    "understand_before": None,
                    "understand_after": None,
                    "gaze_coverage_a": level + g,
                    "gaze_coverage_b": float("nan"),
                    "mouse_coverage_a": level + m,
                    "mouse_coverage_b": float("nan"),
                }
            )
    schema: dict[str, Any] = {c: pl.Int8 for c in ("likert_a", "likert_b", "understand_before")}
    schema |= {"understand_after": pl.Int8, "response_b": pl.String}
    return pl.DataFrame(rows, schema_overrides=schema)


def test_a_habit_goes_with_a_rating_within_readers_not_between_them() -> None:
    (rating, *_) = outcomes(answers_of(gaze=1.0))
    found = {r["channel"]: r for r in habit_links(rating, draws=400)}
    assert found["gaze"]["low"] > 0.3  # between readers the correlation is negative
    assert found["mouse"]["low"] < 0 < found["mouse"]["high"]
    assert found["gaze"]["n"] == 12 * 14
    assert found["gaze"]["workers"] == 12


def test_the_correlation_within_readers_is_that_of_centred_ranks_without_length() -> None:
    rows = answers_of(readers=5, each=12, gaze=0.6, seed=2)
    (rating, *_) = outcomes(rows)
    record = next(r for r in habit_links(rating, draws=50) if r["channel"] == "gaze")
    frame = rows.select(
        "user_id",
        x=pl.col("gaze_coverage_a").rank(),
        y=pl.col("likert_a").rank(),
        z=pl.col("response_a").str.len_chars().rank(),
    ).with_columns(pl.col(c) - pl.col(c).mean().over("user_id") for c in "xyz")
    x, y, z = (frame[c].to_numpy() for c in "xyz")
    x, y = x - z * (x @ z) / (z @ z), y - z * (y @ z) / (z @ z)
    assert record["r"] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_channels_are_compared_held_out_by_reader_and_a_claim_is_judged() -> None:
    rating, extreme = outcomes(answers_of(gaze=1.0))[:2]
    assert (rating.name, extreme.name) == ("rating", "extreme rating")
    records = channel_links(rating, repeats=2, draws=200)
    found = {r["channel"]: r for r in records}
    assert found["gaze"]["low"] > 0.3
    assert found["gaze - mouse"]["low"] > 0
    said = _verdict("gaze tells it", "rating", "gaze", records)
    assert ": borne out" in said
    assert "contradicted: the gaze goes with it more" in _verdict(
        "the mouse tells it", "rating", "mouse", records
    )
    assert "no mood to test it on" in _verdict("gaze tells mood", "mood", "gaze", records)


def test_noise_bears_a_claim_out_no_more_often_than_its_interval_allows() -> None:
    wrong = 0
    for seed in range(20):
        (rating, *_) = outcomes(answers_of(readers=20, seed=seed))
        records = channel_links(rating, repeats=1, draws=200, seed=seed)
        wrong += ": borne out" in _verdict("gaze tells it", "rating", "gaze", records)
    assert wrong <= 2


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readers")
    write_synthetic_release(
        place / "release", conversations=60, ticks_per_turn=100, defects=False, seed=1
    )
    prepare(place / "release", place / "ifllm", progress=False)
    return place / "ifllm"


def test_the_report_is_written_once_and_read_back(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "readers"
    run = run_readers(prepared, out=out, draws=100, repeats=1, progress=False)
    written = json.loads((out / "readers.json").read_text())
    assert written == run.records
    parts = {row["part"] for row in written}
    assert {"clusters", "style", "signal", "habit", "channel"} <= parts
    assert sum(row["readers"] for row in written if row["part"] == "signal") <= len(
        run.styles.users
    )
    page = (out / "readers.md").read_text()
    assert run.text() in page
    assert (out / "readers.png").stat().st_size > 10_000
    with pytest.raises(OutputError, match="readers.md exists"):
        run_readers(prepared, out=out, progress=False)
    assert main(["benchmark", "--readers", "--quick", "--from", str(prepared)]) == 1
    assert "do not go with it" in capsys.readouterr().err
