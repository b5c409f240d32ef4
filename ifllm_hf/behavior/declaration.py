"""How a feature is declared: once, beside the code that computes it.

The declarations make the table in the documentation and tell the tests what swapping left and
right does to every column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.metrics.weighted import FloatArray as FloatArray
from ifllm_hf.metrics.weighted import ratio as ratio

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Values = Mapping[str, FloatArray]
"""Bare feature name -> `[turns, 2]` (per response: a, b) or `[turns]` (per pair)."""

Scope = Literal["per_response", "per_pair_symmetric", "per_pair_antisymmetric"]
ChannelName = Literal["gaze", "mouse", "both", "scroll"]

PER_RESPONSE: Scope = "per_response"
SYMMETRIC: Scope = "per_pair_symmetric"
ANTISYMMETRIC: Scope = "per_pair_antisymmetric"
CHANNELS: tuple[ChannelName, ChannelName] = ("gaze", "mouse")
SIDES = ("a", "b")


@dataclass(frozen=True)
class Feature:
    """One feature: what it is and how it behaves when left and right are swapped.

    Attributes:
        name: Name of its column, without the side.
        formula: How it is computed, in words.
        unit: Its unit; "1" for none.
        low: Smallest possible value.
        high: Largest possible value.
        source: Where the idea comes from.
        scope: `per_response` (two columns, `_a` and `_b`, which swap), `per_pair_symmetric` (stays)
            or `per_pair_antisymmetric` (its sign turns).
        channel: What it is computed from.
    """

    name: str
    formula: str
    unit: str
    low: float
    high: float
    source: str
    scope: Scope
    channel: ChannelName

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in the feature table."""
        if self.scope == PER_RESPONSE:
            return tuple(f"{self.name}_{side}" for side in SIDES)
        return (self.name,)


def per_channel(
    name: str,
    formula: str,
    unit: str,
    low: float,
    high: float,
    source: str,
    scope: Scope = PER_RESPONSE,
) -> tuple[Feature, ...]:
    """Declare a feature that gaze and mouse have alike, as `gaze_{name}` and `mouse_{name}`."""
    return tuple(
        Feature(f"{channel}_{name}", formula, unit, low, high, source, scope, channel)
        for channel in CHANNELS
    )
