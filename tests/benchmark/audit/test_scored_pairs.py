from __future__ import annotations

import math

import polars as pl
import pytest

from ifllm_hf.benchmark.audit.scored_pairs import ledger_of, refuse_nothing, with_reasons
from ifllm_hf.errors import DataError


def test_every_pair_that_cannot_be_used_says_why() -> None:
    rows = pl.DataFrame(
        {
            "preference": ["a", None, "tie", "b", "b", "a", "a"],
            "p_b": [0.4, 0.4, 0.4, None, math.nan, 0.4, 0.4],
            "held_out": [True, True, True, True, True, False, None],
        }
    )
    told = with_reasons(rows)
    knows = "scored by who knows the reader"
    assert told["why"].to_list() == [None, "no label", "tie", "no score", "no score", knows, knows]
    ledger = ledger_of(told)
    ledger.check()
    assert (ledger.seen, ledger.kept) == (7, 1)
    assert list(ledger.dropped) == ["no score", knows, "no label", "tie"]
    refuse_nothing(ledger, "sessions")
    with pytest.raises(DataError, match=r"sessions: .*2 no score"):
        refuse_nothing(ledger_of(told[1:]), "sessions")
