from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, RECORD_INFO, TABLE_COLUMNS
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS, WORKER_SCHEMA, K, build_workers
from ifllm_hf.errors import TableError

COLUMNS = TABLE_COLUMNS[RECORD_INFO]
PERSON = {
    "consent": "1",
    "age": "34.0",
    "education": "Bachelor",
    "race": "White",
    "gender": "Male",
    "inserted_at": "2025-11-18 03:24:10",
}
SILENT = {"consent": "1", "age": "", "education": "", "race": "", "gender": ""}


def record_info(*rows: dict[str, str]) -> pl.DataFrame:
    """Make a raw table of people like PERSON, named u000, u001 ... unless they have a name."""
    named = [PERSON | {"user_id": f"u{i:03}"} | row for i, row in enumerate(rows)]
    data = {c: [row.get(c, "") for row in named] for c in COLUMNS}
    frame = pl.DataFrame(data, schema=dict.fromkeys(COLUMNS, pl.String))
    return frame.with_columns(line=pl.int_range(2, pl.len() + 2), line_ends=False)


def smallest_groups(workers: pl.DataFrame) -> dict[tuple[str, ...], int]:
    """Count the people of the rarest combination, for every subset of quasi-identifiers."""
    return {
        columns: min(Counter(workers.select(columns).rows()).values())
        for size in range(1, len(QUASI_IDENTIFIERS) + 1)
        for columns in combinations(QUASI_IDENTIFIERS, size)
    }


def test_a_group_of_k_keeps_its_values() -> None:
    workers, ledger = build_workers(record_info(*[{}] * K), {"u000": 3})
    assert workers.schema == WORKER_SCHEMA
    assert set(workers.select(QUASI_IDENTIFIERS).rows()) == {("30-39", "Bachelor", "White", "Male")}
    assert workers["fold"].to_list()[:2] == [3, fold_of_unknown("u001")]
    assert ledger == Ledger("workers", seen=K, kept=K)


def test_a_group_of_less_than_k_keeps_nothing() -> None:
    workers, ledger = build_workers(record_info(*[{}] * (K - 1)), {})
    assert workers.select(QUASI_IDENTIFIERS).null_count().row(0) == (K - 1,) * 4
    assert ledger.kept == K - 1


def test_values_are_made_coarser_before_they_are_withheld() -> None:
    ages = [{"age": f"{a}.0"} for a in (21, 22, 23, 31, 32, 41, 42, 53, 61, 62)]
    workers, ledger = build_workers(record_info(*ages), {})
    assert workers["age"].to_list() == ["under 35"] * 5 + ["35 or older"] * 5
    assert ledger.repaired == {}


def test_a_few_odd_people_lose_as_little_as_will_do() -> None:
    people = [{}] * 60 + [{"race": "Asian"}] * 60
    odd = [{"gender": "Female"}] * 3 + [{"gender": "Female", "race": "Asian"}] * 2
    workers, ledger = build_workers(record_info(*people, *odd), {})
    # Three and two are too few; without their race they are five.
    assert set(workers["race"].to_list()[:120]) == {"White", "Asian"}
    assert (
        workers.select(QUASI_IDENTIFIERS).rows()[120:]
        == [("30-39", "Bachelor", None, "Female")] * 5
    )
    assert ledger.repaired == {"value_withheld": 5}


def test_where_withholding_costs_more_a_whole_column_goes() -> None:
    workers, ledger = build_workers(record_info(*[{}] * 60, {"gender": "Other"}), {})
    assert set(workers.select(QUASI_IDENTIFIERS).rows()) == {("30-39", "Bachelor", "White", None)}
    assert ledger.repaired == {}


def test_people_without_answers_are_kept_and_are_a_group() -> None:
    workers, _ = build_workers(record_info(*[{}] * 6, *[SILENT] * 2), {})
    assert workers.height == 8
    assert min(smallest_groups(workers).values()) >= K
    workers, _ = build_workers(record_info(*[{}] * 6, *[SILENT | {"consent": "0"}] * 5), {})
    assert workers["consent"].to_list() == [True] * 6 + [False] * 5
    assert workers["race"].to_list() == ["White"] * 6 + [None] * 5


def test_answers_without_consent_are_withheld() -> None:
    refused = {"consent": "0", "race": "Asian"}
    workers, ledger = build_workers(record_info(*[{}] * 5, *[refused] * 5), {})
    assert workers["race"].to_list() == ["White"] * 5 + [None] * 5
    assert ledger.repaired == {"no_consent": 5}


def test_an_impossible_age_is_taken_as_not_given() -> None:
    workers, ledger = build_workers(record_info(*[{"age": "999"}] * 5), {})
    assert workers["age"].to_list() == [None] * 5
    assert workers["race"].to_list() == ["White"] * 5
    assert ledger.repaired == {"implausible_age": 5}


def test_of_two_records_the_fuller_then_the_later_one_is_kept() -> None:
    old = {"user_id": "u000", "race": "Asian", "inserted_at": "2025-01-01 00:00:00"}
    empty = SILENT | {"user_id": "u000", "inserted_at": "2026-01-01 00:00:00"}
    workers, ledger = build_workers(record_info(*[{}] * 5, old, empty), {})
    assert workers["race"].to_list() == ["White"] * 5
    assert (ledger.seen, ledger.kept, ledger.dropped) == (7, 5, {"duplicate_worker": 2})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"user_id": ""}, "'user_id' is ''"),
        ({"consent": "yes"}, "'consent' is 'yes'"),
        ({"consent": ""}, "'consent' is ''"),
        ({"age": "thirty"}, "'age' is 'thirty'"),
        ({"inserted_at": "now"}, "'inserted_at' is 'now'"),
    ],
)
def test_a_bad_cell_is_named(row: dict[str, str], says: str) -> None:
    with pytest.raises(TableError, match=f"^{RECORD_INFO}, line 2: {says}"):
        build_workers(record_info(row), {})


def test_no_people() -> None:
    workers, ledger = build_workers(record_info(), {})
    assert workers.schema == WORKER_SCHEMA
    assert (workers.height, ledger.seen) == (0, 0)


answer = st.sampled_from
people = st.lists(
    st.fixed_dictionaries(
        {
            "consent": answer(["0", "1", "1", "1"]),
            "age": answer(["", "19", "25.0", "33", "38", "44", "57", "70", "500"]),
            "education": answer(["", "Bachelor", "Bachelor", "Master", "Associate", "Wizardry"]),
            "race": answer(["", "White", "White", "Asian", "Black", "Asian,White", "Other"]),
            "gender": answer(["", "Male", "Female", "Non-binary"]),
        }
    ),
    min_size=1,
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(people=people, seed=st.integers(0, 9))
def test_every_combination_is_shared_whatever_people_said(
    people: list[dict[str, str]], seed: int
) -> None:
    records = record_info(*people)
    workers, ledger = build_workers(records, {})
    assert workers["user_id"].to_list() == records["user_id"].to_list()
    assert min(smallest_groups(workers).values()) >= min(K, len(people))
    assert ledger.seen == len(people)
    shuffled = records.sample(fraction=1, shuffle=True, seed=seed)
    assert build_workers(shuffled, {})[0].equals(workers)


@settings(max_examples=40, deadline=None)
@given(people=people)
def test_what_is_published_is_true(people: list[dict[str, str]]) -> None:
    workers, _ = build_workers(record_info(*people), {})
    for said, row in zip(people, workers.iter_rows(named=True), strict=True):
        if said["consent"] == "0":
            assert not any(row[c] for c in QUASI_IDENTIFIERS)
        if row["age"] is not None:
            age, band = int(float(said["age"])), row["age"]
            numbers = [int(word) for word in re.findall(r"\d+", band)]
            if band.startswith("under"):
                assert age < numbers[0]
            elif band.endswith("or older"):
                assert age >= numbers[0]
            else:
                assert numbers[0] <= age <= numbers[1]
        if row["gender"] is not None:
            assert row["gender"] == said["gender"]
        if row["race"] not in (None, "other"):
            assert row["race"] == said["race"]
        if row["education"] is not None:
            assert said["education"]
            assert ("Master" in row["education"]) == (said["education"] == "Master")


def test_release_workers(release_cells: dict[str, pl.DataFrame]) -> None:
    records = release_cells[RECORD_INFO]
    workers, ledger = build_workers(records, {})
    assert ledger == Ledger(
        "workers",
        seen=258,
        kept=257,
        repaired={"value_withheld": 10},
        dropped={"duplicate_worker": 1},
    )
    assert set(workers.columns) == {"user_id", "consent", "fold", *QUASI_IDENTIFIERS}
    assert set(release_cells[QUERY_LOGS]["user_id"]) <= set(workers["user_id"])
    assert (~workers["consent"]).sum() == 45
    # Nothing of four given answers is lost for more than one reader in twenty.
    given = records.unique("user_id").filter(pl.col("age") != "").height
    assert given == 206
    for c in QUASI_IDENTIFIERS:
        assert workers[c].drop_nulls().n_unique() >= 2
        assert workers[c].count() >= 0.95 * given


def test_release_workers_are_k_anonymous_over_all_subsets(
    release_cells: dict[str, pl.DataFrame],
) -> None:
    workers, _ = build_workers(release_cells[RECORD_INFO], {})
    groups = smallest_groups(workers)
    assert len(groups) == 15
    assert min(groups.values()) >= K == 5
    # Consent is known to the collectors only, but even with it nobody stands alone.
    with_consent = Counter(workers.select("consent", *QUASI_IDENTIFIERS).rows())
    assert min(with_consent.values()) >= K
    # The raw answers would fail this.
    raw = release_cells[RECORD_INFO].unique("user_id").filter(pl.col("age") != "")
    counts = Counter(raw.select("age", "location", "education", "race", "gender").rows())
    assert sum(n == 1 for n in counts.values()) > 160
