from __future__ import annotations

import hashlib
from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TASK_TABLE
from ifllm_hf.data.tables.folds import FOLDS, add_fold, assign_folds, fold_of_unknown
from ifllm_hf.data.tables.tasks import build_tasks
from ifllm_hf.data.tables.turns import build_turns


def turns_of(pairs: dict[str, int], *, unlabelled: int = 1) -> pl.DataFrame:
    """Make a table in which each worker has so many labelled pairs and some other turns."""
    rows: list[tuple[str, str, str | None]] = []
    for user_id, n in pairs.items():
        rows += [(user_id, "pairwise", "a")] * n
        rows += [(user_id, "pairwise", None)] * unlabelled
        rows += [(user_id, "pointwise", None)] * unlabelled
    schema = {"user_id": pl.String, "kind": pl.String, "preference": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_largest_first_to_the_emptiest_fold() -> None:
    pairs = {"big": 9, "e": 5, "d": 5, "c": 4, "b": 3, "a": 2, "none": 0}
    folds = assign_folds(turns_of(pairs))
    # big 0; d before e (ties by id); c 3; b 4; a joins the fold of b, which has the fewest pairs;
    # none joins c: its fold has the fewest pairs.
    assert folds == {"big": 0, "d": 1, "e": 2, "c": 3, "b": 4, "a": 4, "none": 3}


def test_ties_go_to_fewest_workers_then_lowest_number() -> None:
    folds = assign_folds(turns_of(dict.fromkeys("abcdefg", 0)))
    assert folds == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 0, "g": 1}


def test_few_pairs_go_before_few_workers() -> None:
    pairs = {"a": 8, "b": 8, "c": 8, "d": 4, "e": 3, "f": 3, "g": 2, "h": 2, "i": 2}
    folds = assign_folds(turns_of(pairs))
    # a 0, b 1, c 2; d 3, e 4; then always to the fold with fewest pairs, however many share it:
    # f joins e (3 pairs against 4), g joins d (4 against 6), and so on.
    assert folds == {
        **{"a": 0, "b": 1, "c": 2},
        **{"d": 3, "e": 4, "f": 4, "g": 3, "h": 3, "i": 4},
    }
    # Of folds with as many pairs the one with fewer workers is next.
    assert assign_folds(turns_of({**pairs, "j": 0}))["j"] == 0
    level = {"a": 4, "b": 4, "c": 4, "d": 2, "e": 2, "f": 2, "g": 2, "z": 0}
    assert assign_folds(turns_of(level))["z"] == 0


def test_the_readers_of_the_release_stay_in_their_folds(
    release_cells: dict[str, pl.DataFrame],
) -> None:
    """The published split: whoever is compared with our figures must have the same one."""
    tasks, _ = build_tasks(release_cells[TASK_TABLE])
    turns, _ = build_turns(release_cells[QUERY_LOGS], tasks)
    folds = assign_folds(turns)
    readers = Counter(folds.values())
    pairs = Counter(folds[u] for u in turns.filter(labelled_pairs())["user_id"])
    assert [readers[f] for f in range(FOLDS)] == [9, 13, 14, 37, 14]
    assert [pairs[f] for f in range(FOLDS)] == [157, 158, 158, 156, 158]
    told = "".join(f"{user} {folds[user]}\n" for user in sorted(folds))
    assert hashlib.sha256(told.encode()).hexdigest().startswith("19f229bf6c4c3889")
    of_named = {"worker_baa3f9fa": 0, "worker_e4599a05": 4, "worker_6f6aa746": 4}
    assert {user: folds[user] for user in of_named} == of_named


def labelled_pairs() -> pl.Expr:
    return (pl.col("kind") == "pairwise") & pl.col("preference").is_not_null()


workers = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(0, 12), max_size=12
)


@settings(deadline=None, max_examples=50)
@given(pairs=workers, seed=st.integers(0, 99))
def test_order_of_rows_changes_nothing(pairs: dict[str, int], seed: int) -> None:
    turns = turns_of(pairs)
    shuffled = turns.sample(fraction=1, shuffle=True, seed=seed)
    assert assign_folds(shuffled) == assign_folds(turns)


@settings(deadline=None, max_examples=50)
@given(pairs=workers)
def test_folds_differ_by_no_more_than_the_largest_worker(pairs: dict[str, int]) -> None:
    folds = assign_folds(turns_of(pairs))
    assert set(folds) == set(pairs)
    load = [sum(n for u, n in pairs.items() if folds[u] == f) for f in range(FOLDS)]
    assert max(load) - min(load) <= max(pairs.values(), default=0)


def test_an_unknown_worker_gets_a_fold_from_the_id_alone() -> None:
    assert fold_of_unknown("wörker") == int(hashlib.sha256("wörker".encode()).hexdigest(), 16) % 5
    assert {fold_of_unknown(f"u{i}") for i in range(100)} == set(range(FOLDS))


def test_add_fold_uses_known_folds_first() -> None:
    frame = add_fold(pl.DataFrame({"user_id": ["x", "y", "x"]}), {"x": 4})
    assert frame["fold"].to_list() == [4, fold_of_unknown("y"), 4]
    assert frame["fold"].dtype == pl.Int8


def test_add_fold_of_an_empty_table() -> None:
    frame = add_fold(pl.DataFrame({"user_id": []}, schema={"user_id": pl.String}), {})
    assert frame.schema == {"user_id": pl.String, "fold": pl.Int8}
