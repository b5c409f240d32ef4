"""What a click is worth when clicks are sometimes wrong: the arithmetic behind `--source both`.

With y the side that the reader truly prefers, b the behaviour, and nu the rate of wrong clicks:

    P(click = s | b) = (1 - nu) P(y = s | b) + nu (1 - P(y = s | b))

A model trained on clicks estimates the left side, so the truth behind it is

    P(y = s | b) = clip((P(click = s | b) - nu) / (1 - 2 nu), 0.01, 0.99)

and, having seen the click on side c as well,

    P(y = c | b, click)       1 - nu   P(y = c | b)
    ---------------------  =  ------ x ----------------
    1 - P(y = c | b, click)     nu     1 - P(y = c | b)

Both lines hold under `ASSUMPTION`. Everything here is symmetric: exchanging the sides of a pair
turns p into 1 - p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.errors import ConfigError
from ifllm_hf.metrics.weighted import FloatArray

BoolArray = npt.NDArray[np.bool_]

ASSUMPTION = (
    "Assumed: given which answer the reader truly prefers, whether the click is wrong does not "
    "depend on the behaviour. Where readers click wrongly because of what they looked at, the "
    "combined confidence is too high and a flip can be wrong."
)
"""What `unnoise` and `posterior_b` rest on; printed with every combined label file."""

DEFAULT_NU = 0.05
NU_TABLE = (0.02, 0.05, 0.1, 0.15, 0.2)
UNSURE = 0.75
"""Confidence below which a pair is counted as unsure in the tables."""

# No behaviour is taken as proof: beyond this, calibration rests on too few pairs.
_LOWEST, _HIGHEST = 0.01, 0.99


def check_nu(nu: float) -> None:
    """Refuse a rate at which clicks say nothing or the opposite.

    Raises:
        ConfigError: nu is not in [0, 0.5).
    """
    if not 0 <= nu < 0.5:
        raise ConfigError(
            f"nu is {nu}; expected the share of wrong clicks, at least 0 and below 0.5 (at 0.5 a "
            "click says nothing). Give a smaller one, for example 0.05"
        )


def unnoise(p_click: npt.ArrayLike, nu: float) -> FloatArray:
    """Turn the probability of a click into the probability of the preference behind it.

    P(y | b) = clip((P(click | b) - nu) / (1 - 2 nu), 0.01, 0.99)

    >>> unnoise([0.5, 0.7, 0.03], 0.1).round(3).tolist()
    [0.5, 0.75, 0.01]

    Args:
        p_click: P(click = b | behaviour), any shape.
        nu: Rate of wrong clicks, in [0, 0.5).

    Returns:
        P(y = b | behaviour), the same shape.

    Raises:
        ConfigError: nu is out of its range.
    """
    check_nu(nu)
    p = np.asarray(p_click, dtype=np.float64)
    return np.clip((p - nu) / (1.0 - 2.0 * nu), _LOWEST, _HIGHEST)


def posterior_b(p_behavior: npt.ArrayLike, clicked_b: npt.ArrayLike, nu: float) -> FloatArray:
    """Combine behaviour and click: P(y = b | behaviour, click).

    The odds of the clicked side are (1 - nu) / nu times its odds by behaviour alone. With nu = 0
    the click is always right.

    >>> posterior_b([0.5, 0.02], [True, True], 0.05).round(4).tolist()
    [0.95, 0.2794]

    Args:
        p_behavior: P(y = b | behaviour) as `unnoise` returns it, shape (n,).
        clicked_b: Whether the click was on b, shape (n,).
        nu: Rate of wrong clicks, in [0, 0.5).

    Returns:
        Probability that b is truly preferred, shape (n,).

    Raises:
        ConfigError: nu is out of its range.
    """
    check_nu(nu)
    p = np.asarray(p_behavior, dtype=np.float64)
    on_b = np.asarray(clicked_b, dtype=bool)
    of_clicked = np.where(on_b, p, 1.0 - p)
    right = (1.0 - nu) * of_clicked
    wrong = nu * (1.0 - of_clicked)
    posterior = right / (right + wrong)
    return np.where(on_b, posterior, 1.0 - posterior)


def combine(p_click: npt.ArrayLike, clicked_b: npt.ArrayLike, nu: float) -> FloatArray:
    """Return `posterior_b(unnoise(p_click, nu), clicked_b, nu)`, shape (n,)."""
    return posterior_b(unnoise(p_click, nu), clicked_b, nu)


def confidence_of(p_b: FloatArray) -> FloatArray:
    """Return the probability of the side that is chosen: the larger of p_b and 1 - p_b."""
    return np.maximum(p_b, 1.0 - p_b)


def flipped(p_b: FloatArray, clicked_b: npt.ArrayLike) -> BoolArray:
    """Return where the clicked side is less likely than the other one, shape (n,)."""
    on_b = np.asarray(clicked_b, dtype=bool)
    out: BoolArray = np.where(on_b, p_b, 1.0 - p_b) < 0.5
    return out


def nu_table(
    p_click: FloatArray, clicked_b: npt.ArrayLike, rates: Sequence[float] = NU_TABLE
) -> list[dict[str, Any]]:
    """Say what other rates of wrong clicks would change.

    Args:
        p_click: P(click = b | behaviour) of the pairs with a click, shape (n,).
        clicked_b: Whether the click was on b, shape (n,).
        rates: The values of nu.

    Returns:
        One record per rate: `nu`, `n`, `flips` (pairs in which the other answer is chosen),
        `mean_confidence`, `unsure` (share of confidence below 0.75).
    """
    rows = []
    for nu in rates:
        p_b = combine(p_click, clicked_b, nu)
        confidence = confidence_of(p_b)
        rows.append(
            {
                "nu": nu,
                "n": len(p_b),
                "flips": int(flipped(p_b, clicked_b).sum()),
                "mean_confidence": float(confidence.mean()) if len(p_b) else None,
                "unsure": float((confidence < UNSURE).mean()) if len(p_b) else None,
            }
        )
    return rows


def likert_contradictions(turns: pl.DataFrame) -> dict[str, Any]:
    """Count the clicks that the reader's own ratings contradict: a lower bound hint for nu.

    Args:
        turns: `preference, likert_a, likert_b` and, where there is one, `kind`.

    Returns:
        `n` (pairs with a click on a side and both ratings), `contradicted` (the other answer was
        rated higher), `equal` (both rated the same), `share` (contradicted / n, None without n).
    """
    if not {"preference", "likert_a", "likert_b"} <= set(turns.columns):
        return {"n": 0, "contradicted": 0, "equal": 0, "share": None}
    on_b = pl.col("preference") == "b"
    up = pl.when(on_b).then("likert_b").otherwise("likert_a").cast(pl.Int64)
    down = pl.when(on_b).then("likert_a").otherwise("likert_b").cast(pl.Int64)
    rated = turns.filter(
        pl.col("preference").is_in(["a", "b"]),
        pl.col("likert_a").is_not_null(),
        pl.col("likert_b").is_not_null(),
    ).select(gap=up - down)["gap"]
    n, against = len(rated), int((rated < 0).sum())
    return {
        "n": n,
        "contradicted": against,
        "equal": int((rated == 0).sum()),
        "share": against / n if n else None,
    }
