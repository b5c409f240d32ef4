from __future__ import annotations

import email.utils
import time

from ifllm_hf.retry import LONGEST_WAIT_S, pause_s, retry_after_s


def test_waits_double_up_to_a_minute() -> None:
    assert [pause_s(n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_spread_waits_are_half_of_that_or_more() -> None:
    for n in range(8):
        waits = [pause_s(n, spread=True) for _ in range(50)]
        assert pause_s(n) / 2 <= min(waits) < max(waits) <= pause_s(n)


def test_a_server_is_obeyed_up_to_a_minute() -> None:
    assert pause_s(5, 0.0) == 0.0
    assert pause_s(0, 7.5, spread=True) == 7.5
    assert pause_s(0, float("inf")) == LONGEST_WAIT_S


def test_retry_after_may_be_a_date() -> None:
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 27 < (retry_after_s({"retry-after": soon}) or 0) <= 30
    past = email.utils.formatdate(time.time() - 30, usegmt=True)
    assert retry_after_s({"retry-after": past}) == 0.0
    assert retry_after_s({"retry-after": "soon"}) is None and retry_after_s({}) is None
    assert retry_after_s({"retry-after": "-5"}) is retry_after_s({"retry-after": "nan"}) is None
