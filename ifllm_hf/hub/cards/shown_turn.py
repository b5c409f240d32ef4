"""The one real question that the card's figures show, chosen by a rule and never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ifllm_hf.data.schema import ENUMERATIONS
from ifllm_hf.hub.cards.tick_numbers import codes, flattened, read_ticks_of

SIDES = ("a", "b")
_SCALARS = (
    "query_id", "user_id", "prompt", "response_a", "response_b", "preference", "reading_end_source"
)  # fmt: skip
_LISTS = ("page_load", "t_ms", "phase", "gaze_on", "mouse_on", "gaze_char", "mouse_char")
# Long answers and long reading do not fit on a page.
_LONGEST_CHARS = 1200
_READING_S = (15.0, 120.0)
_FEWEST_TICKS = 50


@dataclass(frozen=True)
class ShownTurn:
    """A question with two answers and its ticks; arrays `[n]` over ticks.

    Attributes:
        query_id: The question.
        user_id: The reader.
        prompt: What was asked.
        answers: By side.
        preference: "a", "b", "tie" or None.
        t_s: Seconds since the question's first tick.
        phase: Index into the phases (0 reading, 1 rating, 2 after), -1 for none.
        on: By channel: 1 (a), 2 (b), 0 for neither.
        char: By channel: code points into the answer under it, -1 off the answers.
        same_share: Share of the reading ticks with gaze and mouse on the same answer.
    """

    query_id: int
    user_id: str
    prompt: str
    answers: dict[str, str]
    preference: str | None
    t_s: NDArray[np.float64]
    phase: NDArray[np.int8]
    on: dict[str, NDArray[np.int8]]
    char: dict[str, NDArray[np.int64]]
    same_share: float

    def dwell_ms(self, channel: str, side: str, longest_ms: float = 500.0) -> NDArray[np.float64]:
        """Return for every character of an answer how long `channel` was on it while reading.

        A tick lasts until the next one, at most `longest_ms`; shape (characters,).
        """
        length = len(self.answers[side])
        lasts = np.minimum(np.diff(self.t_s, append=self.t_s[-1:]) * 1000, longest_ms)
        char = self.char[channel]
        mine = (self.phase == 0) & (self.on[channel] == SIDES.index(side) + 1)
        mine &= (char >= 0) & (char < length)
        dwell = np.bincount(char[mine], weights=np.maximum(lasts[mine], 0), minlength=length)
        return dwell.astype(np.float64)


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
            return found
    return None


def _best_of(table: pa.Table) -> ShownTurn | None:
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
    here = slice(int(lengths[:best].sum()), int(lengths[: best + 1].sum()))
    one = table.slice(best, 1).select(_SCALARS).to_pylist()[0]
    char = {c: pc.fill_null(flat[f"{c}_char"], -1).to_numpy()[here] for c in on}
    return ShownTurn(
        query_id=one["query_id"],
        user_id=one["user_id"],
        prompt=one["prompt"],
        answers={side: one[f"response_{side}"] or "" for side in SIDES},
        preference=one["preference"],
        t_s=(t[here] - t[here][0]) / 1000,
        phase=phase[here],
        on={c: values[here] for c, values in on.items()},
        char={c: values.astype(np.int64) for c, values in char.items()},
        same_share=float(share[best]),
    )


def _easy_to_see(
    table: pa.Table, row: NDArray[np.int64], t_ms: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which questions have short answers, a preference, and a reading of fair length."""
    first, last = np.full(len(n), np.inf), np.full(len(n), -np.inf)
    np.minimum.at(first, row, t_ms)
    np.maximum.at(last, row, t_ms)
    seconds = (last - first) / 1000
    longest = [pc.fill_null(pc.utf8_length(table[f"response_{s}"]), 0).to_numpy() for s in SIDES]
    found = pc.equal(table["reading_end_source"], "rating_zone")
    return np.asarray(
        (n >= _FEWEST_TICKS)
        & (seconds >= _READING_S[0])
        & (seconds <= _READING_S[1])
        & (np.maximum(*longest) <= _LONGEST_CHARS)
        & pc.fill_null(found, False).to_numpy()
        & pc.is_valid(table["preference"]).to_numpy()
    )
