"""What `ifllm label --source actions` and `--unpaired` say about the file that they wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ifllm_hf.alignment.labels.actions.reliability import LEAST_RATED, RuleReliability
from ifllm_hf.data.ledger import Ledger


@dataclass
class TextLengths:
    """Sums of the lengths of the texts of one rule.

    Attributes:
        n: Pairs, or answers.
        chosen: Characters and words of the chosen (or wanted) ones.
        rejected: Characters and words of the rejected (or unwanted) ones.
        n_chosen: How many there are of the first.
        n_rejected: And of the second.
        longer: Pairs whose chosen answer has more characters.
    """

    n: int = 0
    chosen: list[int] = field(default_factory=lambda: [0, 0])
    rejected: list[int] = field(default_factory=lambda: [0, 0])
    n_chosen: int = 0
    n_rejected: int = 0
    longer: int = 0

    def add_pair(self, chosen: str, rejected: str) -> None:
        """Count a pair."""
        self.add(chosen, wanted=True)
        self.add(rejected, wanted=False)
        self.n -= 1
        self.longer += len(chosen) > len(rejected)

    def add(self, text: str, *, wanted: bool) -> None:
        """Count an answer."""
        self.n += 1
        sums = self.chosen if wanted else self.rejected
        sums[0] += len(text)
        sums[1] += len(text.split())
        self.n_chosen += wanted
        self.n_rejected += not wanted

    def to_dict(self) -> dict[str, Any]:
        """Return the means as JSON; null where there is nothing."""
        means = {}
        for side, sums, n in (
            ("chosen", self.chosen, self.n_chosen),
            ("rejected", self.rejected, self.n_rejected),
        ):
            for unit, total in zip(("chars", "words"), sums, strict=True):
                means[f"{side}_{unit}"] = total / n if n else None
        return {"n": self.n, "longer": self.longer, **means}


@dataclass(frozen=True)
class ActionReport:
    """What was written and what it rests on.

    Attributes:
        path: Name of the file.
        source: `actions` or `explicit`.
        unpaired: Whether its rows are single answers.
        rows: Rows of the file.
        readers: Readers in the file.
        ledgers: Of `questions` and `answers`: seen, kept, dropped by reason; and of `pairs` or
            `judgements`: what rules named, and why some of it is not in the file.
        rules: What is known of each rule.
        lengths: By rule, what its texts are long.
        settings: Rules and judge_fold.
    """

    path: str
    source: str
    unpaired: bool
    rows: int
    readers: int
    ledgers: Mapping[str, Ledger]
    rules: Mapping[str, RuleReliability]
    lengths: Mapping[str, TextLengths]
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            **{name: getattr(self, name) for name in ("path", "source", "unpaired", "rows")},
            "readers": self.readers,
            "ledgers": {name: ledger.to_dict() for name, ledger in self.ledgers.items()},
            "rules": {name: rule.to_dict() for name, rule in self.rules.items()},
            "lengths": {name: lengths.to_dict() for name, lengths in self.lengths.items()},
            "settings": dict(self.settings),
        }

    def to_json(self) -> str:
        """Return `to_dict()` as one line of JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def text(self) -> str:
        """Return what to print for a person."""
        what = "answers" if self.unpaired else "pairs"
        lines = [
            f"{self.rows} {what} of {self.readers} readers, source {self.source} -> {self.path}"
        ]
        for name, ledger in self.ledgers.items():
            lines.append(
                f"{name} seen {ledger.seen}, kept {ledger.kept}"
                + "".join(f", {why} {n}" for why, n in sorted(ledger.dropped.items()))
            )
        if self.rules:
            lines += ["", *self._table(), ""]
            lines.append(
                f"A confidence is (agree + 10) / (rated + 20) where at least {LEAST_RATED} were "
                "rated by their readers too; else it is assumed, not measured."
            )
        return "\n".join(lines)

    def _table(self) -> list[str]:
        head = f"{'rule':<12} {'n':>6} {'rated':>6} {'agree':>6} {'confidence':>10}"
        sides = ("wanted", "not") if self.unpaired else ("chosen", "rejected")
        head += "".join(f" {f'{side}, chars':>15}" for side in sides)
        lines = [head + ("" if self.unpaired else f" {'chosen longer':>14}")]
        for name, rule in self.rules.items():
            lengths = self.lengths.get(name, TextLengths())
            said = lengths.to_dict()
            line = (
                f"{name:<12} {lengths.n:>6} {rule.rated:>6} {rule.agree:>6} "
                f"{rule.confidence:>9.3f}{'?' if rule.assumed else ' '}"
            )
            for side in ("chosen_chars", "rejected_chars"):
                line += f" {'-' if said[side] is None else format(said[side], '.0f'):>15}"
            if not self.unpaired:
                line += f" {lengths.longer / lengths.n if lengths.n else 0:>14.0%}"
            lines.append(line)
        return [*lines, "(?: assumed)"]
