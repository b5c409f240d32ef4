"""The count of what a reader saw and what became of it: nothing is skipped in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    def packed(self) -> list[Any]:
        """Return all of it as a short list for JSON; `of_packed` reads it."""
        return [self.name, self.seen, self.kept, self.repaired, self.dropped]

    @classmethod
    def of_packed(cls, packed: Sequence[Any]) -> Ledger:
        """Return the ledger that `packed` made a list of."""
        name, seen, kept, repaired, dropped = packed
        return cls(name, seen, kept, Counter(repaired), Counter(dropped))

    def to_dict(self) -> dict[str, Any]:
        """Return `{seen, kept, repaired, dropped}` for JSON; `repaired` and `dropped` by reason."""
        return {
            "seen": self.seen,
            "kept": self.kept,
            "repaired": sum(self.repaired.values()),
            "repaired_by": dict(sorted(self.repaired.items())),
            "dropped": dict(sorted(self.dropped.items())),
        }


class PackedLedgers(Mapping[str, Ledger]):
    """Ledgers of very many files by `<group>/<kind>`: half a kilobyte a group, and their sums.

    A ledger with its two counters takes as much as the ticks of a short session.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.sums: dict[str, Ledger] = {}
        self._groups: dict[str, bytes] = {}
        self._length = 0

    def add(self, group: str, ledgers: Mapping[str, Ledger]) -> None:
        """Add the complete ledgers of a group, by kind."""
        packed = {}
        for kind, ledger in ledgers.items():
            ledger.check()
            known = self.sums.get(kind)
            self.sums[kind] = known + ledger if known else replace(ledger, name=kind)
            packed[kind] = ledger.packed()
        self._groups[group] = json.dumps(packed).encode()
        self._length += len(packed)

    def groups(self) -> dict[str, bytes]:
        """Return what `take` takes: the packed ledgers of each group."""
        return self._groups

    def take(self, groups: Mapping[str, str | bytes]) -> None:
        """Add the groups of others, as `groups` returned them."""
        for group, packed in groups.items():
            ledgers = json.loads(packed)
            self.add(group, {kind: Ledger.of_packed(of_kind) for kind, of_kind in ledgers.items()})

    def __getitem__(self, name: str) -> Ledger:
        """Return the ledger of a file."""
        group, _, kind = name.rpartition("/")
        return Ledger.of_packed(json.loads(self._groups[group])[kind])

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the files."""
        for group, packed in self._groups.items():
            yield from (f"{group}/{kind}" for kind in json.loads(packed))

    def __len__(self) -> int:
        """Return the number of files."""
        return self._length


class LedgersAsJson(Mapping[str, dict[str, Any]]):
    """Ledgers as `Ledger.to_dict` returns them, each made when it is asked for; sorted by name."""

    def __init__(self, ledgers: Mapping[str, Ledger]) -> None:
        """Show these."""
        self._ledgers = ledgers

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return the entry of a file."""
        return self._ledgers[name].to_dict()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the files in their order."""
        return iter(sorted(self._ledgers))

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._ledgers)


def total(ledgers: Iterable[Ledger], name: str = "total") -> Ledger:
    """Add ledgers up under one name and check the sum."""
    out = Ledger(name)
    for ledger in ledgers:
        ledger.check()
        out = out + ledger
    out.check()
    return out
