from __future__ import annotations

import math
from typing import Any

import pytest

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import fits
from ifllm_hf.data.sessions.events import LEDGERS, count_refused, well_formed
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
    assert len(well_formed([["w", 1.0, 0, "A", *ends]], ledgers)) == kept
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
