"""Streams of readers with a known gain, and how often the audit errs of them: `make audit-test`.

A reader has some labelled pairs. Of a pair, length with behaviour and length alone name different
answers with the reader's own chance (.20 on average, as in the release), and where they do the
former is right with the reader's own chance, so that the gain is as given on average. Both chances
are drawn for each reader, which makes pairs of one reader resemble each other by .04 (intraclass
correlation of what a pair adds; in the release it is -.01).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from ifllm_hf.benchmark.audit.confidence_sequence import first_above
from ifllm_hf.metrics.weighted import FloatArray

AS_IN_THE_RELEASE = (42, 36, 21, 18, 18, 15, *[9] * 4, *[8] * 3, *[6] * 4, *[4] * 4, *[3] * 39)
"""Labelled pairs of the first sittings of its 64 readers, nearly."""
FIVE = (5,)
"""As the app asks, where nobody stops earlier."""
_DISAGREE = 0.20
_ALIKE = 8.0  # sum of the parameters of both Beta distributions: the greater, the more alike
_STREAMS_AT_ONCE = 500


def gain_streams(
    streams: int,
    readers: int,
    gain: float,
    seed: int = 0,
    pairs: tuple[int, ...] = AS_IN_THE_RELEASE,
) -> FloatArray:
    """Return the value of every reader, shape (streams, readers), each in [-1, 1].

    Args:
        streams: How many.
        readers: Of each.
        gain: Mean over readers of how much more often length with behaviour is right.
        seed: Of all draws.
        pairs: Of a reader, drawn from these.
    """
    rng = np.random.default_rng(seed)
    shape = (streams, readers)
    of_reader = rng.choice(pairs, size=shape)
    right = 0.5 + gain / (2 * _DISAGREE)
    disagree = rng.beta(_DISAGREE * _ALIKE, (1 - _DISAGREE) * _ALIKE, shape)
    other = rng.binomial(of_reader, disagree)
    won = rng.binomial(other, rng.beta(right * _ALIKE, (1 - right) * _ALIKE, shape))
    values: FloatArray = (2 * won - other) / of_reader
    return values


def missed(values: FloatArray, mean: float) -> FloatArray:
    """Return at which reader the interval first lost the true mean, shape (streams,)."""
    return np.minimum(first_above(values, mean), first_above(-values, -mean))


def ordinary_yes(values: FloatArray, first: int = 10) -> FloatArray:
    """Return when an ordinary 95 % interval, looked at after each reader, first lies above 0."""
    n = np.arange(1, values.shape[-1] + 1)
    mean = np.cumsum(values, axis=-1) / n
    spread = np.sqrt(np.maximum(np.cumsum(values**2, axis=-1) / n - mean**2, 1e-12))
    yes = (mean > 1.96 * spread / np.sqrt(n)) & (n >= first)
    return np.where(yes.any(axis=-1), yes.argmax(axis=-1) + 1.0, np.inf)


def chunks(streams: int, readers: int, gain: float, pairs: tuple[int, ...]) -> Iterator[FloatArray]:
    """Yield so many streams, some at a time."""
    for begin in range(0, streams, _STREAMS_AT_ONCE):
        size = min(_STREAMS_AT_ONCE, streams - begin)
        yield gain_streams(size, readers, gain, seed=begin, pairs=pairs)


def main(streams: int = 10_000, readers: int = 1000) -> int:
    """Print how often the audit is wrong, and what a yes takes; return 1 where it is too often."""
    start = time.monotonic()
    say = partial(print, flush=True)  # noqa: T201
    say(f"{streams:,} streams of {readers:,} readers, looked at after every reader")
    say("pairs    gain  false yes  of ordinary interval  mean ever missed  readers for a yes:")
    say(" " * 68 + ".5 / .8 / .9 of streams")
    worst = 0.0
    for name, pairs in (("release", AS_IN_THE_RELEASE), ("five", FIVE)):
        for gain in (0.0, 0.03, 0.05, 0.1):
            found = [
                (first_above(x), missed(x, gain), ordinary_yes(x))
                for x in chunks(streams, readers, gain, pairs)
            ]
            yes, lost, ordinary = (np.concatenate(of) for of in zip(*found, strict=True))
            missing = float(np.isfinite(lost).mean())
            worst = max(worst, missing)
            at = [np.quantile(yes, q, method="higher") for q in (0.5, 0.8, 0.9)]
            false = "-".rjust(11) + "-".rjust(22)
            takes = " / ".join(f"{n:.0f}" if np.isfinite(n) else f"> {readers}" for n in at)
            if gain == 0:
                false = f"{np.isfinite(yes).mean():11.4f}{np.isfinite(ordinary).mean():22.3f}"
                takes = "-"
            say(f"{name:<8} {gain:.2f}{false}{missing:18.4f}  {takes}")
    say(f"{time.monotonic() - start:.0f} s")
    return int(worst > 0.05)


if __name__ == "__main__":
    sys.exit(main())
