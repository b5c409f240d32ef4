"""How many mutants were noticed, with an interval, and which were not."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

KILLED, SURVIVED, UNCLEAR = "killed", "survived", "unclear"
_Z_95 = 1.959964


@dataclass(frozen=True)
class Tally:
    """What became of the mutants of a room.

    Attributes:
        killed: A test failed.
        survived: No test failed, and the change does change something.
        equivalent: No test failed, and none could: listed in `equivalent.toml`.
        unclear: The tests failed or took too long without the change, too.
    """

    killed: int = 0
    survived: int = 0
    equivalent: int = 0
    unclear: int = 0

    def line(self, room: str) -> str:
        """Return the row of the table."""
        n = self.killed + self.survived
        counts = f"{self.killed:8}{self.survived:10}{self.equivalent:12}{self.unclear:9}"
        if not n:
            return f"{room:10}{counts}"
        low, high = wilson(self.killed, n)
        return f"{room:10}{counts}{self.killed / n:8.1%}  [{low:.1%}, {high:.1%}]"


HEAD = f"{'room':10}{'killed':>8}{'survived':>10}{'equivalent':>12}{'unclear':>9}{'rate':>8}  95 %"


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of `n` > 0."""
    share, z2 = hits / n, _Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def equivalents() -> dict[Any, str]:
    """Return why a change changes nothing, by file and by its lines before and after."""
    text = Path(__file__).with_name("equivalent.toml").read_text("utf-8")
    listed = tomllib.loads(text).get("mutant", [])
    return {(m["file"], m["was"], m["now"]): m["why"] for m in listed}


def tally(results: Iterable[Mapping[str, Any]], listed: Mapping[Any, str]) -> Tally:
    """Count results by status.

    Raises:
        ValueError: A change that is listed as equivalent made a test fail.
    """
    counts = dict.fromkeys((KILLED, SURVIVED, "equivalent", UNCLEAR), 0)
    for result in results:
        status = result["status"]
        if (result["file"], result["was"], result["now"]) in listed:
            if status == KILLED:
                raise ValueError(
                    f"{result['file']}:{result['line']}: listed as equivalent, but {result['by']} "
                    "fails. Take it out of equivalent.toml"
                )
            status = "equivalent"
        counts[status] += 1
    return Tally(**counts)


def survivors(results: Iterable[Mapping[str, Any]], listed: Mapping[Any, str]) -> list[str]:
    """Return the changes that nothing noticed, as text."""
    return [
        f"{r['file']}:{r['line']} {r['status']} ({r['operator']}, {r['tests']} tests)\n"
        f"  - {r['was']}\n  + {r['now']}"
        for r in sorted(results, key=lambda r: (r["file"], r["line"]))
        if r["status"] != KILLED and (r["file"], r["was"], r["now"]) not in listed
    ]
