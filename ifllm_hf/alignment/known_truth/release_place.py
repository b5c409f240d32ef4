"""Where the public release stands on the axis of strength of behaviour.

On the release, labels by behaviour are held to clicks that were hidden (`labels.hidden_clicks`).
The same is known of made-up readers: how often a label by behaviour names the click that its reader
would make. The strength at which both agree is where the release stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ifllm_hf.alignment.known_truth.cells import ALL, ALL_GAZE_MOUSE
from ifllm_hf.alignment.known_truth.rises import Rises
from ifllm_hf.alignment.labels.label_file import BEHAVIOR

SHARE = 0.2
AGREEMENT = {ALL: (0.632, 0.600, 0.659), ALL_GAZE_MOUSE: (0.554, 0.523, 0.581)}
"""Of the release with 20 % of its clicks kept: labels without a click that name the hidden one, and
the ends of the interval over readers. `python -m ifllm_hf.alignment.labels.hidden_clicks ./ifllm`,
and the same with `--inputs gaze+mouse`."""


@dataclass(frozen=True)
class ReleasePlace:
    """The strength of behaviour that labels as well as that of the release.

    Attributes:
        strengths: Those that were run, in order.
        agreement: Share of labels by behaviour that name the click, of each strength.
        place: The strength of the release; -inf: below all `strengths`, inf: above them.
        low: At the lower end of the release's interval.
        high: At the upper end.
    """

    strengths: Sequence[float]
    agreement: Sequence[float]
    place: float
    low: float
    high: float


def release_place(
    rises: Rises, source: str = ALL, click_error: float = 0.05
) -> ReleasePlace | None:
    """Find the release among the strengths at a fifth of clicks; None: fewer than two ran.

    Args:
        rises: The lines.
        source: One of `AGREEMENT`.
        click_error: Share of wrong clicks among the made-up readers'.
    """
    found = {}
    for setting in rises.by_setting:
        strength = setting[2]
        if setting != (source, SHARE, strength, "cdpo", None) or strength is None:
            continue
        bins = [one for one in rises.reliability(setting) if one["origin"] == BEHAVIOR]
        pairs = sum(one["pairs"] for one in bins)
        if pairs:
            liked = sum(one["liked"] for one in bins) / pairs
            found[strength] = liked * (1 - click_error) + (1 - liked) * click_error
    if len(found) < 2:
        return None
    strengths = sorted(found)
    agreement = [found[strength] for strength in strengths]
    place, low, high = (_at(level, agreement, strengths) for level in AGREEMENT[source])
    return ReleasePlace(strengths, agreement, place, low, high)


def _at(level: float, agreement: Sequence[float], strengths: Sequence[float]) -> float:
    """Interpolate; agreement rises with strength."""
    rising = np.maximum.accumulate(agreement)
    return float(np.interp(level, rising, strengths, left=-np.inf, right=np.inf))
