"""Left against right: log ratios of what was spent on the two answers.

ln((b + δ) / (a + δ)): its sign turns when the sides are swapped, its δ keeps it finite and calms
down what rests on next to nothing. `either` takes the mouse where it was on an answer at all while
reading, else the gaze. `pooled` adds half of the gaze's share to the mouse's: the mouse tells more,
the webcam's gaze is noisy but rarely absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ifllm_hf.behavior.declaration import (
    ANTISYMMETRIC,
    PER_RESPONSE,
    ChannelName,
    Feature,
    FloatArray,
    Values,
)
from ifllm_hf.behavior.quantities import LOGARITHM, MS, NUMBER

DELTAS = {
    "dwell_ms": 500.0,
    "dwell_ms_per_char": 0.5,
    "recency_3s_ms": 100.0,
    "recency_15s_ms": 500.0,
    "late_10pct": 0.015,
    "late_20pct": 0.03,
    "late_30pct": 0.045,
    "pause_share": 0.02,
    "last_third_ms": 500.0,
    "coverage": 0.05,
    "depth": 0.05,
    "visits": 1.0,
    "regressions": 1.0,
    "fixations": 1.0,
}
"""Per-response feature -> δ, in its unit."""
LATE = ("late_10pct", "late_20pct", "late_30pct")
EITHER = ("dwell_ms", "recency_3s_ms", "recency_15s_ms", *LATE)
POOLED = LATE
GAZE_WEIGHT = 0.5

_KRAJBICH = "Krajbich, Armel & Rangel 2010, relative looking time and choice"

_both = partial(Feature, source=_KRAJBICH, scope=PER_RESPONSE, channel="both")
EITHER_FEATURES: tuple[Feature, ...] = tuple(
    _both(
        f"either_{name}",
        f"mouse_{name} if the mouse was on an answer, else gaze_{name}",
        *(NUMBER if name in LATE else MS),
    )
    for name in EITHER
)
POOLED_FEATURES: tuple[Feature, ...] = tuple(
    _both(
        f"pooled_{name}",
        f"mouse_{name} + {GAZE_WEIGHT:g} * gaze_{name}; a channel that was not recorded adds 0",
        *NUMBER,
    )
    for name in POOLED
)

_COMPARED = {"either": EITHER, "pooled": POOLED}
_CHANNEL: dict[str, ChannelName]
_CHANNEL = {"gaze": "gaze", "mouse": "mouse", "either": "both", "pooled": "both"}
COMPARISON: tuple[Feature, ...] = tuple(
    Feature(
        f"{channel}_{name}_log_ratio",
        f"ln((b + {delta:g}) / (a + {delta:g})) of {channel}_{name}",
        *LOGARITHM,
        _KRAJBICH,
        ANTISYMMETRIC,
        _CHANNEL[channel],
    )
    for channel in _CHANNEL
    for name, delta in DELTAS.items()
    if name in _COMPARED.get(channel, DELTAS)
)


def either(values: Values, names: Sequence[str] = EITHER) -> Values:
    """Compute `EITHER_FEATURES`.

    Args:
        values: Per-response values `[turns, 2]` by full name.
        names: Those to compute.
    """
    on_text = np.nan_to_num(values["mouse_dwell_ms"]).sum(axis=1) > 0
    return {
        f"either_{name}": np.where(
            on_text[:, None] | np.isnan(values[f"gaze_{name}"]),
            values[f"mouse_{name}"],
            values[f"gaze_{name}"],
        )
        for name in names
    }


def pooled(values: Values) -> Values:
    """Compute `POOLED_FEATURES`; NaN where neither channel was recorded.

    Args:
        values: Per-response values `[turns, 2]` by full name.
    """
    out: dict[str, FloatArray] = {}
    for name in POOLED:
        mouse, gaze = values[f"mouse_{name}"], values[f"gaze_{name}"]
        total = np.nan_to_num(mouse) + GAZE_WEIGHT * np.nan_to_num(gaze)
        out[f"pooled_{name}"] = np.where(np.isnan(mouse) & np.isnan(gaze), np.nan, total)
    return out


def comparison(values: Values) -> Values:
    """Compute `COMPARISON`; NaN where a side has no value.

    Args:
        values: Per-response values `[turns, 2]` by full name, with those of `either` and `pooled`.
    """
    out: dict[str, FloatArray] = {}
    for feature in COMPARISON:
        name = feature.name.removesuffix("_log_ratio")
        logs = np.log(values[name] + DELTAS[name.split("_", 1)[1]])
        # A difference of logarithms negates exactly.
        out[feature.name] = logs[:, 1] - logs[:, 0]
    return out
