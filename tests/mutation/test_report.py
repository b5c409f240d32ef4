"""The count of mutants is right, and the tests chosen to judge one are those that can notice it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutation.covering import Covering
from tests.mutation.report import Tally, equivalents, survivors, tally, wilson
from tests.mutation.rooms import ROOMS, ROOT, mirrored


def result(status: str, was: str = "a < b") -> dict[str, Any]:
    return {
        **{"file": "x.py", "line": 3, "operator": "o", "was": was, "now": "a <= b"},
        **{"status": status, "by": "test_a", "tests": 2},
    }


def test_an_interval_of_shares() -> None:
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_change_listed_as_equivalent_counts_for_neither_side() -> None:
    listed = {("x.py", "a < b", "a <= b"): "a is never b"}
    results = [result("killed", "c"), result("survived"), result("survived", "d")]
    assert tally(results, listed) == Tally(killed=1, survived=1, equivalent=1)
    assert [s.splitlines()[1] for s in survivors(results, listed)] == ["  - d"]
    with pytest.raises(ValueError, match=r"x\.py:3: listed as equivalent, but test_a"):
        tally([result("killed")], listed)


def test_every_equivalent_change_names_a_line_that_is_there_and_says_why() -> None:
    for (file, was, now), why in equivalents().items():
        lines = [line.strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
        assert set(was.split("\n")) <= set(lines), f"{file}: {was!r} is gone: drop the entry"
        assert was != now and why


def test_every_room_has_files_and_tests() -> None:
    for room in ROOMS.values():
        assert room.sources()
        assert all((ROOT / place).exists() for place in room.tests)
    assert mirrored("ifllm_hf/a/b.py", "tests/a/test_b_real.py::test_x[1]")
    assert not mirrored("ifllm_hf/a/b.py", "tests/a/test_bc.py::test_x")


def test_what_a_shared_fixture_runs_is_judged_by_all_that_ask_for_it() -> None:
    fixture = "made of tests/a"
    tests = ["tests/a/t.py::one", "tests/a/t.py::two", "tests/b/t.py::three"]
    covering = Covering(
        {
            "lines": {"x.py": {"7": [fixture], "8": [tests[2]]}},
            "seconds": {fixture: 3.0, tests[0]: 2.0, tests[1]: 1.0, tests[2]: 0.5},
            "fixtures": {tests[0]: [fixture], tests[1]: [fixture], tests[2]: []},
        }
    )
    assert covering.tests("x.py", [7]) == set(tests[:2])
    assert covering.cost(tests[:2]) == 6.0  # the fixture is made once
    assert covering.judges("x.py", set(tests)) == [tests[2], tests[1], tests[0]]
