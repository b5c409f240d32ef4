"""The one real question that the card's figures show, chosen by a rule and never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ifllm_hf.data.schema import ENUMERATIONS
from ifllm_hf.files import scan_parquet
from ifllm_hf.hub.cards.tick_numbers import codes, flattened, read_ticks_of

_SCALARS = ("response_a", "response_b", "preference", "reading_end_source")
_LISTS = ("t_ms", "phase", "gaze_on", "mouse_on")
# Long answers and long reading do not fit on a page.
_LONGEST_CHARS = 1200
_READING_S = (15.0, 120.0)
_FEWEST_TICKS = 50


@dataclass(frozen=True)
class ShownTurn:
    """A question with two answers and its ticks.

    Attributes:
        row: Its row of the `pairwise` config.
        same_share: Share of the reading ticks with gaze and mouse on the same answer.
    """

    row: dict[str, Any]
    same_share: float


def choose_turn(files: Sequence[Path]) -> ShownTurn | None:
    """Choose the question to show among those of the first shard that has any with ticks.

    Of the questions with short answers, a preference, and a rating that was found, it is the one
    with gaze and mouse on the same answer for the largest part of its reading; the first of equals.
    If no question is like that, all with at least two reading ticks are considered.

    Args:
        files: The shards of the `pairwise` config.
    """
    for file in files:
        table = read_ticks_of(file, _LISTS, _SCALARS)
        found = _best_of(table) if table.num_rows else None
        if found is not None:
            best, share = found
            row = scan_parquet([file]).slice(best, 1).collect().row(0, named=True)
            return ShownTurn(row, share)
    return None


def _best_of(table: pa.Table) -> tuple[int, float] | None:
    """Return the row to show, and the share of its reading with gaze and mouse together."""
    flat, lengths, row = flattened(table, _LISTS)
    t = flat["t_ms"].to_numpy()
    phase = codes(flat["phase"], ENUMERATIONS["phase"])
    on = {c: codes(flat[f"{c}_on"], ENUMERATIONS[f"{c}_on"]) for c in ("gaze", "mouse")}
    reading = phase == 0
    n = np.bincount(row[reading], minlength=len(lengths))
    same = reading & (on["gaze"] == on["mouse"]) & (on["gaze"] > 0)
    share = np.bincount(row[same], minlength=len(lengths)) / np.maximum(n, 1)
    rank = np.where(n >= 2, share, -1.0)
    rank[_easy_to_see(table, row[reading], t[reading], n)] += 2.0
    if not len(rank) or rank.max() < 0:
        return None
    best = int(rank.argmax())
    return best, float(share[best])


def _easy_to_see(
    table: pa.Table, row: NDArray[np.int64], t_ms: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which questions have short answers, a preference, and a reading of fair length."""
    first, last = np.full(len(n), np.inf), np.full(len(n), -np.inf)
    np.minimum.at(first, row, t_ms)
    np.maximum.at(last, row, t_ms)
    seconds = (last - first) / 1000
    longest = [pc.fill_null(pc.utf8_length(table[f"response_{s}"]), 0).to_numpy() for s in "ab"]
    found = pc.equal(table["reading_end_source"], "rating_zone")
    return np.asarray(
        (n >= _FEWEST_TICKS)
        & (seconds >= _READING_S[0])
        & (seconds <= _READING_S[1])
        & (np.maximum(*longest) <= _LONGEST_CHARS)
        & pc.fill_null(found, False).to_numpy()
        & pc.is_valid(table["preference"]).to_numpy()
    )
