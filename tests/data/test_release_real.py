"""The facts of the real release, from its rows to the wall between reading and rating."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.data.prepared.prepare import PrepareReport
from ifllm_hf.data.ticks.merge import ABSENT_ROW

pytestmark = pytest.mark.slow
TWICE = "batch written twice"


def test_facts_of_the_real_release(release_report: PrepareReport) -> None:
    assert release_report.facts == {
        "turns": 1691,
        "workers": 87,
        "conversations": 512,
        "pairwise": 821,
        "pointwise": 870,
        "preference_a": 400,
        "preference_b": 387,
        "conversations_with_behavior": 462,
        "workers_with_behavior": 79,
    }
    assert not release_report.synthetic


def test_every_row_of_the_real_release_is_kept_or_has_a_reason(
    release_report: PrepareReport,
) -> None:
    behavior = release_report.ledgers["behavior"]
    rel = {name: entry for name, entry in behavior.items() if name.startswith("rel_")}
    assert sum(entry["seen"] for entry in rel.values()) == 5_873_716
    dropped: dict[str, int] = {}
    for entry in rel.values():
        assert entry["seen"] == entry["kept"] + sum(entry["dropped"].values())
        for reason, n in entry["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + n
    assert dropped == {ABSENT_ROW: 48}  # at most 59 may be lost
    assert behavior["abs_gaze.csv"]["dropped"] == {TWICE: 1_103_719}
    assert behavior["abs_gaze.csv"]["kept"] == behavior["abs_mouse.csv"]["kept"] == 1_833_139
    assert behavior["abs_mouse.csv"]["dropped"] == {}
    lost = {n: e["dropped"] for n, e in release_report.ledgers["files"].items() if "rel_" in n}
    where = {name.rsplit("/", 1)[0] for name, reasons in lost.items() if reasons}
    assert where == {"worker_191ee47f/101", "worker_191ee47f/83"}


def test_turns_of_the_real_release_agree_with_the_texts_out_of_sample(
    release_report: PrepareReport,
) -> None:
    agreement = release_report.quality["agreement"]
    assert agreement["ticks"] > 1_500_000
    assert agreement["share"] >= 0.9965  # 0.985 is asked for
    causes = ("agree", "at_boundary", "earlier", "later", "before_first")
    assert sum(agreement[cause] for cause in causes) == agreement["ticks"]


@pytest.fixture(scope="module")
def real_ticks(prepared_release: Path) -> pl.DataFrame:
    columns = ["query_id", "page_load", "file_row", "t_ms", "phase", "mouse_on", "mouse_char"]
    frame = pl.read_parquet(
        prepared_release / "ticks" / "*.parquet", columns=["conversation_id", *columns]
    )
    return frame.explode(columns)


@pytest.fixture(scope="module")
def real_pairs(prepared_release: Path) -> pl.DataFrame:
    return pl.read_parquet(prepared_release / "pairwise" / "*.parquet")


def test_turns_of_the_real_release_are_contiguous(
    real_ticks: pl.DataFrame, prepared_release: Path
) -> None:
    parts = [
        pl.read_parquet(prepared_release / k / "*.parquet", columns=["query_id", "turn"])
        for k in ("pairwise", "pointwise")
    ]
    assert real_ticks.height == 1_833_139
    number = real_ticks.join(pl.concat(parts), on="query_id", how="left", maintain_order="left")
    same = (pl.col("conversation_id") == pl.col("conversation_id").shift(1)) & (
        pl.col("page_load") == pl.col("page_load").shift(1)
    )
    turn = pl.col("turn").fill_null(0)
    steps = number.select(
        same=same, up=turn >= turn.shift(1), later=pl.col("t_ms") >= pl.col("t_ms").shift(1)
    )
    assert steps.filter("same").select(pl.col("up", "later").all()).row(0) == (True, True)
    rows = real_ticks.group_by("conversation_id").agg(
        n=pl.len(), rows=pl.col("file_row").n_unique()
    )
    assert (rows["n"] == rows["rows"]).all()
    assert int(real_ticks["page_load"].max()) == 1  # type: ignore[call-overload]
    # Three reloads, and one second tab that was open beside the first.
    assert set(real_ticks.filter(pl.col("page_load") == 1)["conversation_id"]) == {
        "worker_61e55ed0/71",
        "worker_b734ff9a/317",
        "worker_ea67330f/291",
        "worker_372230c5/186",
    }


def test_the_rating_is_found_in_most_turns_of_the_real_release(
    real_pairs: pl.DataFrame, release_report: PrepareReport
) -> None:
    labelled = real_pairs.filter(
        pl.col("preference").is_not_null() & (pl.col("t_ms").list.len() > 0)
    )
    found = (labelled["reading_end_source"] == "rating_zone").mean()
    assert found > 0.88  # type: ignore[operator]
    ends = release_report.quality["reading_end"]
    assert sum(ends.values()) == 1508
    assert ends["rating_zone"] > 1320


def test_reading_ends_where_it_did_in_turns_that_are_hard_to_tell(real_pairs: pl.DataFrame) -> None:
    """Pointers that rest beside the radio buttons, or a row too high: ticks before the end."""
    expected = {
        (580, 1295, "rating_zone"),
        (1080, 60, "fallback"),
        (1419, 515, "rating_zone"),
        (1443, 2020, "fallback"),
        (1553, 299, "fallback"),
        (1657, 3007, "rating_zone"),
        (1701, 31, "rating_zone"),
    }
    reading = pl.col("phase").list.count_matches("reading").cast(pl.Int64)
    found = real_pairs.filter(pl.col("query_id").is_in([q for q, _, _ in expected]))
    assert set(found.select("query_id", reading, "reading_end_source").rows()) == expected


def test_phases_of_the_real_release_follow_each_other(real_ticks: pl.DataFrame) -> None:
    number = pl.col("phase").replace_strict({"reading": 0, "rating": 1, "after": 2}, default=None)
    inside = real_ticks.drop_nulls("query_id").select("query_id", "page_load", number=number)
    same = (pl.col("query_id") == pl.col("query_id").shift(1)) & (
        pl.col("page_load") == pl.col("page_load").shift(1)
    )
    steps = inside.select(same=same, up=pl.col("number") >= pl.col("number").shift(1))
    assert steps.filter("same")["up"].all()
    assert inside["number"].null_count() == 0


def test_the_pointer_tells_the_label_in_the_whole_turn_and_not_in_reading(
    real_pairs: pl.DataFrame,
) -> None:
    pytest.importorskip("sklearn")
    from ifllm_hf.benchmark.studies.probe import PROBES, run_probes

    whole, reading = run_probes(
        real_pairs, probes=PROBES[:2], kinds=("booster",), repeats=2, draws=500, progress=False
    )
    assert whole["auc"] > 0.68 and whole["auc_low"] > 0.6 and whole["low"] > 0.57
    assert reading["auc_low"] < 0.5 < reading["auc_high"]
    assert reading["low"] < 0.53 and reading["auc"] < 0.53
