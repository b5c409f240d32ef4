"""What the demo found, as its page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ifllm_hf.benchmark.protocol.scores import Record

Say = Callable[[str], None]


@dataclass(frozen=True)
class ScoredTurn:
    """A turn, and what the built-in model makes of it.

    Attributes:
        row: Its row of the config `pairwise`.
        number: Which row that is.
        head: The head that scored it; it has not seen the turn's reader.
        parts: By name, what adds up to the lead of answer b over answer a.
        lead: Score of b less that of a.
        p_b: Probability that b is preferred, by the lead.
        why: The same in words, the largest part first.
    """

    row: Mapping[str, Any]
    number: int
    head: str
    parts: Mapping[str, float]
    lead: float
    p_b: float
    why: Sequence[str]


@dataclass(frozen=True)
class TruthRun:
    """A DPO run in the world of known truth.

    Attributes:
        labels: What it was trained on, in words.
        pairs: How many pairs.
        sources: Where they come from: `source`, `pairs`, `mean` confidence.
        before: Mean true score of the answers before training, from 1 to 10.
        after: The same after it.
        rise: After less before.
        low: Lower end of its interval, 95 % over readers.
        high: Upper end.
        adapter: Folder of the adapter.
    """

    labels: str
    pairs: int
    sources: Sequence[Mapping[str, Any]]
    before: float
    after: float
    rise: float
    low: float
    high: float
    adapter: Path


@dataclass(frozen=True)
class TruthRuns:
    """Both runs, and what they were scored on.

    Attributes:
        runs: One for each kind of label.
        answers: How many answers each score is the mean of.
        readers: Held-out readers who asked.
    """

    runs: Sequence[TruthRun]
    answers: int
    readers: int


@dataclass
class DemoFacts:
    """All that the page shows.

    Attributes:
        out: Folder of the demo.
        source: What was read, in a few words.
        synthetic: Its numbers are made up.
        ledgers: See `PrepareReport.ledgers`.
        counts: Turns, readers, conversations; see `PrepareReport.facts`.
        rows: Rows by config.
        records: Scores of the models, held out by reader.
        repeats: How often the folds were drawn.
        scored: The turn that is shown; None: no turn has ticks.
        pairs: How many preference pairs there are.
        sources: Of `source_counts`.
        shown_pairs: Some of them.
        truth: The two DPO runs.
        minutes: How long all of it took.
    """

    out: Path
    source: str = ""
    synthetic: bool = False
    ledgers: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    records: Sequence[Record] = ()
    repeats: int = 0
    scored: ScoredTurn | None = None
    pairs: int = 0
    sources: Sequence[Mapping[str, Any]] = ()
    shown_pairs: Sequence[Mapping[str, Any]] = ()
    truth: TruthRuns | None = None
    minutes: float = 0.0


def source_counts(pairs: Any) -> list[dict[str, Any]]:
    """Return how many pairs each source has, and their confidences.

    Args:
        pairs: A polars frame with `source` and `confidence`.

    Returns:
        `source`, `pairs`, and `least`, `mean` and `most` of the confidence; most pairs first.
    """
    import polars as pl

    confidence = pl.col("confidence")
    found: list[dict[str, Any]] = (
        pairs.group_by("source")
        .agg(
            pairs=pl.len(),
            least=confidence.min(),
            mean=confidence.mean(),
            most=confidence.max(),
        )
        .sort("pairs", "source", descending=[True, False])
        .to_dicts()
    )
    return found
