"""One value for each reader, fixed once and for all, in the order in which they became known.

Pairs of one reader resemble each other, so the reader is the unit. What a look has seen must not
change later, or the next look would tell another story: a reader counts with the pairs of their
first sitting, which is over when nothing was asked of them for `REST`. Who comes back is no new
reader, and who reads now is not counted yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.metrics.weighted import FloatArray

REST = timedelta(hours=2)
"""A sitting is over when so much time has passed."""
LATER, READING, TIMELESS = "of later sittings", "of who reads now", "of no known time"


@dataclass(frozen=True)
class ReaderStream:
    """Readers in the order in which their first sitting ended.

    Attributes:
        readers: Columns `user_id`, `value` (mean over the sitting's pairs), `pairs`, `last_at`.
        ledger: The pairs: kept, and dropped by reason.
    """

    readers: pl.DataFrame
    ledger: Ledger

    @property
    def values(self) -> FloatArray:
        """The value of every reader, shape (n,)."""
        return self.readers["value"].to_numpy()


def reader_stream(pairs: pl.DataFrame, now: datetime | None = None) -> ReaderStream:
    """Return the readers of some pairs as a stream.

    Args:
        pairs: `user_id`, `query_id`, `asked_at` (UTC, null where not known) and `value`.
        now: When somebody looks; default: now.
    """
    now = datetime.now(UTC) if now is None else now
    # A turn without a readable date was still logged in order: it gets its predecessor's.
    dated = pairs.sort("query_id").with_columns(
        pl.col("asked_at").forward_fill().backward_fill().over("user_id")
    )
    known = dated.filter(pl.col("asked_at").is_not_null())
    ordered = known.sort("user_id", "asked_at", "query_id")
    rested = (pl.col("asked_at").diff() > REST).fill_null(False).cum_sum().over("user_id")
    first = ordered.filter(rested == 0)
    readers = (
        first.group_by("user_id")
        .agg(
            pl.col("value").mean(),
            pl.len().cast(pl.Int64).alias("pairs"),
            pl.col("asked_at").max().alias("last_at"),
        )
        .sort("last_at", "user_id")
    )
    closed = readers.filter(pl.col("last_at") + REST <= now)
    ledger = Ledger("pairs")
    ledger.keep(int(closed["pairs"].sum()))
    ledger.drop(TIMELESS, pairs.height - known.height)
    ledger.drop(LATER, ordered.height - first.height)
    ledger.drop(READING, int(readers["pairs"].sum()) - ledger.kept)
    return ReaderStream(closed, ledger)
