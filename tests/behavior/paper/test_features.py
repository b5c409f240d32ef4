"""The paper's tables end to end: columns, rows, missing cells, lists, refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.paper.features import (
    METRIC_COLUMNS,
    PAPER_COLUMNS,
    SAME_AS,
    paper_feature_set,
    paper_tables,
    repair_report,
)
from ifllm_hf.data.raw.samples import ConversationSamples, Samples
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.paper_labels import paper_labels

ANSWERS = ("The first answer speaks of cats.", "The second one is\r\nlong and on dogs.")
START = datetime(2025, 11, 1, tzinfo=UTC)


def reading(text: str, *, start_ms: float = 0, step: int = 4, shift_ms: float = 0) -> Samples:
    """Read a text from left to right, one caret every 100 ms, then look away for 300 ms."""
    carets = list(range(0, len(text), step))
    shown = text.replace("\r\n", "\n")
    windows = [shown[max(0, c - 10) : c + 10].strip() for c in carets] + [""] * 3
    n = len(windows)
    position = np.array([5.0] * len(carets) + [-1.0] * 3)
    t = start_ms + shift_ms + 100.0 * np.arange(n)
    return Samples(
        position,
        position,
        pl.Series(windows, dtype=pl.String),
        np.array(carets + [-1] * 3, dtype=np.int32),
        t,
        np.ones(n, dtype=np.int8),
        t + 1.7e12,
    )


def joined(*parts: Samples) -> Samples:
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("x", "y", "caret", "page_ms", "camera", "epoch_ms")
    }
    return Samples(window=pl.concat([part.window for part in parts if part.window is not None]),
                   **arrays)  # fmt: skip


def turns() -> pl.DataFrame:
    a, b = ANSWERS
    rows = [
        (1, "w/1", "pairwise", "Ask one?", a, b, START, 5, 3, "a"),
        (2, "w/1", "pairwise", "Ask two?", b, a, START + timedelta(minutes=2), 2, 4, None),
        (3, "w/2", "pointwise", "Ask three?", a, None, START, 4, None, None),
        (4, "w/2", "pointwise", "No time?", b, None, None, 4, None, None),
        (5, "w/9", "pointwise", "No behaviour?", a, None, START, 4, None, None),
    ]
    names = (
        "query_id conversation_id kind prompt response_a response_b asked_at "
        "likert_a likert_b preference"
    )
    return pl.DataFrame(rows, schema=names.split(), orient="row")


def conversations(shift_ms: float = 0) -> list[ConversationSamples]:
    a, b = (reading(text, shift_ms=shift_ms) for text in ANSWERS)
    later_a = reading(ANSWERS[0], start_ms=9000, shift_ms=shift_ms)
    later_b = reading(ANSWERS[1], start_ms=9000, shift_ms=shift_ms)
    return [
        ConversationSamples("w/1", joined(a, later_b), a, joined(b, later_a), b),
        ConversationSamples("w/2", a, b),
        ConversationSamples("w/3", a, b),
    ]


def test_columns_and_rows() -> None:
    features, metrics = paper_tables(conversations(), turns())
    assert len(PAPER_COLUMNS) == len(set(PAPER_COLUMNS)) == 212
    assert features.columns == ["query_id", *PAPER_COLUMNS]
    assert metrics.columns == ["query_id", *METRIC_COLUMNS]
    assert features["query_id"].to_list() == [1, 2, 3, 4]
    assert metrics["query_id"].to_list() == [1, 2, 3]
    assert paper_tables(conversations(), turns())[0].equals(features)
    assert paper_tables(conversations(), turns())[1].equals(metrics)


def test_null_marks_exactly_the_columns_of_the_other_kind() -> None:
    features = paper_tables(conversations(), turns())[0]
    pairwise, pointwise = features[:2], features[2:]
    missing = {c for c in PAPER_COLUMNS if pairwise[c].null_count()}
    assert all("_left_" not in c and "comparison" not in c for c in missing)
    assert len(missing) == 2 * 19 + 4
    missing = {c for c in PAPER_COLUMNS if pointwise[c].null_count()}
    assert {c for c in PAPER_COLUMNS if c.startswith("response_B")} < missing
    assert len(missing) == 55 + 59 - 6
    assert all(pointwise[c].null_count() in (0, 2) for c in PAPER_COLUMNS)


def test_values_of_one_question() -> None:
    features, metrics = paper_tables(conversations(), turns())
    row = features.row(0, named=True)
    assert row["user_query_length"] == 8
    assert row["response_A_response_length"] == 32
    assert row["response_B_response_length"] == len(ANSWERS[1]) - 1  # CRLF is one line end
    assert row["response_A_gaze_data_points"] == 11  # 8 carets and 3 rows off the answer
    assert row["response_A_gaze_focused_engagement_time"] == 700
    assert row["response_A_gaze_reading_completion_ratio"] == 28 / 32
    assert metrics.row(0, named=True)["gaze_max_idx_left"] == 28


def test_every_question_of_a_pairwise_conversation_has_the_same_phases() -> None:
    features = paper_tables(conversations(), turns())[0]
    phases = [c for c in PAPER_COLUMNS if not c.startswith(("response", "user"))]
    assert features[0].select(phases).equals(features[1].select(phases))


def test_a_question_without_a_time_has_a_row_of_zeros_and_takes_no_part_in_matching() -> None:
    features, metrics = paper_tables(conversations(), turns())
    row = features.row(3, named=True)
    assert row.pop("query_id") == 4
    lengths = {name: value for name, value in row.items() if value}
    assert lengths == {"user_query_length": 8, "response_A_response_length": 35}
    assert 4 not in metrics["query_id"]


def test_the_zero_of_the_page_clock_does_not_matter() -> None:
    here, there = paper_tables(conversations(), turns()), paper_tables(conversations(512), turns())
    assert here[0].equals(there[0]) and here[1].equals(there[1])


def test_conversations_do_not_influence_each_other() -> None:
    whole = paper_tables(conversations(), turns())[0]
    parts = [paper_tables([c], turns())[0] for c in conversations()]
    assert pl.concat(parts).equals(whole)


def test_an_empty_first_answer_has_no_row() -> None:
    first = pl.col("query_id") == 1
    without = pl.when(first).then(pl.lit("")).otherwise("response_a")
    table = turns().with_columns(without.alias("response_a"))
    assert paper_tables(conversations(), table)[0]["query_id"].to_list() == [2, 3, 4]


def test_refusals_name_the_place() -> None:
    a = reading(ANSWERS[0])
    bare = Samples(a.x, a.y, None, a.caret, a.page_ms, a.camera, a.epoch_ms)
    with pytest.raises(DataError, match="w/2, gaze a: no text windows"):
        paper_tables([ConversationSamples("w/2", bare, bare)], turns())
    with pytest.raises(DataError, match="w/2 comes twice"):
        paper_tables([ConversationSamples("w/2", a, a)] * 2, turns())
    with pytest.raises(DataError, match="asked_at"):
        paper_tables([], turns().drop("asked_at"))
    with pytest.raises(ConfigError, match="pairwise_gaze"):
        paper_feature_set("gaze")


def feature_matrix(features: pl.DataFrame, metrics: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return `query_id` and the columns of one of the paper's lists.

    Questions without a row in the metrics are left out, as in the paper. The three names that the
    paper's code never makes are filled with what they must have meant (`SAME_AS`).
    """
    joined = features.join(metrics, on="query_id", how="inner", maintain_order="left")
    columns = []
    for column in paper_feature_set(name):
        source, complement = SAME_AS.get(column, (column, False))
        columns.append((1 - pl.col(source) if complement else pl.col(source)).alias(column))
    return joined.select("query_id", *columns)


@pytest.mark.parametrize(
    ("name", "listed", "existing"),
    [("pairwise", 50, 47), ("pairwise_gaze", 27, 25), ("pairwise_mouse", 25, 24)],
)
def test_feature_lists(name: str, listed: int, existing: int) -> None:
    columns = paper_feature_set(name)
    made = paper_feature_set(name, existing=True)
    assert len(columns) == len(set(columns)) == listed and len(made) == existing
    assert set(made) <= {*PAPER_COLUMNS, *METRIC_COLUMNS}
    assert {source for source, _ in SAME_AS.values()} <= set(PAPER_COLUMNS)
    features, metrics = paper_tables(conversations(), turns())
    matrix = feature_matrix(features, metrics, name)
    assert matrix.columns == ["query_id", *columns]
    assert matrix[:2].null_count().sum_horizontal().item() == 0
    if name == "pairwise":
        onscreen = features[:2]["gaze_right_reviewing_onscreen_ratio"]
        assert matrix[:2]["gaze_right_reviewing_offscreen_ratio"].equals(1 - onscreen)


def test_labels() -> None:
    labels = paper_labels(turns())
    assert labels["preference"].to_list() == [1.0, None, None, None, None]
    assert labels["binary_preference"].to_list() == [0.0, 0.0, None, None, None]
    assert labels["normalized_likert_1"].to_list() == [1.0, 0.4, 0.8, 0.8, 0.8]


def test_repair_report_counts_changes() -> None:
    old = pl.DataFrame({"query_id": [1, 2, 3], "x": [1.0, 2.0, None], "y": [0.0, 5.0, 1.0]})
    new = pl.DataFrame({"query_id": [2, 1, 3], "x": [4.0, 1.0, 7.0], "y": [5.0, 0.0, 1.0]})
    report = repair_report(old, new)
    assert report.rows() == [("x", 3, 2, 2 / 3, 1.0), ("y", 3, 0, 0.0, 0.0)]
