"""How well the turns fit what was seen: agreement out of sample, and the causes of the rest.

A tick whose text fits exactly one answer of the conversation says by itself which turn it belongs
to. The boundaries are fitted on every other block of ticks and judged on the blocks between, and
the other way round, so no tick is judged by boundaries that it helped to fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.ticks.alignment import Alignment, assign_turns
from ifllm_hf.data.ticks.merge import MergedTicks

# Neighbouring ticks share their text; blocks of about two seconds keep the halves apart.
BLOCK_TICKS = 25
_AT_BOUNDARY_MS = 2000.0


@dataclass
class Agreement:
    """Counts of (tick, channel) pairs whose text fits exactly one answer of the conversation.

    Attributes:
        ticks: All of them.
        agree: The turn is that of the text.
        at_boundary: Disagree within two seconds of a boundary between turns.
        earlier: Disagree otherwise; the text is an earlier turn's (an old answer still shown, or
            the tick came late).
        later: Disagree otherwise; the text is a later turn's.
        before_first: Disagree; the tick was taken to lie before the first answers.
    """

    ticks: int = 0
    agree: int = 0
    at_boundary: int = 0
    earlier: int = 0
    later: int = 0
    before_first: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        """Return the sum."""
        return Agreement(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def share(self) -> float:
        """Return the share that agrees; NaN without ticks."""
        return self.agree / self.ticks if self.ticks else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return counts and share (None without ticks) for JSON."""
        counts = {f.name: getattr(self, f.name) for f in fields(self)}
        share = self.share if self.ticks else None
        return {"share": share, **counts, "block_ticks": BLOCK_TICKS}


def agreement_out_of_sample(
    ticks: MergedTicks, aligned: Alignment, asked_ms: Sequence[float | None]
) -> Agreement:
    """Judge the boundaries of one conversation on ticks that they were not fitted on.

    Args:
        ticks: The conversation.
        aligned: Its alignment (for what was seen; its turns are not used).
        asked_ms: When the answers of each turn arrived by the log.
    """
    result = Agreement()
    if not asked_ms or not len(ticks):
        return result
    block = (np.arange(len(ticks)) // BLOCK_TICKS) % 2 == 0
    turn = np.empty(len(ticks), dtype=np.int64)
    near = np.empty(len(ticks), dtype=bool)
    for fitted in (block, ~block):
        said = assign_turns(ticks, aligned.sightings, asked_ms, use=fitted)
        turn[~fitted], near[~fitted] = said[~fitted], _near_boundary(ticks, said)[~fitted]
    for seen in aligned.sightings.values():
        rows = np.flatnonzero(seen.fits.sum(axis=1) == 1)
        said, taken = seen.fits[rows].argmax(axis=1), turn[rows]
        wrong = said != taken
        far = wrong & ~near[rows]
        result += Agreement(
            ticks=len(rows),
            agree=int((~wrong).sum()),
            at_boundary=int((wrong & near[rows]).sum()),
            earlier=int((far & (taken >= 0) & (said < taken)).sum()),
            later=int((far & (taken >= 0) & (said > taken)).sum()),
            before_first=int((far & (taken < 0)).sum()),
        )
    return result


def _near_boundary(ticks: MergedTicks, turn: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which ticks lie within two seconds of a change of turn in their page load."""
    near = np.zeros(len(ticks), dtype=bool)
    for change in np.flatnonzero((np.diff(turn) != 0) & (np.diff(ticks.page_load) == 0)) + 1:
        close = np.abs(ticks.page_ms - ticks.page_ms[change]) <= _AT_BOUNDARY_MS
        near |= close & (ticks.page_load == ticks.page_load[change])
    return near
