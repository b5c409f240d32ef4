"""The readers of a release, with what they said of themselves made k-anonymous.

In the release, most combinations of age, place, education, race and gender belong to one person.
Here every combination that occurs is shared by at least `K` people. Values are made coarser
first (age bands, "other"); single values are withheld only where that is not enough.

What stays and why: `user_id` is the pseudonym that joins the tables, and `fold` follows from it;
somebody who knows a reader knows neither. Numbers of turns or calibration scores are no
quasi-identifiers either, but they are left to the other tables, which have them anyway. Left out
for good: the place, and the time at which somebody signed up.

What this cannot do: whoever holds the original release can join its exact answers by `user_id`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations, product

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import (
    LINE_ENDS,
    RECORD_INFO,
    filled,
    instants,
    keep_all,
    require,
    whole_numbers,
)
from ifllm_hf.data.schema import SCHEMAS, polars_schema
from ifllm_hf.data.tables.folds import add_fold

#: How many people share each combination of quasi-identifiers, at least.
K = 5

#: What an outsider could know of a reader.
QUASI_IDENTIFIERS = ("age", "education", "race", "gender")

WORKER_SCHEMA = polars_schema(SCHEMAS["workers"])

# Values are made coarser until no more than this share of the people loses a value altogether.
_MAX_WITHHELD = 0.05
_PLAUSIBLE_AGE = (10, 110)

_EDUCATION_3 = {
    "High School Graduate": "below Bachelor",
    "Associate": "below Bachelor",
    "Bachelor": "Bachelor",
    "Master": "Master or higher",
    "Doctoral": "Master or higher",
}
_EDUCATION_2 = {
    "below Bachelor": "Bachelor or below",
    "Bachelor": "Bachelor or below",
    "Master or higher": "Master or higher",
}

_Value = str | None
_Person = tuple[_Value, ...]
_Level = Callable[[str], _Value]

_NOTHING: _Person = (None,) * len(QUASI_IDENTIFIERS)


def build_workers(
    record_info: pl.DataFrame, folds: Mapping[str, int]
) -> tuple[pl.DataFrame, Ledger]:
    """Build `workers` from the raw record table.

    Args:
        record_info: `record_info_table.csv` as `read_csv_table` returns it.
        folds: What `assign_folds` returned.

    Returns:
        One row per worker of the record table, sorted by `user_id`, columns of `WORKER_SCHEMA`;
        a null quasi-identifier was not given or is withheld. Where a worker has two rows, the one
        with more answers is kept, then the later. And the ledger of rows: `duplicate_worker`
        dropped; repaired `implausible_age` (taken as not given), `no_consent` (answers of somebody
        who did not consent are withheld), `line_ends` and `value_withheld` (for the sake of `K`).

    Raises:
        TableError: A cell that is not what its column holds.
    """
    people, duplicates = _one_row_per_worker(record_info)
    published, withheld = _anonymise(people.select(QUASI_IDENTIFIERS).rows())
    workers = people.select("user_id", "consent").with_columns(
        pl.Series(c, [person[i] for person in published], dtype=pl.String)
        for i, c in enumerate(QUASI_IDENTIFIERS)
    )
    ledger = Ledger("workers")
    repairs = {r: people[r] for r in ("implausible_age", "no_consent", LINE_ENDS)}
    keep_all(
        ledger, workers.height, repairs | {"value_withheld": pl.Series(withheld, dtype=pl.Boolean)}
    )
    ledger.drop("duplicate_worker", duplicates)
    ledger.check()
    workers = add_fold(workers, folds)
    return workers.select(pl.col(c).cast(t) for c, t in WORKER_SCHEMA.items()), ledger


def _one_row_per_worker(record_info: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Resolve duplicates and blank what must not be used; ages come back as digits."""
    require(record_info, "user_id", RECORD_INFO)
    answers = list(QUASI_IDENTIFIERS)
    consent = whole_numbers(record_info, "consent", RECORD_INFO, low=0, high=1, required=True)
    inserted_at, _ = instants(record_info, "inserted_at", RECORD_INFO)
    rows = record_info.select(
        "user_id",
        (consent == 1).alias("consent"),
        whole_numbers(record_info, "age", RECORD_INFO),
        filled("education"),
        filled("race"),
        filled("gender"),
        inserted_at,
        LINE_ENDS,
    )
    plausible = pl.col("age").is_between(*_PLAUSIBLE_AGE)
    rows = rows.with_columns(
        (~plausible).fill_null(False).alias("implausible_age"),
        pl.when(plausible).then("age").cast(pl.String),
    )
    rows = rows.with_columns(
        (~pl.col("consent") & pl.any_horizontal(pl.col(answers).is_not_null())).alias("no_consent"),
        *(pl.when("consent").then(c).alias(c) for c in answers),
        pl.sum_horizontal(pl.col(answers).is_not_null()).alias("answers"),
    ).with_row_index("row")
    people = (
        rows.sort(["answers", "inserted_at", "row"], descending=True, nulls_last=True)
        .unique("user_id", keep="first", maintain_order=True)
        .sort("user_id")
    )
    return people, rows.height - people.height


def _anonymise(given: list[_Person]) -> tuple[list[_Person], list[bool]]:
    """Choose how coarse each column is, and withhold the few values that still stand out.

    Of all choices by which no more than `_MAX_WITHHELD` of the people lose a value, the one that
    says most is taken; of two that say the same, the finer.

    Returns:
        The combination of each person, and whether a value of theirs was withheld.
    """
    patterns = Counter(given)
    columns = [Counter(column) for column in zip(*given, strict=True)]
    levels: list[list[_Level]] = [
        _age_levels(),
        _education_levels(),
        _race_levels(columns[2] if columns else Counter()),
        [_as_given, _nothing],
    ]
    # Every level as a dictionary: a choice of four levels is tried on every pattern.
    tables: list[list[dict[_Value, _Value]]] = [
        [{v: None if v is None else level(v) for v in column} for level in of_column]
        for column, of_column in zip(columns, levels, strict=False)
    ]
    limit = _MAX_WITHHELD * sum(n for p, n in patterns.items() if p != _NOTHING)
    best: tuple[list[_Person], list[bool]] = ([], [])
    most = -1.0
    for age, education, race, gender in product(*tables) if given else ():
        coarse: dict[_Person, _Person] = {
            (a, e, r, g): (age[a], education[e], race[r], gender[g]) for a, e, r, g in patterns
        }
        groups: Counter[_Person] = Counter()
        for pattern, n in patterns.items():
            groups[coarse[pattern]] += n
        if sum(n for p, n in groups.items() if n < K and p != _NOTHING) > limit:
            continue
        becomes = withhold_rare(groups)
        final: Counter[_Person] = Counter()
        for pattern, n in groups.items():
            final[becomes[pattern]] += n
        lost = sum(n for p, n in groups.items() if becomes[p] != p)
        if lost <= limit and _information(final) > most:
            most = _information(final)
            best = (
                [becomes[coarse[person]] for person in given],
                [becomes[coarse[person]] != coarse[person] for person in given],
            )
    return best


def withhold_rare(patterns: Counter[_Person]) -> dict[_Person, _Person]:
    """Blank as few cells as will do until no combination is shared by fewer than K people."""
    groups = patterns.copy()
    becomes = {pattern: pattern for pattern in groups}

    def move(members: list[_Person], target: _Person) -> None:
        for member in members:
            groups[target] += groups.pop(member)
            for pattern, now in becomes.items():
                if now == member:
                    becomes[pattern] = target

    while small := [p for p, n in groups.items() if n < K and p != _NOTHING]:
        smallest = min(small, key=lambda p: (groups[p], [v or "" for v in p]))
        move(*_cheapest_merger(smallest, small, groups))
    others = sorted((n, [v or "" for v in p], p) for p, n in groups.items() if p != _NOTHING)
    if 0 < groups[_NOTHING] < K and others:
        # People who gave no answer at all are a group of their own, and too small a one.
        move([others[0][2]], _NOTHING)
    return becomes


def _cheapest_merger(
    pattern: _Person, small: list[_Person], groups: Counter[_Person]
) -> tuple[list[_Person], _Person]:
    """Find the fewest cells of `pattern` to blank so that it and others reach K people.

    Other small groups that look the same without those cells come along.
    """
    filled_cells = [i for i, value in enumerate(pattern) if value is not None]
    for size in range(1, len(filled_cells) + 1):
        found: list[tuple[int, tuple[int, ...], list[_Person], _Person]] = []
        for blank in combinations(filled_cells, size):
            target = _blanked(pattern, blank)
            members = [p for p in small if p != target and _blanked(p, blank) == target]
            people = groups[target] + sum(groups[p] for p in members)
            if people >= K or size == len(filled_cells):
                found.append((people, blank, members, target))
        if found:
            _, _, members, target = min(found, key=lambda f: f[:2])
            return members, target
    raise AssertionError("a pattern without values has no cell to blank")


def _blanked(person: _Person, blank: tuple[int, ...]) -> _Person:
    return tuple(None if i in blank else value for i, value in enumerate(person))


def _information(groups: Counter[_Person]) -> float:
    """Sum the surprise, in bits, of every published value given its column alone."""
    # One more than there are, so that a value that all share still says more than none.
    people = sum(groups.values()) + 1
    bits = 0.0
    for column in range(len(QUASI_IDENTIFIERS)):
        counts: Counter[_Value] = Counter()
        for pattern, n in groups.items():
            counts[pattern[column]] += n
        bits -= sum(n * math.log2(n / people) for v, n in counts.items() if v is not None)
    return bits


def _as_given(value: str) -> _Value:
    return value


def _nothing(value: str) -> _Value:
    return None


def _age_levels() -> list[_Level]:
    def decade(age: str) -> str:
        tens = int(age) // 10 * 10
        return "under 20" if tens < 20 else "60 or older" if tens >= 60 else f"{tens}-{tens + 9}"

    def three(age: str) -> str:
        return "under 35" if int(age) < 35 else "35-49" if int(age) < 50 else "50 or older"

    def two(age: str) -> str:
        return "under 35" if int(age) < 35 else "35 or older"

    return [decade, three, two, _nothing]


def _education_levels() -> list[_Level]:
    def three(education: str) -> str:
        return _EDUCATION_3.get(education, "other")

    def two(education: str) -> str:
        return _EDUCATION_2.get(three(education), "other")

    return [_as_given, three, two, _nothing]


def _race_levels(counts: Counter[_Value]) -> list[_Level]:
    common = sorted((r for r in counts if r is not None), key=lambda r: (-counts[r], r))

    def keep_most_common(n: int) -> _Level:
        kept = frozenset(common[:n])
        return lambda race: race if race in kept else "other"

    return [_as_given, keep_most_common(2), keep_most_common(1), _nothing]
