"""An interval for a mean that holds at every look: a confidence sequence by betting.

An ordinary 95 % interval is right 95 times in 100 if one looks once, at a number of readers fixed
beforehand. Who looks after every reader and stops at the first good look is wrong far more often.
A confidence sequence holds the mean at *all* numbers of readers at once with 95 %.

The hedged capital process of Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting", JRSS-B 86 (2024), 1-27, arXiv:2010.09686. Against each possible mean m two gamblers bet
before every value that the truth is higher, or lower. If m is the mean, neither grows rich: the
chance that one ever has 2 / alpha for each coin is at most alpha / 2 (Ville). What either has grown
rich against is left out, for good.

With y in [0, 1], t = 1, 2, ..., alpha = 1 - level and var_0 = 1/4:

    mean_t = (1/2 + sum_i y_i) / (t + 1),  var_t = (1/4 + sum_i (y_i - mean_i)^2) / (t + 1)
    bet_t = sqrt(2 log(2 / alpha) / (var_{t-1} t log(t + 1)))     (the predictable plug-in)
    K+_t(m) = prod_i (1 + min(bet_i, c / m) (y_i - m)),  c = 3/4
    K-_t(m) = prod_i (1 - min(bet_i, c / (1 - m)) (y_i - m))
    interval_t = {m: max(K+_s(m), K-_s(m)) / 2 < 1 / alpha for all s <= t}     (Theorem 3)

K+ falls in m and K- rises, so each end is found by bisection. `confseq.betting.betting_cs` 0.0.11
gives the same ends on a grid; it has no wheel, needs Boost to build, and no numpy 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ifllm_hf.errors import DataError
from ifllm_hf.metrics.weighted import FloatArray

LOW, HIGH = -1.0, 1.0
"""The least and the greatest value: a difference of two accuracies."""
_TRUNCATION = 0.75  # of a stake that could lose all: 1/2 or 3/4, says the paper
_HALVINGS = 40
_MOST = 100_000
"""Values that a projection goes to."""


@dataclass(frozen=True)
class AnytimeInterval:
    """The mean of the values so far, and the interval that holds the true one at every look.

    Attributes:
        n: Values.
        estimate: Their mean; NaN of none.
        low: Lower end; never falls while values come.
        high: Upper end; never rises. Below `low` where the mean has changed meanwhile.
        level: With this chance all intervals of the stream hold the mean.
    """

    n: int
    estimate: float
    low: float
    high: float
    level: float

    @property
    def half_width(self) -> float:
        """Half the distance of the ends."""
        return (self.high - self.low) / 2


def anytime_interval(values: npt.ArrayLike, *, level: float = 0.95) -> AnytimeInterval:
    """Return the interval after a stream of values of one mean.

    Args:
        values: In the order in which they came, each in [-1, 1], shape (n,). Their mean given all
            before must be the same; nothing else is asked.
        level: Chance that the intervals of the whole stream hold the mean.

    Raises:
        DataError: A value is not finite or out of bounds.
    """
    x = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~((x >= LOW) & (x <= HIGH)))
    if x.ndim != 1 or len(wrong):
        at = f"value {wrong[0]} is {x[wrong[0]]}" if x.ndim == 1 else f"they have shape {x.shape}"
        raise DataError(f"an anytime interval of {x.size} values: {at}; expected [-1, 1], in a row")
    if not len(x):
        return AnytimeInterval(0, float("nan"), LOW, HIGH, level)
    y = (x - LOW) / (HIGH - LOW)
    low, high = _lower_end(y, 1 - level), 1 - _lower_end(1 - y, 1 - level)
    low, high = (LOW + (HIGH - LOW) * end for end in (low, high))
    return AnytimeInterval(len(x), float(x.mean()), low, high, level)


def first_above(values: FloatArray, mean: float = 0.0, *, level: float = 0.95) -> FloatArray:
    """Return after how many values the lower end first lies above `mean`.

    Args:
        values: Streams, shape (..., n), each value in [-1, 1].
        mean: The mean that is to be refuted.
        level: See `anytime_interval`.

    Returns:
        Shape (...), infinite where it does not within n.
    """
    y = (values - LOW) / (HIGH - LOW)
    alpha = 1 - level
    capital = _log_capital(y, _bets(y, alpha), (mean - LOW) / (HIGH - LOW))
    rich = capital >= np.log(2 / alpha)
    return np.where(rich.any(axis=-1), rich.argmax(axis=-1) + 1.0, np.inf)


def readers_until(half_width: float, mean: float, sd: float, *, level: float = 0.95) -> int | None:
    """Project after how many values the interval is as narrow as wanted.

    It is that of a stream that lies in turn `sd` above and below `mean`.

    Args:
        half_width: Half the distance of the ends.
        mean: Mean of the values.
        sd: Their standard deviation.
        level: See `anytime_interval`.

    Returns:
        The number; None for more than 100,000.
    """
    sd = min(sd, 1 - abs(mean))  # a greater one cannot be had in turn

    def wide(n: int) -> bool:
        stream = mean + sd * np.where(np.arange(n) % 2, 1.0, -1.0)
        return anytime_interval(np.clip(stream, LOW, HIGH), level=level).half_width > half_width

    low, high = 0, 16
    while wide(high):
        low, high = high, 2 * high
        if low >= _MOST:
            return None
    while high - low > max(1, low // 200):  # half a percent: it is a projection
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high


def _variances(y: FloatArray) -> FloatArray:
    """Return var_t for every t, along the last axis."""
    t = np.arange(1, y.shape[-1] + 1)
    mean = (0.5 + np.cumsum(y, axis=-1)) / (t + 1)
    out: FloatArray = (0.25 + np.cumsum((y - mean) ** 2, axis=-1)) / (t + 1)
    return out


def _bets(y: FloatArray, alpha: float) -> FloatArray:
    """Return the stake on every value, from those before it alone, along the last axis."""
    t = np.arange(1, y.shape[-1] + 1)
    before = np.full_like(y, 0.25)
    before[..., 1:] = _variances(y)[..., :-1]
    out: FloatArray = np.sqrt(2 * np.log(2 / alpha) / (before * t * np.log(t + 1)))
    return out


def _log_capital(y: FloatArray, bets: FloatArray, m: float) -> FloatArray:
    """Return log K+_t(m) for every t, along the last axis."""
    stake = np.minimum(bets, _TRUNCATION / m)
    out: FloatArray = np.cumsum(np.log1p(stake * (y - m)), axis=-1)
    return out


def _lower_end(y: FloatArray, alpha: float) -> float:
    """Return the greatest mean that the first gambler has ever grown rich against; 0: none."""
    bets, rich = _bets(y, alpha), np.log(2 / alpha)
    refuted, possible = 0.0, 1.0
    for _ in range(_HALVINGS):
        m = (refuted + possible) / 2
        if _log_capital(y, bets, m).max() >= rich:
            refuted = m
        else:
            possible = m
    return refuted
