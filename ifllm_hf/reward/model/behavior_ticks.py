"""The ticks of a batch of turns as flat arrays, behind the wall: what a reward model may see.

Of a tick remain its time and, for gaze and mouse, which answer it was on and at which character.
Screen coordinates are never read (only whether they are null: that tells whether the channel was
recorded), and ticks of other phases than reading only on request. Times, visits and regressions are
those of `ifllm_hf.behavior`, so that numbers of both agree; this file repeats them because it
travels with a model on the Hub, where the package is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from numbers import Real
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_error import DataError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

CHANNELS = ("gaze", "mouse")
TICK_CAP_MS = 1000.0
"""The longest time that one tick can stand for."""
VISIT_GAP_MS = 1000.0
"""A channel that leaves an answer for longer than this begins a new visit when it comes back."""

ABSENT, OFF = -2, -1  # not recorded in this tick; on no answer; then 0 for answer a, 1 for b, ...
SIDES = "abcdefghijklmnopqrstuvwxyz"
# Shifted by two, so that they are bytes: strings become numbers a third faster that way.
_BYTES: dict[Any, int] = {None: 0, "none": 1, **{s: i + 2 for i, s in enumerate(SIDES)}}
_US = 1000.0


@dataclass(frozen=True)
class BatchChannel:
    """What one channel did; arrays `[n]` over all ticks of the batch.

    Attributes:
        code: `ABSENT`, `OFF`, or the number of the answer.
        char: Code point index into that answer; -1 elsewhere.
        dwell_ms: Time to the next tick of the channel, at most `TICK_CAP_MS`; 0 where it has none.
        visit: Number of the visit, over all turns; -1 off the answers.
    """

    code: NDArray[np.int8]
    char: IntArray
    dwell_ms: FloatArray
    visit: IntArray


@dataclass(frozen=True)
class BehaviorTicks:
    """All ticks of a batch of turns, turn after turn.

    Attributes:
        start: `[turns + 1]` the ticks of turn i are `start[i]:start[i + 1]`.
        turn: `[n]`.
        time_ms: `[n]` page time since the first tick of the turn, without gaps at a reload.
        until_end_ms: `[n]` page time to the last tick of the turn.
        channels: By name.
        extra: Other numeric columns by name, `[n]`; NaN where nothing was recorded.
    """

    start: IntArray
    turn: IntArray
    time_ms: FloatArray
    until_end_ms: FloatArray
    channels: dict[str, BatchChannel]
    extra: dict[str, FloatArray]


def read_ticks(
    columns: Mapping[str, Any],
    answer_chars: Sequence[Sequence[int | None]],
    extra: Sequence[str] = (),
    *,
    include_contaminated_ticks: bool = False,
) -> BehaviorTicks:
    """Read parallel tick lists.

    Args:
        columns: One list (or array, or None) per turn and column. Needed: `t_ms` and `phase`. Used
            where present: `page_load`, per channel `{c}_on`, `{c}_char` and whether `{c}_x_px` is
            null, the columns of `extra`, and `query_id` to name a turn in messages.
        answer_chars: Per turn, the length of each answer in code points; None where it is unknown.
        extra: Other numeric tick columns to read.
        include_contaminated_ticks: Read the ticks behind the end of reading too, where the pointer
            on its way to the rating is the label. For ablations only; then `phase` is not needed.

    Raises:
        DataError: A list is missing, lists differ in length, time runs backwards or is NaN, or a
            position lies outside its answer; names the row and the field.
    """
    table = _Table(columns, len(answer_chars), include_contaminated_ticks)
    start = np.concatenate([[0], np.cumsum(table.kept)]).astype(np.int64)
    turn = np.repeat(np.arange(len(answer_chars)), table.kept)
    t_us, fresh = _clock(table, turn)
    stretch = np.cumsum(fresh, dtype=np.int64)
    step_us = np.diff(t_us, prepend=t_us[:1])
    step_us[fresh] = 0
    run_us = np.cumsum(step_us)  # steps are whole microseconds: exact, whatever else is in a batch
    first, last = start[:-1], np.maximum(start[1:] - 1, 0)
    some = table.kept > 0
    zero = np.zeros(len(table.kept), dtype=np.int64)
    zero[some] = run_us[first[some]]
    end = np.zeros_like(zero)
    end[some] = run_us[last[some]]
    lengths = _lengths(answer_chars)
    return BehaviorTicks(
        start=start,
        turn=turn,
        time_ms=(run_us - zero[turn]) / _US,
        until_end_ms=(end[turn] - run_us) / _US,
        channels={
            name: _read_channel(table, name, turn, t_us, stretch, lengths) for name in CHANNELS
        },
        extra={name: _read_extra(table, name, turn) for name in extra},
    )


class _Table:
    """The columns, cut to the ticks that may be read."""

    def __init__(self, columns: Mapping[str, Any], turns: int, every_phase: bool) -> None:
        self._columns = columns
        self.turns = turns
        self._sizes = [len(values) for values in self._rows("t_ms")]
        self._keep: list[Any] = [None] * turns  # None everything, a number the first so many, flags
        self.kept = np.array(self._sizes, dtype=np.int64)
        if not every_phase:
            self._stop_at_the_end_of_reading()

    def __contains__(self, name: str) -> bool:
        return self._columns.get(name) is not None

    def fail(self, row: int, field: str, what: str) -> DataError:
        """Return the error of a row and field."""
        ids = self._columns.get("query_id")
        known = f" (query {ids[row]})" if ids is not None and not np.isscalar(ids) else ""
        return DataError(f"row {row}{known}, field '{field}': {what}")

    def values(self, name: str) -> list[Any]:
        """Return the kept values of a column as they are, tick after tick."""
        return list(chain.from_iterable(self._cut(name)))

    def numbers(self, name: str) -> FloatArray:
        """Return the kept values of a column `[n]`; NaN for null."""
        parts = []
        for row, values in enumerate(self._cut(name)):
            try:
                parts.append(np.asarray(values, dtype=np.float64))
            except (TypeError, ValueError) as error:
                raise self.fail(row, name, f"expected numbers or null; {error}.") from error
            if parts[-1].ndim != 1:
                raise self.fail(row, name, "expected one number per tick.")
        return np.concatenate(parts) if parts else np.empty(0)

    def constant(self, name: str) -> bool:
        """Tell whether a column has one value in every turn, without turning it into numbers."""
        return all(
            isinstance(values, list) and values.count(values[0]) == len(values)
            for values in self._cut(name)
            if len(values)
        )

    def has_nulls(self, name: str) -> bool:
        """Tell whether a kept value is null."""
        return any(
            None in values if isinstance(values, list) else bool(np.isnan(values).any())
            for values in self._cut(name)
        )

    def _rows(self, name: str) -> list[Any]:
        if name not in self:
            raise DataError(
                f"the ticks have no column '{name}'. Expected parallel tick lists as in a row of "
                "the `pairwise` or `pointwise` config"
                + (
                    "; without phases nothing tells where reading ends, and what follows holds the "
                    "label. To read such ticks nevertheless: include_contaminated_ticks=True."
                    if name == "phase"
                    else "."
                )
            )
        rows = self._columns[name]
        if len(rows) != self.turns:
            raise DataError(
                f"tick column '{name}' has {len(rows)} rows for {self.turns} questions; expected "
                "one list of ticks per question (a single question takes plain lists)."
            )
        return [() if values is None else values for values in rows]

    def _cut(self, name: str) -> list[Any]:
        out = []
        for row, (values, size, keep) in enumerate(
            zip(self._rows(name), self._sizes, self._keep, strict=True)
        ):
            try:
                length = len(values)
            except TypeError:
                raise self.fail(row, name, f"is {values!r}; expected a list per turn.") from None
            if length != size:
                raise self.fail(
                    row, name, f"{length} values and {size} in 't_ms'; expected equal lengths."
                )
            if keep is None:
                out.append(values)
            elif isinstance(keep, int):
                out.append(values[:keep])
            elif isinstance(values, np.ndarray):
                out.append(values[np.array(keep, dtype=bool)])
            else:
                out.append(list(compress(values, keep)))
        return out

    def _stop_at_the_end_of_reading(self) -> None:
        keeps: list[Any] = []
        for values in self._cut("phase"):
            phases = values if isinstance(values, list) else list(values)
            reading = phases.count("reading")
            # Nearly always reading is the beginning of a turn, and cutting lists is cheap.
            if phases[:reading].count("reading") == reading:
                keeps.append(reading)
            else:
                keeps.append([phase == "reading" for phase in phases])
            self.kept[len(keeps) - 1] = reading
        self._keep = keeps


def _clock(table: _Table, turn: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the page clock in whole microseconds and where a turn or page load begins."""
    t_ms = table.numbers("t_ms")
    bad = np.flatnonzero(~np.isfinite(t_ms))
    if bad.size:
        raise table.fail(
            int(turn[bad[0]]), "t_ms", f"a tick's time is {t_ms[bad[0]]}; expected a number."
        )
    t_us = np.rint(t_ms * _US).astype(np.int64)
    fresh = np.ones(len(turn), dtype=bool)
    fresh[1:] = turn[1:] != turn[:-1]
    if "page_load" in table and not table.constant("page_load"):
        load = table.numbers("page_load")
        fresh[1:] |= load[1:] != load[:-1]
    back = np.flatnonzero((np.diff(t_us) < 0) & ~fresh[1:])
    if back.size:
        at = int(back[0])
        raise table.fail(
            int(turn[at]),
            "t_ms",
            f"runs backwards from {t_us[at] / _US} to {t_us[at + 1] / _US} within a page load. "
            "Sort the ticks by time.",
        )
    return t_us, fresh


def _lengths(answer_chars: Sequence[Sequence[int | None]]) -> IntArray:
    """Return `[turns, sides]`: characters; 0 without an answer, the maximum where unknown."""
    sides = max((len(chars) for chars in answer_chars), default=1)
    out = np.zeros((len(answer_chars), sides), dtype=np.int64)
    for row, chars in enumerate(answer_chars):
        out[row, : len(chars)] = [np.iinfo(np.int64).max if n is None else n for n in chars]
    return out


def _read_channel(
    table: _Table,
    name: str,
    turn: IntArray,
    t_us: IntArray,
    stretch: IntArray,
    lengths: IntArray,
) -> BatchChannel:
    n = len(turn)
    if f"{name}_on" not in table:
        return BatchChannel(
            np.full(n, ABSENT, np.int8), np.full(n, -1), np.zeros(n), np.full(n, -1)
        )
    code = _codes(table, f"{name}_on", turn)
    sampled = np.flatnonzero(code != ABSENT)
    dwell_us = np.zeros(n)
    same = stretch[sampled[1:]] == stretch[sampled[:-1]]
    dwell_us[sampled[:-1]] = np.where(
        same, np.minimum(np.diff(t_us[sampled]), int(TICK_CAP_MS * _US)), 0
    )
    char = np.full(n, -1)
    on = np.flatnonzero(code >= 0)
    written = table.values(f"{name}_char")
    given = _numbers([written[i] for i in on.tolist()], table, f"{name}_char", turn[on])
    known = ~np.isnan(given)
    code[on[~known]] = OFF  # on an answer without a character is nowhere in the text
    x_px = f"{name}_x_px"
    if x_px in table and table.has_nulls(x_px):
        code[np.isnan(table.numbers(x_px)) & (code == OFF)] = ABSENT
    on = on[known]
    char[on] = given[known].astype(np.int64)
    _check_positions(table, name, turn[on], code[on], char[on], lengths)

    begins = np.ones(len(on), dtype=bool)
    begins[1:] = (
        (code[on[1:]] != code[on[:-1]])
        | (stretch[on[1:]] != stretch[on[:-1]])
        | (np.diff(t_us[on]) > VISIT_GAP_MS * _US)
    )
    visit = np.full(n, -1)
    visit[on] = np.cumsum(begins) - 1
    return BatchChannel(code, char, dwell_us / _US, visit)


def _codes(table: _Table, field: str, turn: IntArray) -> NDArray[np.int8]:
    values = table.values(field)
    try:
        return np.frombuffer(bytes(map(_BYTES.__getitem__, values)), np.int8) + np.int8(ABSENT)
    except (KeyError, TypeError):
        at = next(i for i, value in enumerate(values) if not _is_code(value))
        raise table.fail(
            int(turn[at]), field, f"{values[at]!r}; expected 'none', 'a', 'b' or null."
        ) from None


def _is_code(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in _BYTES)


def _check_positions(
    table: _Table,
    name: str,
    turn: IntArray,
    code: NDArray[np.int8],
    char: IntArray,
    lengths: IntArray,
) -> None:
    sides = lengths.shape[1]
    length = np.where(code < sides, lengths[turn, np.minimum(code, sides - 1)], 0)
    bad = np.flatnonzero((char < 0) | (char >= length))
    if bad.size:
        at = bad[0]
        raise table.fail(
            int(turn[at]),
            f"{name}_char",
            f"{char[at]} on answer {SIDES[code[at]]}, which has {length[at]} characters. Expected "
            "an index into the answer, in code points; check that ticks and texts belong together.",
        )


def _numbers(values: list[Any], table: _Table, field: str, turn: IntArray) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        at = next(i for i, v in enumerate(values) if not isinstance(v, (Real, NoneType)))
        raise table.fail(int(turn[at]), field, f"{values[at]!r}; expected a number.") from None


def _read_extra(table: _Table, name: str, turn: IntArray) -> FloatArray:
    if name not in table:
        return np.full(len(turn), np.nan)
    values = table.numbers(name)
    bad = np.flatnonzero(np.isinf(values))
    if bad.size:
        raise table.fail(
            int(turn[bad[0]]), name, f"{values[bad[0]]}; expected a finite number or null."
        )
    return values
