"""Hosts are compared as names, whatever a proxy made of them."""

from __future__ import annotations

import pytest

from ifllm_hf.capture.same_page import foreign_origin


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("http://space.example", {"host": "space.example"}),
        ("http://space.example:80", {"host": "space.example"}),
        ("https://space.example", {"host": "space.example:443"}),
        ("http://space.example:8080", {"host": "space.example"}),  # Host $host
        ("http://SPACE.example", {"host": "space.Example"}),
        ("http://space.example", {"host": "space.example."}),
        ("http://[::1]:8080", {"host": "[0:0:0:0:0:0:0:1]"}),
        ("http://[2001:db8::1]", {"host": "[2001:DB8:0::1]:7860"}),
        ("http://b\u00fccher.example", {"host": "xn--bcher-kva.example"}),
        ("http://space.example", {"host": "app:7860", "x-forwarded-host": "space.example"}),
        (
            "http://space.example",
            {"host": "o.example", "x-forwarded-host": "a.example, space.example"},
        ),
        (
            "http://space.example",
            {"host": "o.example", "forwarded": 'for=1;Host="space.example:81"'},
        ),
        # Names that only a proxy can have written:
        ("http://space.example", {"host": "127.0.0.1:7860"}),
        ("http://space.example", {"host": "[::1]:7860"}),
        ("http://space.example", {"host": "10.1.2.3"}),
        ("http://space.example", {"host": "backend"}),
        ("http://space.example", {"host": "app.internal:80"}),
        ("http://space.example", {"host": ""}),
        ("http://space.example", {}),
    ],
)
def test_our_own_page(origin: str, headers: dict[str, str]) -> None:
    assert foreign_origin({**headers, "origin": origin}) is None


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("http://evil.example", {"host": "space.example"}),
        ("http://space.example.evil.example", {"host": "space.example"}),
        ("null", {"host": "space.example"}),
        ("http://[::1", {"host": "space.example"}),
        ("http://evil.example", {"host": "127.0.0.1", "x-forwarded-host": "space.example"}),
        ("http://evil.example", {"host": "8.8.8.8"}),
    ],
)
def test_another_page(origin: str, headers: dict[str, str]) -> None:
    assert foreign_origin({**headers, "origin": origin})


def test_the_operator_may_name_the_address() -> None:
    headers = {"origin": "http://space.example", "host": "other.example"}
    assert foreign_origin(headers)
    assert foreign_origin(headers, "http://space.example:81/app") is None


def test_what_the_browser_says_goes_before_all_names() -> None:
    same = {"host": "space.example", "origin": "http://space.example"}
    assert foreign_origin({**same, "sec-fetch-site": "cross-site"})
    assert (
        foreign_origin({"host": "a", "origin": "http://b", "sec-fetch-site": "same-origin"}) is None
    )
