"""Pointer and gaze events as columns, asked column by column whether they fit the schema.

Nearly all events of a session are points, and the twelve places of a point hold one kind of value
each. To ask a whole column for its type and range is far less work than to ask each event.
What is asked stands in `event.schema.json`: a place with any other rule than these is left to
`event_schema.fits`, as is every event of a column that holds something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.sessions.event_schema import schema

CHANNELS = ("mouse", "gaze")
"""Who points: the pointer, however it is moved, or the eyes."""

SIDES = {None: 0, "A": 1, "B": 2}
"""The number of each answer that a point may be on."""


@dataclass(frozen=True)
class Points:
    """Points of one channel of a page load, in order of time; NaN where nothing is told.

    Attributes:
        at: [m] their positions among the events of the load.
        t: [m] time in ms.
        turn: [m] the turn; -1 for none.
        side: [m] which answer is under the point: see `SIDES`.
        x, y: [m] px of the viewport.
        rx, ry: [m] px of the answer.
        offset: [m] UTF-16 unit of the answer's source.
        distance: [m] px to the glyph there.
        valid: [m] of gaze, whether the eyes were seen (1 or 0); of the pointer without meaning.
    """

    at: NDArray[np.int64]
    t: NDArray[np.float64]
    turn: NDArray[np.int64]
    side: NDArray[np.int8]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    rx: NDArray[np.float64]
    ry: NDArray[np.float64]
    offset: NDArray[np.float64]
    distance: NDArray[np.float64]
    valid: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """Return the points of several page loads, one after the other."""
        if not parts:
            return _no_points()
        names = vars(parts[0])
        return cls(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in names})

    def part(self, start: int, end: int) -> Points:
        """Return the points from one position to another, with positions that count from there."""
        which = slice(*np.searchsorted(self.at, [start, end]))
        columns = {name: column[which] for name, column in vars(self).items()}
        return Points(**{**columns, "at": columns["at"] - start})

    def take(self, which: NDArray[np.bool_]) -> Points:
        """Return some of the points."""
        return Points(**{name: column[which] for name, column in vars(self).items()})


def points_of(
    events: Sequence[Sequence[Any]], at: NDArray[np.int64], definition: str, *, checked: bool
) -> Points | None:
    """Return points as columns; None if one does not fit, or cannot be told to in this way.

    Args:
        events: Points of one channel, lists.
        at: [m] their positions among the events of the load.
        definition: `pointer` or `gaze`.
        checked: It is known that all fit; never returns None then.
    """
    if not len(events):
        return _no_points()
    try:
        places = list(zip(*events, strict=True))
    except ValueError:  # of different lengths
        return None
    rules = _rules(definition)
    if not checked and (rules is None or len(places) != len(rules)):
        return None
    columns: list[NDArray[np.float64] | None] = []
    for i, values in enumerate(places):
        if checked:
            column = None if i in _NO_NUMBERS else np.array(values, np.float64)
        else:
            assert rules is not None
            fit, column = rules[i].column(values)
            if not fit:
                return None
        columns.append(column)
    t, turn, x, y, rx, ry, offset, distance, valid = (columns[i] for i in (1, 2, *range(4, 11)))
    assert t is not None and turn is not None
    return Points(
        at,
        t,
        np.where(np.isnan(turn), -1, turn).astype(np.int64),
        np.frombuffer(bytes(map(SIDES.__getitem__, places[3])), np.int8),
        *(x, y, rx, ry, offset, distance, valid),
    )


def _no_points() -> Points:
    return Points(*(np.empty(0, kind) for kind in ("i8", "f8", "i8", "i1", *["f8"] * 7)))


_NO_NUMBERS = (0, 3, 11)
"""Places of words: the kind of event, the answer, the type of the pointer."""


@dataclass(frozen=True)
class _Words:
    """A place that holds one of some words, or null."""

    known: frozenset[str | None]

    def column(self, values: Sequence[Any]) -> tuple[bool, None]:
        try:
            return self.known.issuperset(values), None
        except TypeError:  # a list has no hash
            return False, None


@dataclass(frozen=True)
class _Number:
    """A place that holds a number in a range, or null."""

    whole: bool
    nullable: bool
    least: float
    most: float

    def column(self, values: Sequence[Any]) -> tuple[bool, NDArray[np.float64] | None]:
        try:
            told = pa.array(values)  # no words among numbers
        except (pa.ArrowException, OverflowError):
            return False, None
        kind = told.type
        if not (
            pa.types.is_int64(kind)
            or (pa.types.is_float64(kind) and not self.whole)
            or pa.types.is_null(kind)
        ):
            return False, None
        if pa.types.is_float64(kind) and bool in set(map(type, values)):  # 1.0 it takes for true
            return False, None
        n_null = told.null_count
        if n_null and not self.nullable:
            return False, None
        if n_null == len(values):
            return True, np.full(n_null, np.nan)
        column = told.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)  # null: NaN
        # By `fmin`, which passes over NaN: JSON has none of its own.
        fit = self.least <= np.fmin.reduce(column) and np.fmax.reduce(column) <= self.most
        return bool(fit), column


@cache
def _rules(definition: str) -> list[_Words | _Number] | None:
    """Return what is asked of each place of an event; None if it is more than can be asked here."""
    definitions = schema()["$defs"]
    event = definitions[definition]
    places = event["prefixItems"]
    if (
        event.keys() - {"title", "description"} != {"type", "prefixItems", "items", "minItems"}
        or event["type"] != "array"
        or event["items"] is not False
        or event["minItems"] != len(places)
    ):
        return None
    rules = [_rule(definitions, place) for place in places]
    return None if None in rules else rules  # type: ignore[return-value]


def _rule(definitions: dict[str, Any], place: dict[str, Any]) -> _Words | _Number | None:
    if place.keys() == {"$ref"}:
        place = definitions[place["$ref"].removeprefix("#/$defs/")]
    said = place.keys() - {"description", "title"}
    choices = [place["const"]] if said == {"const"} else place.get("enum")
    if choices is not None and said <= {"const", "enum"}:
        if all(choice is None or isinstance(choice, str) for choice in choices):
            return _Words(frozenset(choices))
        numbers = sorted(choices, key=str)
        if numbers == list(range(len(numbers))):  # 0 and 1
            return _Number(whole=True, nullable=False, least=0, most=len(numbers) - 1)
        return None
    kinds = {place["type"]} if isinstance(place.get("type"), str) else set(place.get("type", ()))
    if said != {"type", "minimum", "maximum"} or len(kinds - {"null"}) != 1:
        return None
    if not kinds <= {"number", "integer", "null"}:
        return None
    return _Number("integer" in kinds, "null" in kinds, place["minimum"], place["maximum"])
