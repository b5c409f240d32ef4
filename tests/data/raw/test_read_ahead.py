"""The thread behind a source: order, bounds, errors and a clean end."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing

import pytest

from ifllm_hf.data.raw.read_ahead import read_ahead


def test_items_come_in_order_and_the_thread_ends() -> None:
    before = threading.active_count()
    with closing(read_ahead((i for i in range(100)), depth=3)) as ahead:
        assert list(ahead) == list(range(100))
    assert threading.active_count() == before


def test_it_runs_no_further_ahead_than_its_depth() -> None:
    made: list[int] = []
    stuck = threading.Event()

    def items() -> Generator[int, None, None]:
        for i in range(100):
            made.append(i)
            if i == 5:
                stuck.set()
            yield i

    with closing(read_ahead(items(), depth=3)) as ahead:
        taken = iter(ahead)
        assert [next(taken), next(taken)] == [0, 1]
        assert stuck.wait(5)
        # Two taken, three waiting, and one made that finds no room.
        assert not threading.Event().wait(0.05)
        assert made == [0, 1, 2, 3, 4, 5]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise ValueError("broken")

    seen: list[int] = []
    with closing(read_ahead(items(), depth=4)) as ahead, pytest.raises(ValueError, match="broken"):
        seen.extend(ahead)
    assert seen == [1, 2]


def test_leaving_early_closes_the_generator() -> None:
    closed = threading.Event()
    before = threading.active_count()

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with pytest.raises(KeyError), closing(read_ahead(items(), depth=2)) as ahead:
        for _ in ahead:
            raise KeyError
    assert closed.is_set()
    assert threading.active_count() == before
