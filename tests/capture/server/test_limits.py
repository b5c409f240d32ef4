from __future__ import annotations

import pytest

from ifllm_hf.capture.server.limits import AddressHash, RateLimit


def test_rate_limit_counts_per_key_and_forgets() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(60)] == [0.0] * 60
    assert limit.take("a") == pytest.approx(1.0)
    assert limit.take("b") == 0
    now[0] += 2
    assert [bool(limit.take("a")) for _ in range(3)] == [False, False, True]
    assert limit.wait_s("b") == 0


def test_rate_limit_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from ifllm_hf.capture.server import limits

    monkeypatch.setattr(limits, "_KEYS_MAX", 100)
    limit = RateLimit(60)
    for number in range(1000):
        limit.take(str(number))
    assert len(limit._left) == 100


def test_address_is_the_one_that_trusted_proxies_saw() -> None:
    none, one, two = (AddressHash(n) for n in (0, 1, 2))
    assert none.key("a", "x, y") == none.key("a", "")
    assert one.key("p", "forged, real") == one.key("q", "other, real")
    assert one.key("p", "forged, real") != one.key("p", "real, forged")
    assert two.key("p", "f, real, proxy") == two.key("p", "real, proxy2") == two.key("p", "real, z")
    assert one.key("p", "") == one.key("p", " , ")
    assert "real" not in one.key("p", "real") and len(one.key("p", "real")) == 16
    assert AddressHash(1).key("p", "real") != one.key("p", "real"), "the salt is new at each start"
