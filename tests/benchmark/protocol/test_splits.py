from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.benchmark.protocol.splits import GROUP_COLUMN, REPEATS, Split, make_splits
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.dwell_turns import make_turns


def ids_of(rows: pl.DataFrame, split: Split) -> tuple[frozenset[int], frozenset[int]]:
    ids = rows["query_id"].to_numpy()
    return frozenset(ids[split.train].tolist()), frozenset(ids[split.test].tolist())


@st.composite
def keyed(draw: st.DrawFn) -> pl.DataFrame:
    workers = draw(st.lists(st.integers(1, 9), min_size=5, max_size=15))
    rows = []
    for w, n in enumerate(workers):
        for i in range(n):
            rows.append((f"w{w}", f"w{w}/{i // 3}", len(rows) * 7 % 1009, 1000 * w + i))
    frame = pl.DataFrame(
        rows, schema=["user_id", "conversation_id", "query_id", "asked_at"], orient="row"
    )
    return frame.with_columns(pl.col("asked_at").cast(pl.Datetime("us", "UTC")))


@pytest.mark.parametrize("protocol", ["rows", "conversation", "worker"])
@given(rows=keyed(), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_every_row_is_tested_once_per_repeat_and_no_group_is_on_both_sides(
    protocol: str, rows: pl.DataFrame, seed: int
) -> None:
    splits = make_splits(rows, protocol, repeats=2, seed=seed)
    groups = rows[GROUP_COLUMN[protocol]].to_numpy()
    for repeat in (0, 1):
        tested = np.concatenate([s.test for s in splits if s.repeat == repeat])
        assert sorted(tested.tolist()) == list(range(len(rows)))
    for s in splits:
        assert not set(groups[s.train]) & set(groups[s.test])
        assert len(s.train) + len(s.test) == len(rows)
        assert len(s.test)


@pytest.mark.parametrize("protocol", list(REPEATS))
@given(rows=keyed(), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_shuffled_rows_give_the_same_split(protocol: str, rows: pl.DataFrame, seed: int) -> None:
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=seed)
    repeats = 1 if protocol == "future" else 2
    first = make_splits(rows, protocol, repeats=repeats, seed=seed)
    second = make_splits(shuffled, protocol, repeats=repeats, seed=seed)
    assert [ids_of(rows, s) for s in first] == [ids_of(shuffled, s) for s in second]


@given(rows=keyed())
@settings(max_examples=25, deadline=None)
def test_future_trains_on_earlier_dates_and_other_workers(rows: pl.DataFrame) -> None:
    when, who = rows["asked_at"].to_physical().to_numpy(), rows["user_id"].to_numpy()
    tested: list[int] = []
    for s in make_splits(rows, "future"):
        assert when[s.train].max() < when[s.test].min()
        assert not set(who[s.train]) & set(who[s.test])
        tested += s.test.tolist()
    assert len(tested) == len(set(tested))


def test_future_tests_a_worker_in_the_block_where_it_was_first_seen() -> None:
    rows = pl.DataFrame(
        {
            "query_id": range(10),
            "user_id": ["u", "u", "v", "u", "v", "w", "w", "x", "x", "w"],
            "conversation_id": ["c"] * 10,
            "asked_at": pl.Series(range(10)).cast(pl.Datetime("us", "UTC")),
        }
    )
    found = [(s.train.tolist(), s.test.tolist()) for s in make_splits(rows, "future", folds=5)]
    assert found == [
        ([0, 1], [2, 4]),
        ([0, 1, 2, 3], [5, 6, 9]),
        ([0, 1, 2, 3, 4, 5], [7, 8]),
    ]


def test_a_turn_without_a_date_is_placed_by_its_id() -> None:
    rows = make_turns(workers=8)
    dateless = rows.with_columns(
        asked_at=pl.when(pl.int_range(pl.len()) == 30).then(None).otherwise(pl.col("asked_at"))
    )
    for one, two in zip(make_splits(rows, "future"), make_splits(dateless, "future"), strict=True):
        assert one.test.tolist() == two.test.tolist()
    with pytest.raises(DataError, match="no turn has a date"):
        make_splits(rows.with_columns(asked_at=pl.lit(None, rows["asked_at"].dtype)), "future")


def test_seeds_and_repeats_differ_and_repeat_themselves(turns: pl.DataFrame) -> None:
    first = [ids_of(turns, s) for s in make_splits(turns, "worker", repeats=3, seed=1)]
    again = [ids_of(turns, s) for s in make_splits(turns, "worker", repeats=3, seed=1)]
    other = [ids_of(turns, s) for s in make_splits(turns, "worker", repeats=3, seed=2)]
    assert first == again
    assert first != other
    assert first[:5] != first[5:10]


def test_more_repeats_leave_the_first_ones_alone(turns: pl.DataFrame) -> None:
    few = make_splits(turns, "worker", repeats=2)
    many = make_splits(turns, "worker", repeats=5)
    assert [s.test.tolist() for s in few] == [s.test.tolist() for s in many[:10]]


def test_folds_are_of_similar_size() -> None:
    rows = make_turns(workers=40)
    sizes = [len(s.test) for s in make_splits(rows, "worker", repeats=4)]
    assert max(sizes) - min(sizes) <= 9


def test_a_worker_seen_once_is_tested_like_any_other(turns: pl.DataFrame) -> None:
    rows = turns.with_columns(
        user_id=pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.lit("loner"))
        .otherwise(pl.col("user_id"))
    )
    tested = [s for s in make_splits(rows, "worker", repeats=1) if 0 in s.test]
    assert len(tested) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"protocol": "random"}, ConfigError, "'random'"),
        ({"folds": 1}, ConfigError, "1 folds"),
        ({"repeats": 0}, ConfigError, "0 repeats"),
        ({"folds": 13}, DataError, "12 .*user_id .*13 folds"),
    ],
)
def test_impossible_requests_are_refused(
    turns: pl.DataFrame, change: dict, error: type[Exception], message: str
) -> None:
    settings_ = {"protocol": "worker", "repeats": 1, "folds": 5} | change
    with pytest.raises(error, match=message):
        make_splits(turns, settings_.pop("protocol"), **settings_)


def test_future_without_late_workers_is_refused(turns: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no later worker"):
        make_splits(turns.with_columns(user_id=pl.lit("one")), "future")
