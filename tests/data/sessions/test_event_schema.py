from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.events.page_loads import LEDGERS, count_refused, well_formed
from ifllm_hf.data.sessions.events.point_columns import _rules, points_of
from ifllm_hf.data.sessions.session_file import Session

BATCH = {
    "type": "batch",
    "tab": "tab00000",
    "seq": 0,
    "origin_epoch_ms": 0,
    "sent_epoch_ms": 0,
    "received_epoch_ms": 0,
    "events": [["x"]],
}


def test_a_batch_fits_whatever_its_events_are_if_they_are_not_looked_at() -> None:
    assert fits(BATCH, "batch_line", anything="event")
    assert not fits(BATCH, "batch_line")
    assert not fits({**BATCH, "events": 7}, "batch_line", anything="event")


@pytest.mark.parametrize("at_ms", [math.inf, math.nan, 10**400, "soon", None])
def test_what_json_cannot_hold_does_not_fit(at_ms: Any) -> None:
    assert fits({"type": "end", "at_epoch_ms": 1}, "end_line")
    assert not fits({"type": "end", "at_epoch_ms": at_ms}, "end_line")


@pytest.mark.parametrize(
    ("ends", "kept"),
    [((0, 0), 1), ((3, 9), 1), ((None, None), 1), ((9, 3), 0), ((None, 3), 0), ((3, None), 0)],
)
def test_a_visible_range_has_both_ends_in_order_or_neither(ends: Any, kept: int) -> None:
    ledgers = {name: Ledger(name) for name in LEDGERS}
    (found,) = well_formed([[["w", 1.0, 0, "A", *ends]]], ledgers)
    assert len(found.events) == kept
    assert ledgers["view"].dropped == ({} if kept else {"malformed": 1})


def test_what_the_server_left_out_is_in_the_ledger() -> None:
    line = {**BATCH, "events": [], "refused": {"pointer: out of range": 2, "unknown kind": 1}}
    assert fits(line, "batch_line")
    assert not fits({**line, "refused": {"x": 0}}, "batch_line")
    session = Session("s_" + "a" * 22, {}, batches=[line, {**BATCH, "events": []}])
    ledgers = {name: Ledger(name) for name in LEDGERS}
    count_refused(session, ledgers)
    assert (ledgers["pointer"].seen, ledgers["other"].seen) == (2, 1)
    assert "out of range" in next(iter(ledgers["pointer"].dropped))
    for ledger in ledgers.values():
        ledger.check()


def _mutations(event: list[Any]) -> Iterator[list[Any]]:
    """Yield an event with each of its places changed to all kinds of values, and cut or longer."""
    values = [None, True, False, 0, 1, 2, 1.0, 2.5, -1, 10**30, 1e300, "A", "mouse", "p", [], {}]
    for place in range(len(event)):
        for value in values:
            yield [*event[:place], value, *event[place + 1 :]]
    yield event[:-1]
    yield [*event, 0]


@pytest.mark.parametrize(
    "event",
    [
        ["p", 10.5, 0, "A", 5.5, 6.5, 1.5, 2.5, 3, 0.5, 0, "mouse"],
        ["p", 10, None, None, 5, 6, None, None, None, None, 31, "pen"],
        ["g", 10.5, 9999, "B", None, None, 1.5, 2.5, 3, 0.5, 1, 30.5],
    ],
)
def test_columns_take_what_fits_the_schema_and_nothing_else(event: list[Any]) -> None:
    taken = 0
    for number, mutation in enumerate(_mutations(event)):
        ledgers = {name: Ledger(name) for name in LEDGERS}
        (found,) = well_formed([[event, mutation, event]], ledgers)
        n_fit = 2 + fits(mutation, "event")
        assert len(found.events) == n_fit, mutation
        assert sum(ledger.dropped["malformed"] for ledger in ledgers.values()) == 3 - n_fit
        taken += n_fit == 3
        # By itself no slower look helps: what is taken column by column fits.
        name = "pointer" if event[0] == "p" else "gaze"
        by_column = points_of([event, mutation], np.arange(2), name, checked=False)
        assert by_column is None or n_fit == 3, (number, mutation)
    assert 10 < taken < number


def test_the_schema_of_points_is_one_that_columns_know() -> None:
    for name in ("pointer", "gaze"):
        assert _rules(name) is not None, "every event would be asked by itself"
