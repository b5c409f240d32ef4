"""Is there signal on my page? The audit of sessions or of a prepared folder: `ifllm audit`.

Behaviour is the model that comes with the package, `late-reading`, which has learned nothing from
the readers whom it scores; length is the rule that the longer answer wins. For each page: did the
pointer see the click, how right are both, and what behaviour adds for a reader, with an interval
that may be looked at as often as one likes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.audit.confidence_sequence import (
    AnytimeInterval,
    anytime_interval,
    readers_until,
)
from ifllm_hf.benchmark.audit.decision import judge
from ifllm_hf.benchmark.audit.readers_in_time import reader_stream
from ifllm_hf.benchmark.audit.scored_pairs import (
    KEYS,
    PAGE,
    POINTER,
    ledger_of,
    page_of_turns,
    refuse_empty,
    refuse_nothing,
    scored_pairs,
)
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.report.report import finite
from ifllm_hf.benchmark.studies.probe import PROBES, run_probes
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.prepared.ifllm import find_prepared
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.errors import ConfigError
from ifllm_hf.metrics import core, weighted
from ifllm_hf.reward.baselines.length_rule import LengthRule
from ifllm_hf.reward.pretrained.heads import ALL

LEVEL = 0.95
"""Of all pages together: with k pages that of each is 1 - .05 / k."""
FEWEST_READERS = 5
"""Of the leak probe, held out by reader in so many folds, and of a guess how many are needed."""
_PROBE = tuple(probe for probe in PROBES if probe.where == "off" and probe.phase == "reading")


@dataclass(frozen=True)
class PageAudit:
    """What is known of a page.

    Attributes:
        page: Its name; None: sessions do not say where they were recorded.
        turns: Questions, with one answer or two.
        pairs: Those with two answers: labelled, and dropped by reason.
        readers: Who labelled pairs.
        known: Readers among them of the data that the model was built on.
        length: Accuracy of the length rule, over pairs, with a bootstrap interval over readers.
        behavior: Accuracy of length with behaviour, likewise.
        leaks: Scores of the leak probe, by learner; none where there are too few readers.
        gain: Of behaviour over length, a reader.
        used: Pairs of the gain, and those left out of it by reason.
        needed: Readers until the interval is as narrow as wanted; None: more than 100,000, or too
            few have been seen to tell.
        verdict: `yes`, `not yet` or `no gain above X`.
        why: In words.
    """

    page: str | None
    turns: int
    pairs: Ledger
    readers: int
    known: int
    length: core.Interval
    behavior: core.Interval
    leaks: Sequence[Record]
    gain: AnytimeInterval
    used: Ledger
    needed: int | None
    verdict: str
    why: str

    @property
    def record(self) -> Record:
        """All of it as JSON types; what is not defined is null."""
        accuracies = [
            finite([{"accuracy": of.estimate, "low": of.low, "high": of.high}])[0]
            for of in (self.length, self.behavior)
        ]
        shown = ("learner", "n", "workers", "auc", "auc_low", "auc_high")
        gain = {name: getattr(self.gain, name) for name in ("estimate", "low", "high", "level")}
        return {
            "page": self.page,
            "turns": self.turns,
            "pairs": self.pairs.to_dict(),
            "readers": self.readers,
            "known_readers": self.known,
            "leak_probe": finite([{name: leak[name] for name in shown} for leak in self.leaks]),
            "length": accuracies[0],
            "length_with_behavior": accuracies[1],
            "gain": {"readers": self.gain.n, "pairs": self.used.to_dict(), **finite([gain])[0]},
            "readers_needed": self.needed,
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True)
class Audit:
    """What `run_audit` found.

    Attributes:
        data: The prepared folder.
        width: Half the width of the interval that is wanted.
        made_up: Whether no person stands behind the numbers.
        pages: By name; one where sessions do not say where they were recorded.
    """

    data: Path
    width: float
    made_up: bool = False
    pages: list[PageAudit] = field(default_factory=list)

    @property
    def record(self) -> dict[str, Any]:
        """All of it as JSON types."""
        pages = [page.record for page in self.pages]
        return {"made_up": self.made_up, "width": self.width, "pages": pages}


def run_audit(
    source: str | os.PathLike[str] | None = None,
    *,
    width: float = 0.05,
    now: datetime | None = None,
    seed: int = 0,
    progress: bool = True,
    say: Callable[[str], object],
) -> Audit:
    """Audit collected sessions, a prepared folder or the release.

    Args:
        source: Their place; None, or "ifllm" where nothing has that name: what
            `load_dataset("ifllm")` finds.
        width: Half the width that is wanted, and the gain that is worth having, in accuracy.
        now: When somebody looks (UTC); default: now. Who has read a moment ago is not counted yet.
        seed: Of bootstrap and probe.
        progress: Whether to draw progress bars on stderr.
        say: Takes one line: which data were found.

    Raises:
        ConfigError: `width` is no width.
        SourceError: A folder without sessions.
        DataError: No pair is labelled, or none can be scored.
        IFLLMError: The data cannot be read.
    """
    if not 0 < width < 1:
        raise ConfigError(f"width is {width}; expected a part of 1, such as .05")
    named = None if source == "ifllm" and not os.path.exists(source) else source
    refuse_empty(named)
    folder = find_prepared(named, say=say, progress=progress)
    turns = page_of_turns(folder)
    pairs = scored_pairs(folder, progress)
    refuse_nothing(ledger_of(pairs), str(folder if named is None else named))
    audit = Audit(folder, width, bool(pairs["user_id"].str.starts_with(SYNTHETIC_PREFIX).any()))
    pages = turns[PAGE].unique().sort().to_list()
    for page in pages:
        here = pl.col(PAGE).eq_missing(page)
        of_page = pairs.filter(here)
        audit.pages.append(
            audit_page(
                page,
                turns.filter(here).height,
                of_page,
                leak_probe(of_page, seed=seed, progress=progress),
                level=1 - (1 - LEVEL) / len(pages),
                width=width,
                now=now,
                seed=seed,
            )
        )
    return audit


def audit_page(
    page: str | None,
    turns: int,
    pairs: pl.DataFrame,
    leaks: Sequence[Record],
    *,
    level: float = LEVEL,
    width: float = 0.05,
    now: datetime | None = None,
    seed: int = 0,
) -> PageAudit:
    """Audit one page.

    Args:
        page: Its name.
        turns: Questions asked on it.
        pairs: `query_id, user_id, asked_at, preference`, the characters of both answers, of scores
            `p_b` and `head`, and `why` the pair cannot be used (null: it can).
        leaks: What `leak_probe` says of them.
        level: Of the interval of the gain.
        width: Half the width that is wanted.
        now: When somebody looks; default: now.
        seed: Of the bootstrap.

    Raises:
        DataError: A prediction is not finite.
    """
    rows = _usable(pairs).sort("query_id")
    y = (rows["preference"] == "b").cast(pl.Float64).to_numpy()
    p, length = rows["p_b"].to_numpy(), LengthRule().predict_proba(rows)
    groups = rows["user_id"].to_numpy()
    value = weighted.correct(y, p) - weighted.correct(y, length)
    stream = reader_stream(
        rows.select("user_id", "query_id", "asked_at").with_columns(value=value), now
    )
    gain = anytime_interval(stream.values, level=level)
    needed = None
    if gain.n >= FEWEST_READERS:
        spread = float(stream.values.std(ddof=1))
        needed = readers_until(width, gain.estimate, spread, level=level)
    verdict, why = judge(gain, leaks, width, needed)
    return PageAudit(
        page=page,
        turns=turns,
        pairs=ledger_of(pairs),
        readers=rows["user_id"].n_unique(),
        known=rows.filter(pl.col("head") != ALL)["user_id"].n_unique(),
        length=_accuracy(y, length, groups, seed),
        behavior=_accuracy(y, p, groups, seed),
        leaks=leaks,
        gain=gain,
        used=stream.ledger,
        needed=needed,
        verdict=verdict,
        why=why,
    )


def leak_probe(
    pairs: pl.DataFrame, *, repeats: int = 2, seed: int = 0, progress: bool = True
) -> list[Record]:
    """Tell whether the pointer off the answers knows the preference while reading goes on.

    Args:
        pairs: As for `audit_page`, with `conversation_id, kind` and the ticks of the pointer.
        repeats: How often folds of readers are drawn.
        seed: Of folds, learners and bootstrap.
        progress: Whether to draw progress bars on stderr.

    Returns:
        Of a booster and a logistic regression, what `run_probes` says; nothing of fewer readers
        than `FEWEST_READERS`.
    """
    rows = _usable(pairs)
    if rows["user_id"].n_unique() < FEWEST_READERS:
        return []
    rows = rows.select(*KEYS, "preference", *POINTER)
    return run_probes(rows, probes=_PROBE, repeats=repeats, seed=seed, progress=progress)


def _usable(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.filter(pl.col("why").is_null())


def _accuracy(
    y: weighted.FloatArray, p: weighted.FloatArray, groups: np.ndarray, seed: int
) -> core.Interval:
    if not len(y):
        return core.Interval(np.nan, np.nan, np.nan, 0.95, 0, 0)
    return core.score_interval("accuracy", y, p, groups, seed=seed)
