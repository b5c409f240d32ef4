"""The index answers as a dictionary would, in a fraction of its memory."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.capture.server.batch_index import BatchIndex

SEQS = st.integers(0, 200) | st.integers(0, 10_000_000)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), SEQS), unique=True), st.integers(0, 60))
def test_index_is_a_dictionary(batches: list[tuple[str, int]], cut: int) -> None:
    index, truth = BatchIndex(), {}
    for end, (tab, seq) in enumerate(batches):
        index.add(tab, seq, end)
        truth[tab, seq] = end
    asked = [*batches, ("a", 7), ("b", 0), ("c", 1)]
    assert [index.end_of(*key) for key in asked] == [truth.get(key) for key in asked]
    index.cut_to(cut)
    kept = {key: end for key, end in truth.items() if end <= cut}
    assert [index.end_of(*key) for key in asked] == [kept.get(key) for key in asked]


def test_numbers_that_jump_ahead_take_no_room() -> None:
    index = BatchIndex()
    for seq in range(0, 10_000_000, 100_000):
        index.add("a", seq, seq)
    assert sum(sys.getsizeof(ends) for ends in index._dense.values()) < 10_000
    assert index.end_of("a", 9_900_000) == 9_900_000


def test_numbers_that_come_late_take_no_room_either() -> None:
    index = BatchIndex()
    for seq in (0, 3, 1, 2, 0, 3):
        index.add("a", seq, seq)
    assert {tab: len(ends) for tab, ends in index._dense.items()} == {"a": 4}
