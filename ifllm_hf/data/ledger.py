"""The count of what a reader saw and what became of it: nothing is skipped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """Rows of one table or file: seen, kept, repaired (a part of kept) and dropped by reason.

    Attributes:
        name: What was counted: a table (`query_logs`), a file kind (`rel_gaze_one`), a file.
        seen: Records that the source holds.
        kept: Records that reached the table.
        repaired: Kept records that needed mending, by what was mended.
        dropped: Records left out, by reason.
    """

    name: str
    seen: int = 0
    kept: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def keep(self, n: int = 1, *, repaired: str | None = None) -> None:
        """Count `n` records as seen and kept, under `repaired` if they needed mending."""
        self.seen += n
        self.kept += n
        if repaired is not None:
            self.repair(repaired, n)

    def drop(self, reason: str, n: int = 1) -> None:
        """Count `n` records as seen and left out for `reason`."""
        self.seen += n
        if n:
            self.dropped[reason] += n

    def repair(self, reason: str, n: int = 1) -> None:
        """Mark `n` records that were already kept as mended."""
        if n:
            self.repaired[reason] += n

    def check(self) -> None:
        """Raise AssertionError unless every record seen is accounted for."""
        dropped = sum(self.dropped.values())
        if self.seen != self.kept + dropped:
            raise AssertionError(
                f"{self.name}: {self.seen} rows seen, but {self.kept} kept + {dropped} dropped; "
                "this is a defect of the reader, please report it"
            )

    def __add__(self, other: Ledger) -> Ledger:
        """Return the sum under this ledger's name."""
        return Ledger(
            self.name,
            self.seen + other.seen,
            self.kept + other.kept,
            self.repaired + other.repaired,
            self.dropped + other.dropped,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return `{seen, kept, repaired, dropped}` for JSON; `repaired` and `dropped` by reason."""
        return {
            "seen": self.seen,
            "kept": self.kept,
            "repaired": sum(self.repaired.values()),
            "repaired_by": dict(sorted(self.repaired.items())),
            "dropped": dict(sorted(self.dropped.items())),
        }


def total(ledgers: Iterable[Ledger], name: str = "total") -> Ledger:
    """Add ledgers up under one name and check the sum."""
    out = Ledger(name)
    for ledger in ledgers:
        ledger.check()
        out = out + ledger
    out.check()
    return out
