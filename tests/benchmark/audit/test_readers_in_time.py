from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.benchmark.audit.readers_in_time import (
    LATER,
    READING,
    REST,
    TIMELESS,
    reader_stream,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def frame(*pairs: tuple[str, float | None, float]) -> pl.DataFrame:
    """Pairs as (reader, hours after noon, value)."""
    return pl.DataFrame(
        {
            "user_id": [reader for reader, _, _ in pairs],
            "query_id": range(len(pairs)),
            "asked_at": [h if h is None else NOON + timedelta(hours=h) for _, h, _ in pairs],
            "value": [value for _, _, value in pairs],
        },
        schema_overrides={"asked_at": pl.Datetime("us", "UTC")},
    )


def look(pairs: pl.DataFrame, hours: float) -> list[tuple[str, float]]:
    found = reader_stream(pairs, NOON + timedelta(hours=hours))
    found.ledger.check()
    assert found.ledger.seen == pairs.height
    return list(found.readers.select("user_id", "value").iter_rows())


def test_readers_come_in_the_order_in_which_their_first_sitting_ended() -> None:
    pairs = frame(("ann", 0, 1), ("bob", 0.5, 0), ("ann", 1, 0), ("cat", 0.1, -1))
    assert look(pairs, 10) == [("cat", -1), ("bob", 0), ("ann", 0.5)]
    assert reader_stream(pairs).values.tolist() == [-1, 0, 0.5]


def test_who_comes_back_is_no_new_reader_and_who_reads_now_is_not_counted() -> None:
    pairs = frame(("ann", 0, 1), ("ann", 3, -1), ("bob", 5, 1))
    found = reader_stream(pairs, NOON + timedelta(hours=6))
    assert found.readers["user_id"].to_list() == ["ann"] and found.values.tolist() == [1]
    assert found.ledger.dropped == {LATER: 1, READING: 1}
    assert look(pairs, 7) == [("ann", 1), ("bob", 1)]


def test_a_sitting_lasts_while_no_rest_is_longer() -> None:
    rest = REST / timedelta(hours=1)
    assert look(frame(("ann", 0, 1), ("ann", rest, 0)), 99) == [("ann", 0.5)]
    assert look(frame(("ann", 0, 1), ("ann", rest + 0.01, 0)), 99) == [("ann", 1)]


def test_a_pair_without_a_time_takes_that_of_the_one_before_it() -> None:
    found = reader_stream(frame(("ann", 0, 1), ("ann", None, 0), ("bob", None, 1)))
    assert found.readers["pairs"].to_list() == [2]
    assert found.ledger.dropped == {TIMELESS: 1}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 90), st.integers(-1, 1)), max_size=25
    ),
    st.integers(0, 100),
)
def test_a_later_look_never_changes_what_an_earlier_one_has_seen(
    pairs: list[tuple[str, int, int]], quarters: int
) -> None:
    """The pairs by then, looked at then, are the beginning of all pairs looked at in the end."""
    then = quarters / 4
    timed = [(reader, at / 4, value) for reader, at, value in pairs]
    seen = look(frame(*(pair for pair in timed if pair[1] <= then)), then)
    assert look(frame(*timed), 99)[: len(seen)] == [
        (reader, pytest.approx(value)) for reader, value in seen
    ]
